"""Tensors that several ranks wrote: which rank writes what, and how any part of a tensor is read again.

    model-rank00003.safetensors     what rank 3 held of the tensors of "model"
    its metadata, `parts`           JSON: shape of each whole tensor, and at which offsets this part begins

Every file describes itself, so there is no index that could disagree with it, and its SHA-256 in state.json covers both.
torch.distributed.checkpoint was not taken: its usual index is a pickle. Its safetensors form has offsets in metadata as here,
but writing in a thread needs collectives there, and reading needs a package that evaluation does not import (1 s, 45 MB).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from worldmodel.checkpoint.state import CheckpointError
from worldmodel.training.row_shards import is_sharded, own_rows

FILE_OF_RANK = re.compile(r"(?P<name>[A-Za-z0-9_]+)-rank(?P<rank>[0-9]{5,})\.safetensors")
_METADATA = "parts"
_REASONS = (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError)  # of a file made by hand


@dataclass(frozen=True)
class Part:
    """What one rank writes of a tensor."""

    tensor: Tensor
    shape: tuple[int, ...]  # of the whole tensor
    offsets: tuple[int, ...]  # where this part begins in it


def file_of_rank(name: str, rank: int) -> str:
    return f"{name}-rank{rank:05d}.safetensors"


def own_parts(tensors: Mapping[str, Tensor], rank: int, ranks: int) -> dict[str, Part]:
    """The parts of these tensors that a rank writes, on the device of the tensor.

    Of a sharded tensor each rank writes its own rows. A tensor that all ranks hold is written whole by one of them, so that
    all write about as many bytes. `tensors` has the same names and shapes on every rank.
    """
    parts = {}
    for name, tensor in tensors.items():
        if is_sharded(tensor):
            rows, begin = own_rows(tensor)
            if rows.numel():
                parts[name] = Part(rows, tuple(tensor.shape), (begin, *[0] * (tensor.dim() - 1)))
    whole = {name: tensor for name, tensor in tensors.items() if not is_sharded(tensor)}
    loads = [0] * ranks
    for name, tensor in sorted(whole.items(), key=lambda item: (-item[1].nbytes, item[0])):
        writer = loads.index(min(loads))
        loads[writer] += max(1, tensor.nbytes)
        if writer == rank:
            parts[name] = Part(tensor, tuple(tensor.shape), (0,) * tensor.dim())
    return parts


def metadata_of(parts: Mapping[str, Part]) -> dict[str, str]:
    """The metadata of a file with these parts."""
    return {_METADATA: json.dumps({name: {"shape": part.shape, "offsets": part.offsets} for name, part in parts.items()})}


@dataclass(frozen=True)
class _StoredPart:
    file: int  # index of its file
    sizes: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in files of a checkpoint; its values are read by `TensorFiles.read`."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    parts: tuple[_StoredPart, ...]


class TensorFiles(Mapping[str, StoredTensor]):
    """The tensors in one file with whole tensors, or in the files of all ranks. Use it as a context manager.

    Raises CheckpointError for a file that is not valid, and for a tensor of which a part is missing.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._paths, self._open, self._files = list(files), ExitStack(), list[Any]()
        self._tensors: dict[str, StoredTensor] = {}
        for index, path in enumerate(self._paths):
            try:
                self._files.append(self._open.enter_context(safe_open(path, framework="pt")))
                self._list(index, path)
            except CheckpointError:
                raise
            except _REASONS as error:
                raise _not_valid(path, error) from None
        for name, tensor in self._tensors.items():
            if sum(math.prod(part.sizes) for part in tensor.parts) != math.prod(tensor.shape):
                raise CheckpointError(f"{files[0].parent}: parts of {name} are missing; restore the checkpoint from a copy")

    def _list(self, index: int, path: Path) -> None:
        file = self._files[index]
        places = json.loads((file.metadata() or {}).get(_METADATA, "null"))
        for name in file.keys():  # noqa: SIM118 (not a dict)
            stored = file.get_slice(name)
            sizes = tuple(stored.get_shape())
            place = {"shape": sizes, "offsets": [0] * len(sizes)} if places is None else places[name]
            shape, offsets = tuple(map(int, place["shape"])), tuple(map(int, place["offsets"]))
            inside = all(o >= 0 and o + n <= whole for o, n, whole in zip(offsets, sizes, shape, strict=True))
            dtype = (stored[:0] if sizes else file.get_tensor(name)).dtype
            before = self._tensors.get(name, StoredTensor(shape, dtype, ()))
            if not inside or (before.shape, before.dtype) != (shape, dtype):
                raise CheckpointError(f"{path}: the part of {name} does not belong to a tensor {before.shape}")
            if any(part.offsets == offsets for part in before.parts):
                raise CheckpointError(f"{path}: {name} has a part that another file has too")
            self._tensors[name] = StoredTensor(shape, dtype, (*before.parts, _StoredPart(index, sizes, offsets)))

    def read(self, name: str, offsets: Sequence[int] | None = None, sizes: Sequence[int] | None = None) -> Tensor:
        """Read a tensor, or the part of it that begins at `offsets` and has these `sizes`; other parts are not read."""
        stored = self._tensors[name]
        offsets = [0] * len(stored.shape) if offsets is None else offsets
        sizes = stored.shape if sizes is None else sizes
        if len(stored.parts) == 1 and tuple(sizes) == stored.shape:
            return self._read_file(stored.parts[0], name, None)
        found, filled = torch.empty(tuple(sizes), dtype=stored.dtype), 0
        for part in stored.parts:
            begins = [max(o, p) for o, p in zip(offsets, part.offsets, strict=True)]
            ends = [min(o + n, p + m) for o, n, p, m in zip(offsets, sizes, part.offsets, part.sizes, strict=True)]
            if any(end <= begin for begin, end in zip(begins, ends, strict=True)):
                continue
            here = tuple(slice(b - o, e - o) for b, e, o in zip(begins, ends, offsets, strict=True))
            there = tuple(slice(b - p, e - p) for b, e, p in zip(begins, ends, part.offsets, strict=True))
            found[here] = values = self._read_file(part, name, there)
            filled += values.numel()
        if filled != found.numel():
            raise CheckpointError(f"{self._paths[0].parent}: parts of {name} are missing; restore the checkpoint from a copy")
        return found

    def _read_file(self, part: _StoredPart, name: str, where: tuple[slice, ...] | None) -> Tensor:
        try:
            file = self._files[part.file]
            values: Tensor = file.get_slice(name)[where] if where else file.get_tensor(name)
        except _REASONS as error:
            raise _not_valid(self._paths[part.file], error) from None
        return values

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __enter__(self) -> TensorFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()


def _not_valid(path: Path, error: Exception) -> CheckpointError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return CheckpointError(f"{path} cannot be loaded: {reason}")
