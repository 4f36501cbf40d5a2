"""Episodes in one HDF5 file: the layouts of stable-worldmodel, and of robomimic and LIBERO. Needs h5py.

stable-worldmodel: one array per column over all steps, and ep_len and ep_offset. robomimic, LIBERO:
data/demo_N with actions, states and obs/KEY. Pictures are uint8 [T, H, W, 3]. The files do not say
how many steps a second has. What the sensors of a robot measure lies in obs, in several arrays whose
names differ, so these are named by the user; `states` of robomimic is the state of the simulator.
Neither the masks of robomimic nor the upside-down pictures of LIBERO are treated. Written from
descriptions of the layouts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.episodes.storing import PicturedEpisode, digest_of, numbered_channel, store_episode
from data_prep.errors import PrepError
from data_prep.splits import split_of
from worldmodel.signals import Channel

SUFFIXES = (".h5", ".hdf5")
INSTALL = 'HDF5 files need h5py: pip install h5py, or pip install -e ".[control]" in this project'
STATES = ("state", "states", "proprio")
"""Names of arrays that are the state of a step, the first that there is."""
_DEMO = re.compile(r"demo_(\d+)")


@dataclass(frozen=True)
class HDF5Settings:
    """What all episodes of a file share."""

    path: str
    camera: str
    fps: float
    source: str
    val: float
    test: float
    state: tuple[str, ...] = ()
    """names of the arrays whose numbers, one after another, are the state of a step; none: the first of STATES that there is"""


def cameras_of(path: Path) -> list[str]:
    """Names of the arrays of pictures of all episodes. Raises PrepError for another layout."""
    with _layout(path) as file:
        groups = [file] if "ep_len" in file else [demo["obs"] for _, demo in _demos(file) if _is_complete(demo)]
        names = [name for group in groups for name, array in group.items() if _is_pictures(array)]
        return list(dict.fromkeys(names))


def _is_pictures(array: Any) -> bool:
    return getattr(array, "ndim", 0) == 4 and array.dtype == np.uint8


def count_episodes(path: Path) -> int:
    """Raises PrepError for another layout."""
    with _layout(path) as file:
        return len(file["ep_len"]) if "ep_len" in file else len(_demos(file))


def check_state(path: Path, keys: Sequence[str]) -> None:
    """Raises PrepError where the first episode does not have these arrays with a row per step."""
    with _layout(path) as file:
        group = file if "ep_len" in file else next(demo for _, demo in _demos(file) if _is_complete(demo))
        usable: list[str] = []

        def visit(name: str, found: Any) -> None:
            if getattr(found, "ndim", 0) in (1, 2):
                usable.append(name.removeprefix("obs/"))

        group.visititems(visit)
        if missing := [key for key in keys if key.removeprefix("obs/") not in usable]:
            raise PrepError(f"{path}: has no numbers {missing[0]} to use as state; there are {', '.join(sorted(usable))}")


def write_hdf5_episode(number: int, folder: str, settings: HDF5Settings) -> dict[str, Any]:
    """Write the files of one episode. Returns its row of the manifest. Raises ValueError for what cannot be used."""
    with _opened(settings.path) as file:
        name = "" if "ep_len" in file else _demos(file)[number][0]
        try:
            pictured = _pictured(file, number, name, settings)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{name}: {error}" if name else str(error)) from None
    return vars(store_episode(Path(folder), pictured))


def _pictured(file: Any, number: int, name: str, settings: HDF5Settings) -> PicturedEpisode:
    """Read an episode; name: of its group, if it has one. Raises ValueError for what cannot be used."""
    frames, actions, states, state = _read(file, number, name, settings)
    if not len(frames) == len(actions) == len(states) or len(frames) < 2:
        raise ValueError(
            f"{len(frames)} pictures, {len(actions)} actions and {len(states)} states; expected equal numbers from 2"
        )
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"{settings.camera} is {frames.dtype} {list(frames.shape)}; expected uint8 [T, H, W, 3]")
    start = states[0] if states.size else actions
    return PicturedEpisode(
        number=number,
        frames=frames,
        fps=settings.fps,
        actions=actions,
        states=states,
        action=numbered_channel("action", actions.shape[1]),
        state=state,
        origin={"source": settings.source, "episode": name or f"episode {number}"},
        source=settings.source,
        split=split_of(digest_of(start), settings.val, settings.test),
    )


def _read(
    file: Any, number: int, name: str, settings: HDF5Settings
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], Channel]:
    """Pictures, actions, and states with their names."""
    camera = settings.camera
    if not name:
        start = int(file["ep_offset"][number])
        rows, group, key, pictures = slice(start, start + int(file["ep_len"][number])), file, "action", file[camera]
        if start < 0 or rows.stop > len(pictures):
            raise ValueError(f"ep_offset and ep_len give steps {start} to {rows.stop}; {camera} has {len(pictures)}")
    else:
        group = file["data"][name]
        if not _is_complete(group) or camera not in group["obs"]:
            raise ValueError(f"has no actions, or no obs/{camera}")
        rows, key, pictures = slice(None), "actions", group["obs"][camera]
    frames = pictures[rows]
    states, state = _states(group, settings.state, rows, len(frames))
    return frames, _matrix(group.get(key), key, rows), states, state


def _states(group: Any, keys: tuple[str, ...], rows: slice, count: int) -> tuple[NDArray[np.float64], Channel]:
    """States [T, S] and their names. Raises ValueError where an array is missing, or has another number of steps."""
    if not keys:
        key = next((key for key in STATES if key in group), None)
        states = np.zeros((count, 0)) if key is None else _matrix(group[key], key, rows)
        return states, numbered_channel("state", states.shape[1])
    parts = []
    for key in keys:
        found = group.get(key, group.get(f"obs/{key}"))
        if found is None or len(part := _matrix(found, key, rows)) != count:
            has = "is missing" if found is None else f"has {len(part)} steps"
            raise ValueError(f"the state {key} {has}; expected {count} steps, as many as pictures")
        parts.append(part)
    channels = [numbered_channel(key.removeprefix("obs/"), part.shape[1]) for key, part in zip(keys, parts, strict=True)]
    names = tuple(name for channel in channels for name in channel.names)
    return np.concatenate(parts, 1), Channel(names, ("",) * len(names))


def _matrix(array: Any, key: str, rows: slice) -> NDArray[np.float64]:
    """Rows of an array of the file, [T, ...], as [T, numbers per step]. Raises ValueError for anything else."""
    if getattr(array, "ndim", 0) < 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"{key} is missing, or is no array of numbers with a row per step")
    values: NDArray[np.float64] = np.asarray(array[rows], np.float64)
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _demos(file: Any) -> list[tuple[str, Any]]:
    """The groups data/demo_N in the order of N. Raises PrepError where none of them has actions and obs."""
    data = file.get("data")
    names = data if hasattr(data, "keys") else ()
    found = sorted((int(match[1]), name) for name in names if (match := _DEMO.fullmatch(name)))
    demos = [(name, data[name]) for _, name in found]
    if not any(_is_complete(group) for _, group in demos):
        raise _other_layout(file)
    return demos


def _is_complete(demo: Any) -> bool:
    return hasattr(demo, "keys") and "actions" in demo and hasattr(demo.get("obs"), "keys")


def _other_layout(file: Any) -> PrepError:
    return PrepError(
        f"{file.filename}: expected ep_len, ep_offset and action (stable-worldmodel), or data/demo_N with actions and obs "
        "(robomimic, LIBERO)"
    )


@contextmanager
def _layout(path: Path) -> Iterator[Any]:
    """The open file. Raises PrepError for another layout, and where what is read is damaged."""
    with _opened(str(path)) as file:
        try:
            if "ep_len" in file and any(getattr(file.get(key), "ndim", 0) != 1 for key in ("ep_len", "ep_offset")):
                raise _other_layout(file)
            yield file
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:  # of h5py, for damaged headers
            if isinstance(error, PrepError):
                raise
            problem = " ".join(str(error).split())[:200]
            raise PrepError(f"{path}: damaged, or another layout ({type(error).__name__}: {problem})") from None


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise PrepError(INSTALL) from None
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  registers the compressions that stable-worldmodel uses
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise PrepError(f"{path}: not an HDF5 file, or damaged ({' '.join(str(error).split())[:200]})") from None
    with file:
        try:
            yield file
        except OSError as error:  # of h5py, for damaged or compressed data
            if error.filename is not None:
                raise
            problem = " ".join(str(error).split())[:200]
            raise PrepError(f"{path}: cannot be read ({problem}); compressed files may need `pip install hdf5plugin`") from None
