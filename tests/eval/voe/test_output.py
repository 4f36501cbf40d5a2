"""Which evaluation in OUT counts as finished, and whose interrupted pieces are used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eval.cache.keys import source_digest
from eval.errors import EvalError
from eval.voe.evaluation import RESULT_FILES
from eval.voe.output import SCORE_FILES, claim_output, is_finished
from eval.voe.protocol import Extras, describe_windows, videos_hash

PLAN = SimpleNamespace(fps=12.0, frames=16, stride=2, contexts=(8,), horizon=4, tubelet_size=2)
TASK: Any = SimpleNamespace(
    subject=SimpleNamespace(hash="a" * 16, precision="fp32", model=object()),
    suite=SimpleNamespace(hash="b" * 16),
    plan=PLAN,
    scope="window",
    geometry="center_crop",
    key=lambda videos: "c" * 16,
)


def finish(out: Path, without: tuple[str, ...] = (), **changed: Any) -> Path:
    """A finished evaluation of the task, with changes of its protocol."""
    protocol = {
        "made": {},
        "model": {"name": "it", "hash": TASK.subject.hash},
        "suite": {"name": "s", "path": "p", "hash": TASK.suite.hash},
        "windows": describe_windows(TASK),
        "geometry": TASK.geometry,
        "calibration_hash": videos_hash([]),
        "untrained_seeds": 2,
        "ablate_whitening": False,
        "maps_of_all_videos": False,
        "code": source_digest(),
        **changed,
    }
    for name in without:
        del protocol[name]
    for name in (*RESULT_FILES, *SCORE_FILES):
        (out / name).write_text(json.dumps(protocol))
    return out


def test_an_evaluation_with_at_least_what_is_asked_for_is_finished(tmp_path: Path):
    assert is_finished(finish(tmp_path), TASK, [], Extras(2))
    more = finish(tmp_path, ablate_whitening=True, maps_of_all_videos=True)
    assert is_finished(more, TASK, [], Extras(2))
    assert is_finished(more, TASK, [], Extras(2, ablate_whitening=True, maps=True))


@pytest.mark.parametrize("asked", [Extras(2, ablate_whitening=True), Extras(2, maps=True), Extras(3), Extras(0)])
def test_an_evaluation_without_what_is_asked_for_is_not_finished(tmp_path: Path, asked: Extras):
    assert not is_finished(finish(tmp_path), TASK, [], asked)


def test_an_evaluation_by_other_or_earlier_code_is_not_finished(tmp_path: Path):
    assert not is_finished(finish(tmp_path, code="0" * 64), TASK, [], Extras(2))
    earlier = finish(tmp_path, without=("code", "ablate_whitening", "maps_of_all_videos"))
    assert not is_finished(earlier, TASK, [], Extras(2))


def test_an_evaluation_that_was_interrupted_after_its_protocol_was_written_is_not_finished(tmp_path: Path):
    (finish(tmp_path) / "parts").mkdir()
    assert not is_finished(tmp_path, TASK, [], Extras(2))


def test_pieces_without_ablations_of_the_whitening_are_not_used_for_an_evaluation_with_them(tmp_path: Path):
    with claim_output(tmp_path, TASK, [], ablate_whitening=False, fresh=False):
        pass
    with claim_output(tmp_path, TASK, [], ablate_whitening=False, fresh=False):  # the same command resumes
        pass
    with (
        pytest.raises(EvalError, match="holds the beginning of another evaluation"),
        claim_output(tmp_path, TASK, [], ablate_whitening=True, fresh=False),
    ):
        pass


def test_pieces_without_a_key_are_removed(tmp_path: Path):
    with claim_output(tmp_path, TASK, [], ablate_whitening=False, fresh=False):
        (tmp_path / "parts" / "key.json").unlink()  # as a kill while the parts were removed would leave them
        (tmp_path / "parts" / "00000.parquet").write_bytes(b"old")
    with claim_output(tmp_path, TASK, [], ablate_whitening=True, fresh=False):
        assert [path.name for path in (tmp_path / "parts").iterdir()] == ["key.json"]
