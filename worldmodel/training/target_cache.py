"""Targets of a frozen teacher that are stored on the disk, and read when the same window comes again.

    FOLDER/TEACHER/DIGEST.npy    targets of the new windows of one micro-batch, with their keys

The key of a window is a digest of the pixels that the teacher sees. So a target is never read for other pixels, and a window
that does not come again, because it starts at a random frame or is cropped at random, is only ever written. TEACHER is a digest
of the weights and the precision of the teacher. Several runs and ranks may share a folder; each reads what was stored before it
started, and what it stored itself.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.config import ConfigError
from worldmodel.data.loader import WindowDataset
from worldmodel.files.atomic import atomic_file
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.targets import FrozenTubeletTarget
from worldmodel.models.weights_hash import weights_hash
from worldmodel.training.setup import TrainingSetup

_STORED_AS = {torch.float32: "<i4", torch.float64: "<i8", torch.bfloat16: "<i2", torch.float16: "<i2"}
_KEY_BYTES = 32
_MOST_RANDOM = 0.5  # fraction of the clips that may be longer than a window


class TargetCache:
    """Returns the targets of windows, from the disk where they are stored."""

    def __init__(
        self, folder: Path, limit_bytes: int | None = None, *, processes: int = 1, field: str = "model.target.cache"
    ) -> None:
        """limit_bytes: of all files together. Each of the processes that share the folder stores its part of what is left.

        field: of the recipe, for messages. Raises ConfigError where a stored file cannot be read.
        """
        self.folder, self.field, self.bytes = folder, field, 0
        self.found = self.computed = 0  # windows so far
        self._places: dict[bytes, tuple[Path, int]] = {}  # file and row of each window
        for file in sorted(folder.glob("*.npy")):
            if (opened := self._open(file)) is not None:
                self._remember(file, opened[0])
        left = None if limit_bytes is None else max(0, limit_bytes - self.bytes) // processes
        self.limit_bytes = None if left is None else self.bytes + left  # of this process: what was there, and its part
        self._can_store = True

    def __len__(self) -> int:
        return len(self._places)

    def __call__(self, frames: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Targets [B, ...] of frames [B, T, 3, H, W]. `compute` is called with the frames of windows that are not stored."""
        keys = [_key(clip) for clip in frames.cpu().numpy()]
        stored = self._read(keys)
        missing = [row for row, key in enumerate(keys) if key not in stored]
        self.found, self.computed = self.found + len(keys) - len(missing), self.computed + len(missing)
        if missing:
            new = compute(frames if len(missing) == len(keys) else frames[missing])
            if self._can_store:
                self._store([keys[row] for row in missing], new.cpu())
            if len(missing) == len(keys):
                return new
            computed = dict(zip(missing, new.cpu(), strict=True))
            rows = [computed[row] if row in computed else stored[key] for row, key in enumerate(keys)]
            return torch.stack(rows).to(frames.device)
        return torch.stack([stored[key] for key in keys]).to(frames.device)

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Tensor]:
        """The targets that are stored, by key. No file stays open; those that were removed are forgotten."""
        by_file: dict[Path, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            if key in self._places:
                by_file.setdefault(self._places[key][0], []).append(key)
        found = {}
        for file, of_file in by_file.items():
            if (opened := self._open(file)) is None:
                for key in of_file:
                    del self._places[key]
                continue
            rows, name, dtype = opened
            for key in of_file:
                found[key] = torch.from_numpy(np.array(rows[name][self._places[key][1]])).view(dtype)
        return found

    def _store(self, keys: Sequence[bytes], targets: Tensor) -> None:
        integers = _STORED_AS[targets.dtype]
        name, shape = str(targets.dtype).removeprefix("torch."), tuple(targets.shape[1:])
        rows = np.empty(len(keys), [("key", "u1", (_KEY_BYTES,)), (name, integers, shape)])
        rows["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _KEY_BYTES)
        rows[name] = targets.contiguous().view(getattr(torch, f"int{8 * targets.element_size()}")).numpy()
        if self.limit_bytes is not None and self.bytes + rows.nbytes > self.limit_bytes:
            return
        file = self.folder / f"{hashlib.sha256(b''.join(keys)).hexdigest()[:32]}.npy"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_file(file) as opened:
                np.save(opened, rows, allow_pickle=False)
        except OSError as error:
            self._can_store = False
            print(f"warning: {self.field}: {error}; nothing more is stored by this process", file=sys.stderr, flush=True)
            return
        self._remember(file, rows)

    def _open(self, file: Path) -> tuple[NDArray[np.void], str, torch.dtype] | None:
        """Rows of a file, which is open while they are in use; column and dtype of its targets. None where there is no file."""
        try:
            rows = np.load(file, mmap_mode="r", allow_pickle=False)
            _, name = rows.dtype.names
            return rows, name, next(dtype for dtype in _STORED_AS if str(dtype) == f"torch.{name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError([f"{self.field}: {file} cannot be read ({error})"]) from None
        except (ValueError, TypeError, EOFError, StopIteration) as error:
            raise ConfigError([f"{self.field}: {file} is damaged ({error}); remove it, and it is computed again"]) from None

    def _remember(self, file: Path, rows: NDArray[np.void]) -> None:
        self.bytes += rows.nbytes
        for row, key in enumerate(rows["key"]):
            self._places[key.tobytes()] = file, row


def use_target_cache(setup: TrainingSetup) -> None:
    """Let the model read its targets from `model.target.cache`, if the recipe has one. Call it when the weights are loaded.

    Raises ConfigError where windows do not come again, or where the teacher is divided among ranks.
    """
    recipe, target = setup.recipe, setup.recipe.model.target
    if not isinstance(target, FrozenTubeletTarget) or target.cache is None:
        return
    ranks = setup.accelerator.num_processes
    if recipe.train.parallel == "fsdp2" and ranks > 1:
        raise ConfigError(["model.target.cache: all ranks compute with a teacher that fsdp2 shards; use train.parallel=ddp"])
    if (share := random_starts(setup.windows)) > _MOST_RANDOM:
        raise ConfigError(
            [
                f"model.target.cache: {share:.0%} of the clips are longer than a window, so windows start at random frames "
                "and do not come again; remove the cache, or cut the videos to the length of a window"
            ]
        )
    model = setup.model
    assert isinstance(model, MaskedWorldModel)
    assert model.teacher is not None
    tiled = str(model.config.tiled_rotary)
    parts = (weights_hash(model.teacher), repr(target.encoder), tiled, recipe.train.precision)
    folder = Path(target.cache) / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    cache = TargetCache(folder, int(target.cache_gb * 1e9), processes=ranks)
    model.target_cache = cache
    setup.accelerator.print(f"targets of {len(cache):,} windows are stored in {folder}")


def random_starts(windows: WindowDataset) -> float:
    """The fraction of clips that are longer than a window by a frame or more."""
    longer = [(source.latest - source.start) * source.fps >= 1 for source in windows.sources]
    return float(np.mean(np.concatenate(longer)))


def _key(frames: NDArray[np.generic]) -> bytes:
    digest = hashlib.sha256(str((frames.dtype, frames.shape)).encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.digest()
