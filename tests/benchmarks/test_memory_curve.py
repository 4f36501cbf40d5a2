"""The table of memory against time, worked by hand."""

import numpy as np

from benchmarks.memory_curve import Memory, rows


def test_a_row_for_each_time_and_each_number_of_bodies() -> None:
    memory = Memory(
        question=np.array(["number"] * 4, object),
        hidden_s=np.array([0.5, 0.5, 2.0, 2.0]),
        bodies=np.array([1.0, 2.0, 1.0, 2.0]),
        right={"model": np.array([1.0, 1.0, 0.5, 0.5]), "sums": np.ones(4), "latent copy": np.full(4, 0.5)},
    )
    assert rows({"demo": memory}) == [
        ["number, 0.5 s", "2", "100.0 [100.0, 100.0]", "100.0 [100.0, 100.0]", "50.0"],
        ["number, 2 s", "2", "50.0 [50.0, 50.0]", "100.0 [100.0, 100.0]", "50.0"],
        ["number, of 1", "2", "75.0 [50.0, 100.0]", "100.0 [100.0, 100.0]", "50.0"],
        ["number, of 2", "2", "75.0 [50.0, 100.0]", "100.0 [100.0, 100.0]", "50.0"],
    ]
