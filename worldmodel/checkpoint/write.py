"""Write checkpoints, and add files to them. Both are atomic."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from worldmodel.checkpoint.opening import Checkpoint, is_file_of
from worldmodel.checkpoint.selection import latest_checkpoint
from worldmodel.checkpoint.shards import file_of_rank, metadata_of, own_parts
from worldmodel.checkpoint.state import CheckpointError, State, read_state, write_state
from worldmodel.files.atomic import atomic_folder, atomic_path, part_path, remove_parts, sync_to_disk
from worldmodel.files.folder_lock import lock_folder
from worldmodel.files.outputs import sha256_of
from worldmodel.training.optimizer import Optimizers

PREFIXES = {"ema": "model.teacher.", "model": "model.", "objectives": "objectives."}  # file -> names in the learner
_DIGEST_DIGITS = 16  # digits of the digest in the name of an added file


@dataclass(frozen=True)
class FileContent:
    """Tensors of one safetensors file, and its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] | None = None

    def copied_to_cpu(self) -> FileContent:
        """A copy in CPU memory, which does not change when training goes on."""
        copies = {key: tensor.to("cpu", copy=True).contiguous() for key, tensor in self.tensors.items()}
        return FileContent(copies, self.metadata)


def gather_tensors(learner: nn.Module, optimizers: Optimizers) -> dict[str, dict[str, Tensor]]:
    """Gather all tensors of a run, unsharded and on the CPU, by file. Every rank must call it; the main one gets them."""
    from torch.distributed.checkpoint import state_dict  # imported here because it takes a second and 45 MB

    return _by_file(learner, optimizers, state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True))


def own_files(learner: nn.Module, optimizers: Optimizers, rank: int, ranks: int) -> dict[str, FileContent]:
    """The files that a rank writes of a sharded checkpoint, by name. Nothing is gathered. Every rank must call it."""
    from torch.distributed.checkpoint import state_dict

    files = {}
    for name, tensors in _by_file(learner, optimizers, state_dict.StateDictOptions()).items():
        if parts := own_parts(tensors, rank, ranks):
            content = {key: part.tensor.detach().contiguous() for key, part in parts.items()}
            files[file_of_rank(name, rank)] = FileContent(content, metadata_of(parts))
    return files


def whole_files(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, FileContent]:
    """The files of a checkpoint of whole tensors, by name."""
    return {f"{name}.safetensors": FileContent(dict(named)) for name, named in tensors.items() if named}


def _by_file(learner: nn.Module, optimizers: Optimizers, options: Any) -> dict[str, dict[str, Tensor]]:
    """All tensors of a run by file; names of optimizer state are "<parameter>/<part>". options: StateDictOptions of torch."""
    from torch.distributed.checkpoint import state_dict

    weights: dict[str, Any] = state_dict.get_model_state_dict(learner, options=options)
    found: dict[str, Any] = dict(state_dict.get_optimizer_state_dict(learner, optimizers, options=options))
    moments = found.get("state", {})  # if tensors are gathered: empty on all ranks but the first
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
    folder = checkpoint_folder(run, state["step"])
    try:
        with NewCheckpoint(run, state) as new:
            new.publish(write_files(new.part, whole_files(tensors)))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(write_failure_message(folder, error, run)) from error
    return folder


def checkpoint_folder(run: Path, step: int) -> Path:
    """The folder of the checkpoint after so many steps."""
    return run / "checkpoints" / f"{step:08d}"


class NewCheckpoint:
    """A checkpoint that is being written, on the main process only. It does not exist before `publish`.

    part: the temporary folder for its files. An error inside its context removes that folder. Raises OSError.
    """

    def __init__(self, run: Path, state: State) -> None:
        self.run, self.state = run, state
        folder = checkpoint_folder(run, state["step"])
        remove_parts(folder.parent)
        self._open = ExitStack()
        self.part = self._open.enter_context(atomic_folder(folder))

    def publish(self, digests: Mapping[str, str]) -> None:
        """Write state.json with the SHA-256 of each file, and give the folder its name."""
        write_state(self.part, {**self.state, "sha256": dict(digests)})
        self._open.close()

    def __enter__(self) -> NewCheckpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self._open.__exit__(kind, error, trace)


def write_files(folder: Path, files: Mapping[str, FileContent]) -> dict[str, str]:
    """Write files into a folder, synced to the disk; returns the SHA-256 of each. Raises OSError and SafetensorError."""
    return {name: _write_tensors(folder / name, content) for name, content in files.items()}


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
            digest = _write_tensors(scratch / "new", FileContent({key: value.cpu() for key, value in tensors.items()}))
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


def _write_tensors(file: Path, content: FileContent) -> str:
    """Write named tensors and return the SHA-256 of the file."""
    with atomic_path(file) as part:
        save_file({key: value.contiguous() for key, value in content.tensors.items()}, part, content.metadata)
        return sha256_of(part)
