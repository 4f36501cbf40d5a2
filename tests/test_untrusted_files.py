"""Files that somebody else may have put into a folder: named pipes, and small files that claim to be large."""

import json
import os

import numpy as np
import pytest
import torch

from worldmodel.checkpoint import CheckpointError, UnreadableError, finding, latest, save_checkpoint, stored
from worldmodel.held_out import load_held_out, save_held_out
from worldmodel.outputs import sha256_of
from worldmodel.untrusted.json_files import read_object
from worldmodel.untrusted.npz_files import load_npz


@pytest.fixture
def run(tmp_path):
    for update in (1, 2):
        state = {"update": update, "samples": update, "recipe": {}, "skill": None, "seconds": 1.0, "windows": [1]}
        save_checkpoint(tmp_path, {"model": {"w": torch.full((2,), float(update))}}, state)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_named_pipe_in_the_place_of_a_file_is_an_error_and_no_endless_wait(run):
    pipe = run / "config.json"
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_object(pipe, CheckpointError)
    with pytest.raises(OSError, match="not a regular file"):
        sha256_of(pipe)
    (run / "checkpoints" / "00000002" / "model.safetensors").unlink()
    os.mkfifo(run / "checkpoints" / "00000002" / "model.safetensors")
    assert latest(run).update == 1


@pytest.mark.parametrize("where", ["state.json", "model.safetensors"])
def test_a_checkpoint_that_storage_does_not_give_now_is_not_passed_over(run, monkeypatch, where):
    """Else it would be set aside as damaged, and removed later."""
    from worldmodel.checkpoint import state

    for module, name in ((state, "open_regular"), (stored, "sha256_of")):
        whole = getattr(module, name)

        def stale(path, whole=whole):
            if path.parent.name == "00000002" and path.name == where:
                raise OSError(116, "Stale file handle", str(path))
            return whole(path)

        monkeypatch.setattr(module, name, stale)
    with pytest.raises(UnreadableError, match=r"Stale file handle\. Nothing was changed"):
        latest(run)
    assert finding.find_checkpoint(run).update == 1  # an evaluation takes what there is, with a word


def test_an_archive_that_claims_more_than_the_limit_is_refused_before_it_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(50_000_000, np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    with pytest.raises(ValueError, match="50,000,128 bytes; at most 1,000,000 are read"):
        load_npz(tmp_path / "a.npz", 1_000_000)


@pytest.mark.parametrize("frames", [np.zeros((3, 4)), np.zeros((1, 2, 4, 4, 3)), np.zeros((0, 2, 4, 4, 3), np.uint8)])
def test_held_out_windows_of_another_shape_or_type_are_none(tmp_path, frames):
    save_held_out(tmp_path, torch.zeros(2, 2, 4, 4, 3, dtype=torch.uint8))
    assert load_held_out(tmp_path).shape == (2, 2, 4, 4, 3)
    np.savez(tmp_path / "held_out.npz", frames=frames)
    assert load_held_out(tmp_path) is None


def test_a_config_that_names_weights_elsewhere_is_refused(tmp_path):
    from worldmodel.models.layouts import PretrainedError
    from worldmodel.models.pretrained_files import read_config_file

    (tmp_path / "config.json").write_text(json.dumps({"transformers_weights": "sub/model.safetensors.index.json"}))
    with pytest.raises(PretrainedError, match="transformers_weights names code or files elsewhere"):
        read_config_file(tmp_path)
