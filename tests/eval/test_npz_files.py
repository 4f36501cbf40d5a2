"""Arrays, such as ground truth, are read from files and from members of tars, and damage is named."""

import tarfile

import numpy as np
import pytest

from eval.errors import EvalError
from eval.npz_files import load_arrays


def test_arrays_of_a_member_of_a_tar_are_those_of_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-10])
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("a.npz", "b.npz"):
            tar.add(tmp_path / name, name)
    assert (
        load_arrays(f"{tmp_path}/shard.tar::a.npz")["x"].tolist() == load_arrays(tmp_path / "a.npz")["x"].tolist() == [0, 1, 2]
    )
    with pytest.raises(EvalError, match=r"shard\.tar::b\.npz is damaged"):
        load_arrays(f"{tmp_path}/shard.tar::b.npz")
    with pytest.raises(EvalError, match=r"shard\.tar::c\.npz is missing"):
        load_arrays(f"{tmp_path}/shard.tar::c.npz")
