"""Write checkpoints, and add files to them. Both are atomic."""

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

from worldmodel.checkpoint.opening import Checkpoint, is_file_of
from worldmodel.checkpoint.selection import latest_checkpoint
from worldmodel.checkpoint.state import CheckpointError, State, read_state, write_state
from worldmodel.files.atomic import atomic_folder, atomic_path, part_path, remove_parts, sync_to_disk
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.outputs import sha256_of
from worldmodel.training.optimizer import Optimizers

PREFIXES = {"ema": "model.teacher.", "model": "model.", "objectives": "objectives."}  # file -> names in the learner
_DIGEST_DIGITS = 16  # digits of the digest in the name of an added file


def gather_tensors(learner: nn.Module, optimizers: Optimizers) -> dict[str, dict[str, Tensor]]:
    """Gather all tensors of a run, unsharded and on the CPU, by file. Every rank must call it; the main one gets them."""
    from torch.distributed.checkpoint import state_dict  # imported here because it takes a second and 45 MB

    options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = state_dict.get_model_state_dict(learner, options=options)
    found: dict[str, Any] = dict(state_dict.get_optimizer_state_dict(learner, optimizers, options=options))
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
    """Write RUN/checkpoints/<step>, on the main process only. Raises CheckpointError; earlier checkpoints do not change."""
    folder = run / "checkpoints" / f"{state['step']:08d}"
    remove_parts(folder.parent)
    try:
        with atomic_folder(folder) as part:
            files = {f"{name}.safetensors": named for name, named in tensors.items() if named}
            digests = {file: _write_tensors(part / file, named) for file, named in files.items()}
            write_state(part, {**state, "sha256": digests})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(write_failure_message(folder, error, run)) from error
    return folder


def add_file(checkpoint: Checkpoint, name: str, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Add a file (a decoder) to a complete checkpoint, or replace it. Returns the changed checkpoint.

    The file is named NAME-<digest>.safetensors and is valid once state.json names it. So a kill leaves
    the old file or the new one, and the checkpoint is intact in both cases. The checkpoint is locked
    meanwhile, because training and rollouts of the same run may add a decoder at the same time.
    """
    folder = checkpoint.folder
    removed = f"{folder} was removed by another process, so no {name} can be added to it"
    if not folder.is_dir():
        raise CheckpointError(removed)
    with lock_folder(folder, "wait until it is done", wait_s=60):
        # safetensors writes a temporary file beside its target; in a separate folder it is removed after a kill
        scratch = part_path(folder / name)
        try:
            scratch.mkdir(exist_ok=True)
            digest = _write_tensors(scratch / "new", {key: value.cpu() for key, value in tensors.items()})
            file = f"{name}-{digest[:_DIGEST_DIGITS]}.safetensors"
            os.replace(scratch / "new", folder / file)
            sync_to_disk(folder)
            state = read_state(folder)  # not that of `checkpoint`, because another process may have added a file
            others = {other: sha256 for other, sha256 in state["sha256"].items() if not is_file_of(other, name)}
            state = {**state, "sha256": {**others, file: digest}}
            write_state(folder, state)
            sync_to_disk(folder)  # before the old file is removed
        except (OSError, SafetensorError) as error:
            if not (folder / "state.json").exists():
                raise CheckpointError(removed) from None
            raise CheckpointError(f"{folder}: {name} could not be written: {error}; the checkpoint itself is intact") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        for old in folder.glob(f"{name}*.safetensors"):
            if is_file_of(old.name, name) and old.name != file:
                with suppress(OSError):
                    old.unlink()
    return Checkpoint(folder, state)


def write_failure_message(path: Path, error: Exception, run: Path) -> str:
    """Message for a file of a run that could not be written: the reason, the last intact checkpoint, and what to do."""
    last = None
    with suppress(CheckpointError):
        last = latest_checkpoint(run)
    intact = f"the last intact checkpoint is {last.folder}" if last else "there is no intact checkpoint yet"
    is_full = "No space left" in str(error) or "quota" in str(error)
    remedy = "Free disk space" if is_full else "Fix the cause"
    return f"{path} could not be written: {error}; {intact}. {remedy}, then start the run again"


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write named tensors and return the SHA-256 of the file."""
    with atomic_path(file) as part:
        save_file({key: value.contiguous() for key, value in tensors.items()}, part)
        return sha256_of(part)
