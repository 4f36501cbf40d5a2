"""Open a checkpoint on disk: its state, its files, and their tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from worldmodel.checkpoint.shards import FILE_OF_RANK, TensorFiles
from worldmodel.checkpoint.state import CheckpointError, State, read_state, unreadable_file_error
from worldmodel.files.outputs import sha256_of


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    state: State  # state.json

    @property
    def step(self) -> int:
        return self.state["step"]

    def has(self, name: str) -> bool:
        """Whether it has the file "model", "ema", "optimizer", "objectives" or "decoder", whole or as files of ranks."""
        return bool(files_of(self.state, name))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Whole tensors of one of its files, on the CPU; empty where it has none. Raises CheckpointError."""
        with self.open(name) as files:
            return {key: files.read(key) for key in files}

    def open(self, name: str) -> TensorFiles:
        """Open one of its files, to read parts of its tensors; empty where it has none. Raises CheckpointError."""
        return TensorFiles([self.folder / file for file in files_of(self.state, name)])

    def require(self, *fields: str) -> None:
        """Raise CheckpointError where its state lacks one of these fields."""
        if missing := [name for name in fields if name not in self.state]:
            raise CheckpointError(
                f"{self.folder}/state.json has no {' and no '.join(missing)}, so training cannot resume from it"
            )


def files_of(state: State, name: str) -> list[str]:
    """The file of "model", "decoder", ...: NAME.safetensors, or NAME-<digest>.safetensors where it was added later.

    Of a checkpoint that several ranks wrote: NAME-rank<number>.safetensors of all of them.
    """
    whole = next((file for file in state["sha256"] if is_file_of(file, name)), None)
    if whole is not None:
        return [whole]
    return sorted(file for file in state["sha256"] if (found := FILE_OF_RANK.fullmatch(file)) and found["name"] == name)


def is_file_of(file: str, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(name)}(-[0-9a-f]+)?\.safetensors", file) is not None


def open_checkpoint(folder: Path, find_damage: Callable[[Path, State], str | None] | None = None) -> Checkpoint:
    """Read the state of a checkpoint and verify the digest of every file.

    find_damage: verifies the files in another way, for example divided among ranks; returns the first problem.
    Raises NewerFormatError for a checkpoint of a newer version, UnreadableError where storage cannot
    read it now, and CheckpointError for a damaged or incomplete one.
    """
    find = find_damage or _find_damage_of_all
    state = read_state(folder)
    while (problem := find(folder, state)) is not None:
        current = read_state(folder)
        if current == state:
            raise CheckpointError(problem)
        state = current  # another process has just replaced a decoder
    return Checkpoint(folder, state)


def find_damage(folder: Path, state: State, files: Iterable[str]) -> str | None:
    """The first problem of these files of a checkpoint; None where all are intact.

    Raises UnreadableError where storage cannot read a file now.
    """
    for name in files:
        file = folder / name
        try:
            if sha256_of(file) != state["sha256"][name]:
                return f"{file} is damaged: its content does not match its digest in state.json; restore it from a copy"
        except FileNotFoundError:
            return f"{file} is missing; restore it from a copy"
        except OSError as error:
            raise unreadable_file_error(file, error) from None
    return None


def _find_damage_of_all(folder: Path, state: State) -> str | None:
    return find_damage(folder, state, state["sha256"])
