"""A checkpoint that is being written does not exist; a fault of writing ends the run with the last checkpoint intact."""

import threading
import time
from pathlib import Path

import pytest
import torch

import worldmodel.checkpoint.background
import worldmodel.checkpoint.write
from worldmodel import checkpoint as checkpoints
from worldmodel.checkpoint import BackgroundWriting, FileContent, NewCheckpoint, latest_checkpoint
from worldmodel.checkpoint.shards import file_of_rank, metadata_of, own_parts

STATE = {"step": 3, "samples": 3, "skill": None, "recipe": {}}


def content_of(rank: int, ranks: int) -> dict[str, FileContent]:
    parts = own_parts({"a": torch.arange(4.0), "b": torch.ones(2, 2)}, rank, ranks)
    tensors = {name: part.tensor for name, part in parts.items()}
    return {file_of_rank("model", rank): FileContent(tensors, metadata_of(parts))}


def test_it_exists_when_all_ranks_have_written_and_its_tensors_are_whole(tmp_path: Path):
    with NewCheckpoint(tmp_path, STATE) as new:
        digests = {}
        for rank in range(2):
            assert latest_checkpoint(tmp_path) is None
            digests |= BackgroundWriting(new.part, content_of(rank, 2)).wait()
        new.publish(digests)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.state["format"] == checkpoints.FORMAT
    assert sorted(found.state["sha256"]) == ["model-rank00000.safetensors", "model-rank00001.safetensors"]
    tensors = found.tensors("model")
    assert torch.equal(tensors["a"], torch.arange(4.0))
    assert torch.equal(tensors["b"], torch.ones(2, 2))
    assert found.has("model")
    assert not found.has("optimizer")


def test_a_copy_does_not_change_when_training_goes_on():
    weight = torch.zeros(3)
    copied = FileContent({"w": weight}).copied_to_cpu()
    weight += 1
    assert copied.tensors["w"].tolist() == [0, 0, 0]


def test_writing_does_not_stop_the_caller_and_a_fault_is_raised_by_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    may_end = threading.Event()

    def full(*_: object) -> None:
        may_end.wait(10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worldmodel.checkpoint.write, "save_file", full)
    checkpoints.save_checkpoint(tmp_path, {}, {**STATE, "step": 2})
    new = NewCheckpoint(tmp_path, STATE)
    writing = BackgroundWriting(new.part, content_of(0, 1))
    assert not writing.is_done
    may_end.set()
    with pytest.raises(OSError, match="No space left"), new:
        writing.wait()
    assert writing.is_done
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000002"]


def test_a_folder_that_another_host_made_is_awaited_and_named_where_it_does_not_appear(tmp_path: Path, monkeypatch):
    writing = BackgroundWriting(tmp_path / "late", content_of(0, 1))
    time.sleep(0.05)
    (tmp_path / "late").mkdir()
    assert list(writing.wait()) == ["model-rank00000.safetensors"]
    monkeypatch.setattr(worldmodel.checkpoint.background, "VISIBILITY_TIMEOUT_S", 0.1)
    with pytest.raises(OSError, match="never"):
        BackgroundWriting(tmp_path / "never", content_of(0, 1)).wait()
