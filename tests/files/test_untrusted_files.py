"""Files of unknown origin: named pipes, and small files that claim to be large."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from worldmodel.checkpoint import (
    CheckpointError,
    UnreadableError,
    latest_checkpoint,
    opening,
    save_checkpoint,
    selection,
    state,
)
from worldmodel.files.json_files import read_json_object
from worldmodel.files.npz_files import load_npz
from worldmodel.files.outputs import sha256_of
from worldmodel.runs.held_out import load_held_out, save_held_out


@pytest.fixture
def run(tmp_path):
    for update in (1, 2):
        state = {"step": update, "samples": update, "recipe": {}, "skill": None, "seconds": 1.0, "windows": [1]}
        save_checkpoint(tmp_path, {"model": {"w": torch.full((2,), float(update))}}, state)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_named_pipe_where_a_file_should_be_is_an_error(run):
    pipe = run / "config.json"
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_json_object(pipe, CheckpointError)
    with pytest.raises(OSError, match="not a regular file"):
        sha256_of(pipe)
    (run / "checkpoints" / "00000002" / "model.safetensors").unlink()
    os.mkfifo(run / "checkpoints" / "00000002" / "model.safetensors")
    assert latest_checkpoint(run).step == 1


@pytest.mark.parametrize("where", ["state.json", "model.safetensors"])
def test_a_checkpoint_that_cannot_be_read_now_is_not_skipped(run, monkeypatch, where):
    """Otherwise it would be set aside as damaged and removed later."""
    for module, name in ((state, "open_regular"), (opening, "sha256_of")):
        whole = getattr(module, name)

        def stale(path, whole=whole):
            if path.parent.name == "00000002" and path.name == where:
                raise OSError(116, "Stale file handle", str(path))
            return whole(path)

        monkeypatch.setattr(module, name, stale)
    with pytest.raises(UnreadableError, match=r"Stale file handle\. Nothing was changed"):
        latest_checkpoint(run)
    assert selection.find_checkpoint(run).step == 1  # an evaluation uses the earlier one, with a message


def test_an_archive_that_claims_more_than_the_limit_is_refused_before_it_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(50_000_000, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(ValueError, match="50,000,128 bytes; at most 1,000,000 are read"):
        load_npz(tmp_path / "a.npz", 1_000_000)


@pytest.mark.parametrize("frames", [np.zeros((3, 4)), np.zeros((1, 2, 4, 4, 3)), np.zeros((0, 2, 4, 4, 3), np.uint8)])
def test_held_out_windows_of_another_shape_or_dtype_are_ignored(tmp_path, frames):
    save_held_out(tmp_path, torch.zeros(2, 2, 4, 4, 3, dtype=torch.uint8))
    assert load_held_out(tmp_path).shape == (2, 2, 4, 4, 3)
    np.savez(tmp_path / "held_out.npz", frames=frames)
    assert load_held_out(tmp_path) is None


def test_a_config_that_names_weights_elsewhere_is_refused(tmp_path):
    from worldmodel.models.pretrained.files import read_config_file
    from worldmodel.models.pretrained.layouts import PretrainedError

    (tmp_path / "config.json").write_text(json.dumps({"transformers_weights": "sub/model.safetensors.index.json"}))
    with pytest.raises(PretrainedError, match="transformers_weights refers to code or files outside the folder"):
        read_config_file(tmp_path)


def test_pruning_keeps_a_checkpoint_that_cannot_be_read_now(run, monkeypatch):
    """It may be the best one."""
    whole = state.open_regular

    def stale(path):
        if path.parent.name == "00000001":
            raise OSError(116, "Stale file handle", str(path))
        return whole(path)

    monkeypatch.setattr(state, "open_regular", stale)
    selection.prune(run, keep=1, step=2)
    monkeypatch.undo()
    assert latest_checkpoint(run).step == 2
    assert (run / "checkpoints" / "00000001").is_dir()
    selection.prune(run, keep=1, step=2)
    assert not (run / "checkpoints" / "00000001").exists()


def test_checkpoints_that_cannot_be_listed_do_not_count_as_absent(run, monkeypatch):
    """Otherwise training would begin from scratch."""

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    for find in (latest_checkpoint, selection.refuse_existing_checkpoints):
        with pytest.raises(UnreadableError, match="checkpoints cannot be listed: Permission denied"):
            find(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_named_pipe_as_log_weights_or_frame_does_not_block(tmp_path):
    """Runs in a separate process, which can be killed if it blocks."""
    for name in ("rows.jsonl", "model.safetensors", "0000.png"):
        os.mkfifo(tmp_path / name)
    code = """if True:
        import sys
        from pathlib import Path
        from worldmodel.models.pretrained.files import PretrainedError, read_tensors
        from worldmodel.files.log_rows import read_rows
        from worldmodel.video.errors import VideoError
        from worldmodel.video.frame_folder.frames import open_frame
        folder = Path(sys.argv[1])
        for call, argument, error in (
            (read_rows, folder / "rows.jsonl", OSError),
            (read_tensors, folder, PretrainedError),
            (open_frame, folder / "0000.png", VideoError),
        ):
            try:
                call(argument)
            except error as found:
                assert "not a regular file" in str(found), found
            else:
                raise AssertionError(call)
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
