"""Write checkpoints. At any moment a checkpoint is complete or absent, and a file is added to one completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict

from worldmodel.checkpoint.finding import latest
from worldmodel.checkpoint.state import CheckpointError, State, read_state, write_state
from worldmodel.checkpoint.stored import Checkpoint, is_file_of
from worldmodel.files.atomic import part_of, remove_parts, replacing, replacing_folder, sync
from worldmodel.files.folder_lock import hold_folder
from worldmodel.files.outputs import sha256_of
from worldmodel.training.optimizer import Optimizers

PREFIXES = {"ema": "model.teacher.", "model": "model.", "objectives": "objectives."}  # file -> names in the learner
_DIGITS = 16  # of the digest in the name of a file that was added


def gather(learner: nn.Module, optimizers: Optimizers) -> dict[str, dict[str, Tensor]]:
    """All tensors of a run as whole tensors on the CPU, by file; every rank must call it, the main one gets the content."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(learner, options=options)
    found: dict[str, Any] = dict(get_optimizer_state_dict(learner, optimizers, options=options))
    moments = found.get("state", {})  # empty on all ranks but the first
    files: dict[str, dict[str, Tensor]] = {file: {} for file in PREFIXES}
    for key, value in weights.items():
        file, prefix = next((file, prefix) for file, prefix in PREFIXES.items() if key.startswith(prefix))
        files[file][key.removeprefix(prefix)] = value
    return {
        **files,
        "optimizer": {f"{name}/{part}": v for name, parts in moments.items() for part, v in parts.items()},
    }


def save_checkpoint(run: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: State) -> Path:
    """Write RUN/checkpoints/<update>; on the main process alone. Raises CheckpointError, the last good one untouched."""
    folder = run / "checkpoints" / f"{state['step']:08d}"
    remove_parts(folder.parent)
    try:
        with replacing_folder(folder) as part:
            digests = {f"{name}.safetensors": _write(part / f"{name}.safetensors", it) for name, it in tensors.items() if it}
            write_state(part, {**state, "sha256": digests})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(cannot_write(folder, error, run)) from error
    return folder


def add_file(checkpoint: Checkpoint, name: str, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Put one more file (a decoder) into a checkpoint that is complete, or replace it; the checkpoint as it is then.

    The file gets a name of its own, NAME-<digest>.safetensors, and counts once state.json names it. So a kill leaves the old
    file or the new one, and the checkpoint is whole with either. The checkpoint is locked meanwhile, since a training and
    rollouts of its run may add a decoder at the same time.
    """
    folder = checkpoint.folder
    removed = f"{folder} was removed meanwhile, so that no {name} can be put into it"
    if not folder.is_dir():
        raise CheckpointError(removed)
    with hold_folder(folder, "wait until it is done", wait_s=60):
        # safetensors writes to a temporary file beside its target: in a folder of its own it is removed after a kill
        scratch = part_of(folder / name)
        try:
            scratch.mkdir(exist_ok=True)
            digest = _write(scratch / "new", {key: value.cpu() for key, value in tensors.items()})
            file = f"{name}-{digest[:_DIGITS]}.safetensors"
            os.replace(scratch / "new", folder / file)
            sync(folder)
            state = read_state(folder)  # not that of `checkpoint`, since others may have added a file since
            others = {other: its for other, its in state["sha256"].items() if not is_file_of(other, name)}
            state = {**state, "sha256": {**others, file: digest}}
            write_state(folder, state)
            sync(folder)  # before the old file is removed
        except (OSError, SafetensorError) as error:
            if not (folder / "state.json").exists():
                raise CheckpointError(removed) from None
            raise CheckpointError(f"{folder}: {name} could not be written: {error}; the checkpoint itself is whole") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for old in folder.glob(f"{name}*.safetensors"):
            if is_file_of(old.name, name) and old.name != file:
                with suppress(OSError):
                    old.unlink()
    return Checkpoint(folder, state)


def cannot_write(path: Path, error: Exception, run: Path) -> str:
    """A message for a file of a run that could not be written: why, the last whole checkpoint, and what to do."""
    last = None
    with suppress(CheckpointError):
        last = latest(run)
    whole = f"the last whole checkpoint is {last.folder}" if last else "there is no whole checkpoint yet"
    full = "No space left" in str(error) or "quota" in str(error)
    return f"{path} could not be written: {error}; {whole}. {'Make room' if full else 'Fix that'}, then start the run again"


def _write(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors by name; the SHA-256 of the file."""
    with replacing(file) as part:
        save_file({key: value.contiguous() for key, value in tensors.items()}, part)
        return sha256_of(part)
