"""All ranks resume from one checkpoint, although hosts may see different states of network storage."""

from pathlib import Path
from types import SimpleNamespace

import gloo_ranks
import pytest
import torch

from worldmodel.checkpoint import CheckpointError, open_checkpoint, save_checkpoint
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
    first = open_checkpoint(run / "checkpoints" / "00000001")
    said_by_rank_0(monkeypatch, ("00000001", first.state))
    assert agreed_checkpoint(run, RANK_1).step == 1


def test_a_rank_waits_until_its_host_sees_the_checkpoint(run: Path, monkeypatch: pytest.MonkeyPatch):
    folder, hidden = run / "checkpoints" / "00000002", run / "hidden"
    state = open_checkpoint(folder).state
    said_by_rank_0(monkeypatch, ("00000002", state))
    folder.rename(hidden)
    monkeypatch.setattr(agree_on_checkpoint.time, "sleep", lambda _: hidden.rename(folder))
    assert agreed_checkpoint(run, RANK_1).step == 2


def test_a_rank_that_cannot_open_it_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch):
    said_by_rank_0(monkeypatch, ("00000003", {"sha256": {}}))
    monkeypatch.setattr(agree_on_checkpoint, "VISIBILITY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(agree_on_checkpoint, "_RETRY_S", 0.02)
    with pytest.raises(CheckpointError, match=r"rank 0 resumes from .*00000003, which this rank cannot open"):
        agreed_checkpoint(run, RANK_1)


def test_a_new_run_begins_on_every_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said_by_rank_0(monkeypatch, None)
    assert agreed_checkpoint(tmp_path, RANK_1) is None


VERIFY_TOGETHER = """
import torch
from pathlib import Path
from worldmodel.checkpoint import CheckpointError, opening, save_checkpoint
from worldmodel.ranks import agree_on_checkpoint

original = opening.sha256_of

def main(accelerator, folder):
    run, read, warnings, stale = Path(folder), [], [], []

    def sha256_of(file):
        read.append(f"{file.parent.name}/{file.name}")
        return "0" * 64 if stale and stale.pop() else original(file)

    opening.sha256_of, accelerator.print, agree_on_checkpoint._RETRY_S = sha256_of, warnings.append, 0.01

    def agreed():
        read.clear(), warnings.clear()
        try:
            last = agree_on_checkpoint.agreed_checkpoint(run, accelerator, one_folder=True)
            return last and last.step, sorted(read), list(warnings)
        except CheckpointError as error:
            return str(error), sorted(read), list(warnings)

    found = {"none": agreed()}
    if accelerator.is_main_process:
        for step in (1, 2):
            tensors = {name: {"w": torch.full((2,), float(step))} for name in ("ema", "model", "optimizer")}
            save_checkpoint(run, tensors, {"step": step, "recipe": {}})
    accelerator.wait_for_everyone()
    found["intact"] = agreed()
    stale += [True] * (accelerator.process_index == 1)  # this host does not see the content of a file at once
    found["late"] = agreed()
    for step in (2, 1):
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (run / "checkpoints" / f"0000000{step}" / "model.safetensors").write_bytes(b"damaged")
        accelerator.wait_for_everyone()
        found[f"{step} damaged"] = agreed()
    return found
"""


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """On each of two ranks that see one folder: the step or the error, the files that this rank read, and its warnings."""
    return gloo_ranks.run(VERIFY_TOGETHER, str(tmp_path_factory.mktemp("run")))


def test_each_file_in_one_folder_is_read_by_one_rank(verified: list[dict]):
    assert [rank["none"][:2] for rank in verified] == [[None, []]] * 2
    (first, own, _), (second, others, _) = (rank["intact"] for rank in verified)
    assert (first, second) == (2, 2)
    assert own == ["00000002/ema.safetensors", "00000002/optimizer.safetensors"]
    assert others == ["00000002/model.safetensors"]


def test_damage_that_another_rank_found_makes_all_ranks_resume_from_the_checkpoint_before(verified: list[dict]):
    steps, _, warnings = zip(*(rank["2 damaged"] for rank in verified), strict=True)
    assert steps == (1, 1)
    assert "00000002/model.safetensors is damaged" in warnings[0][0]
    errors = [rank["1 damaged"][0] for rank in verified]
    assert all("has checkpoints, and none of them can be opened" in error for error in errors)


def test_a_rank_whose_host_sees_a_file_late_looks_again(verified: list[dict]):
    assert [rank["late"][0] for rank in verified] == [2, 2]
    assert not any(rank["late"][2] for rank in verified)
    assert verified[1]["late"][1] == ["00000002/model.safetensors"] * 2
