"""All ranks resume from one checkpoint, although hosts may see different states of network storage."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from worldmodel.checkpoint import CheckpointError, save_checkpoint
from worldmodel.ranks import agree_on_checkpoint
from worldmodel.ranks.agree_on_checkpoint import agreed_checkpoint

RANK_1 = SimpleNamespace(num_processes=2, process_index=1, is_main_process=False, print=print)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for update in (1, 2):
        save_checkpoint(
            tmp_path, {"model": {"w": torch.full((2,), float(update))}}, {"step": update, "samples": update, "recipe": {}}
        )
    return tmp_path


def said_by_rank_0(monkeypatch: pytest.MonkeyPatch, chosen: object) -> None:
    monkeypatch.setattr(agree_on_checkpoint, "run_on_main_process", lambda *_: None)
    monkeypatch.setattr(agree_on_checkpoint, "broadcast_object_list", lambda _: [chosen])


def test_another_rank_opens_the_checkpoint_of_rank_0_and_not_its_own_last(run: Path, monkeypatch: pytest.MonkeyPatch):
    first = agree_on_checkpoint.open_checkpoint(run / "checkpoints" / "00000001")
    said_by_rank_0(monkeypatch, ("00000001", first.state))
    assert agreed_checkpoint(run, RANK_1).step == 1


def test_a_rank_waits_until_its_host_sees_the_checkpoint(run: Path, monkeypatch: pytest.MonkeyPatch):
    folder, hidden = run / "checkpoints" / "00000002", run / "hidden"
    state = agree_on_checkpoint.open_checkpoint(folder).state
    said_by_rank_0(monkeypatch, ("00000002", state))
    folder.rename(hidden)
    monkeypatch.setattr(agree_on_checkpoint.time, "sleep", lambda _: hidden.rename(folder))
    assert agreed_checkpoint(run, RANK_1).step == 2


def test_a_rank_that_cannot_open_it_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch):
    said_by_rank_0(monkeypatch, ("00000003", {}))
    monkeypatch.setattr(agree_on_checkpoint, "VISIBILITY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(agree_on_checkpoint, "_RETRY_S", 0.02)
    with pytest.raises(CheckpointError, match=r"rank 0 resumes from .*00000003, which this rank cannot open"):
        agreed_checkpoint(run, RANK_1)


def test_a_new_run_begins_on_every_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said_by_rank_0(monkeypatch, None)
    assert agreed_checkpoint(tmp_path, RANK_1) is None
