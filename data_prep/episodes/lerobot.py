"""LeRobotDataset v2.1 and v3.0: a folder with meta/info.json, Parquet tables and MP4 files.

v2.1 has one table and one video per episode; in v3.0 a file holds many episodes. Their places are
templates in info.json. The start of an episode in a video of v3.0 is a sum of durations, which
drifts, so it is rounded to a frame. An episode whose times do not follow its frame numbers is not
used. Written from the code of huggingface/lerobot 0.6.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_prep.episodes.recorded import RecordedEpisode, UnusableEpisode
from data_prep.errors import PrepError
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.regular_file import open_regular
from worldmodel.signals import Channel

VERSIONS = ("v2.1", "v3.0")
ACTION, STATE, TIMESTAMP = "action", "observation.state", "timestamp"
FIELDS = {  # that the templates of paths may have
    "v2.1": ("episode_chunk", "episode_index", "video_key"),
    "v3.0": ("chunk_index", "file_index", "video_key"),
}
MAX_DRIFT_FRAMES = 0.4  # of the start of an episode in a video
MAX_JITTER_FRAMES = 0.25  # of a timestamp
MAX_LENGTH_ERROR_FRAMES = 1.5  # of the duration of an episode in a video; containers may count the last frame or not


class LeRobotDataset:
    """An open data set. Its episodes are read one by one, so that memory does not grow with their number."""

    def __init__(self, root: Path, camera: str | None = None) -> None:
        """Raises PrepError for another layout, and where the camera is not known."""
        self.root, path = root, root / "meta" / "info.json"
        if not path.is_file():
            raise PrepError(f"{root}: not a LeRobotDataset: it has no meta/info.json")
        self._info = read_json_object(path, PrepError)
        self.version = str(self._info.get("codebase_version"))
        if self.version not in VERSIONS:
            raise PrepError(
                f"{path}: codebase_version is {self.version}; expected {' or '.join(VERSIONS)}; lerobot has scripts "
                "that convert older data sets"
            )
        try:
            self.fps, self._features = float(self._info["fps"]), dict(self._info["features"])
            self._data_path, self._video_path = str(self._info["data_path"]), str(self._info["video_path"])
            self._chunk = int(self._info.get("chunks_size", 1000))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PrepError(
                f"{path}: fps, features, data_path and video_path are needed ({type(error).__name__}: {error})"
            ) from None
        if not 0 < self.fps < math.inf or self._chunk < 1:
            raise PrepError(f"{path}: fps is {self.fps:g} and chunks_size {self._chunk}; expected numbers above 0")
        if not all(isinstance(feature, dict) for feature in self._features.values()):
            raise PrepError(f"{path}: features must be objects with a dtype and a shape")
        for template in (self._data_path, self._video_path):
            _check_template(path, template, FIELDS[self.version])
        self.cameras = [name for name, feature in self._features.items() if feature.get("dtype") == "video"]
        if not self.cameras:
            raise PrepError(f"{path}: no feature has dtype video; pictures that are stored in the tables cannot be read yet")
        if camera is None and len(self.cameras) > 1:
            raise PrepError(f"{root}: has several cameras ({', '.join(self.cameras)}); give --camera")
        if camera is not None and camera not in self.cameras:
            raise PrepError(f"{root}: has no camera {camera}; there are {', '.join(self.cameras)}")
        self.camera = camera or self.cameras[0]
        if ACTION not in self._features:
            raise PrepError(f"{path}: has no feature {ACTION}; `python -m data_prep index` reads the videos alone")

    def __len__(self) -> int:
        return sum(1 for _ in self._rows())

    @property
    def stated_episodes(self) -> int | None:
        """The number of episodes that meta/info.json states."""
        stated = self._info.get("total_episodes")
        return stated if isinstance(stated, int) else None

    def episodes(self) -> Iterator[RecordedEpisode | UnusableEpisode]:
        """All episodes, in the order of the metadata."""
        for position, row in enumerate(self._rows()):
            number = row.get("episode_index")
            if not isinstance(number, int) or number < 0:
                detail = f"episode_index of row {position + 1} of the metadata is {number!r}; expected a number from 0"
                yield UnusableEpisode(position, "damaged", detail)
                continue
            try:
                yield self._episode(number, row)
            except _EpisodeError as error:
                yield UnusableEpisode(number, error.reason, error.detail)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, OSError, pa.ArrowException) as error:
                problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                yield UnusableEpisode(number, "damaged", problem)

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        """The rows of the table of episodes. Raises PrepError where there is none."""
        meta = self.root / "meta"
        if self.version == "v2.1":
            yield from _json_lines(meta / "episodes.jsonl")
            return
        files = sorted((meta / "episodes").glob("*/*.parquet"))
        if not files:
            raise PrepError(f"{meta / 'episodes'}: lists no episode; a data set that was not finalized has no such tables")
        for file in files:
            try:
                names = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
                rows = pq.read_table(file, columns=names).to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise PrepError(f"{file}: damaged ({' '.join(str(error).split())[:200]})") from None
            yield from rows

    def _episode(self, number: int, row: Mapping[str, Any]) -> RecordedEpisode:
        length, tasks = int(row["length"]), row.get("tasks") or []
        if self.version == "v2.1":
            place = {"episode_chunk": number // self._chunk, "episode_index": number}
            data, video, first = self._data_path.format(**place), self._video_path.format(video_key=self.camera, **place), 0
        else:
            key = f"videos/{self.camera}"
            data = self._data_path.format(chunk_index=int(row["data/chunk_index"]), file_index=int(row["data/file_index"]))
            video = self._video_path.format(
                video_key=self.camera, chunk_index=int(row[f"{key}/chunk_index"]), file_index=int(row[f"{key}/file_index"])
            )
            first = self._first_frame(row[f"{key}/from_timestamp"], row.get(f"{key}/to_timestamp"), length)
        table = _read_data(self._below(data), tuple(name for name in (ACTION, STATE) if name in self._features))
        own = table.filter(pc.equal(table["episode_index"], number))
        if len(own) != length:
            # the indices of files were wrong in data sets that an early converter wrote (lerobot 2401)
            raise _EpisodeError("other length", f"{data} has {len(own)} rows of it; the metadata says {length}")
        if length < 2:
            raise _EpisodeError("too short", f"it has {length} frames; expected at least 2")
        frame_numbers = own["frame_index"].to_numpy()
        if not np.array_equal(frame_numbers, np.arange(length)):
            raise _EpisodeError("gaps", f"{data}: its frame_index does not count from 0 to {length - 1}")
        time_s = frame_numbers / self.fps
        if TIMESTAMP in own.column_names:
            found = self._matrix(own, TIMESTAMP)[:, 0]
            if (wrong := ~(np.abs(found - time_s) <= MAX_JITTER_FRAMES / self.fps)).any():
                at = int(np.argmax(wrong))
                raise _EpisodeError(
                    "other times",
                    f"{data}: its timestamp at frame_index {at} is {found[at]:g} s; at {self.fps:g} frames per second it "
                    f"would be {time_s[at]:g} s; rows may have been removed",
                )
        actions, states = self._matrix(own, ACTION), self._matrix(own, STATE)
        return RecordedEpisode(
            number=number,
            video=self._below(video),
            first_frame=first,
            frames=length,
            fps=self.fps,
            task=str(tasks[0]) if tasks else None,
            time_s=time_s,  # `timestamp` is the same, rounded to float32
            actions=actions,
            states=states,
            action=self._channel(ACTION, actions.shape[1]),
            state=self._channel(STATE, states.shape[1]),
        )

    def _first_frame(self, start_s: Any, stop_s: Any, length: int) -> int:
        """The number of the first frame in the video of an episode that lies there from start_s to stop_s."""
        begin = float(start_s) * self.fps
        first = round(begin)
        if first < 0 or abs(begin - first) > MAX_DRIFT_FRAMES:
            raise _EpisodeError("no frame", f"no frame of its video begins at from_timestamp, {float(start_s):g} s")
        if stop_s is not None and not abs((float(stop_s) - float(start_s)) * self.fps - length) <= MAX_LENGTH_ERROR_FRAMES:
            detail = f"from_timestamp to to_timestamp, {float(start_s):g} to {float(stop_s):g} s, are not its {length} frames"
            raise _EpisodeError("other length", detail)
        return first

    def _below(self, name: str) -> Path:
        """A path of the data set. Raises where a template or a link leads out of it, or there is no such file.

        In the cache of the Hugging Face hub, REPOSITORY/snapshots/REVISION, all files are links to REPOSITORY/blobs.
        """
        path, root = self.root / name, self.root.resolve()
        allowed = [root, *([root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [])]
        if not any(path.resolve().is_relative_to(folder) for folder in allowed):
            raise _EpisodeError("outside", f"{name} is not below the folder of the data set")
        if not path.is_file():
            raise _EpisodeError("missing", f"there is no {name}")
        return path

    def _matrix(self, rows: pa.Table, name: str) -> NDArray[np.float64]:
        """[N, size]; a column of numbers has the size 1, a missing one 0."""
        if name not in rows.column_names:
            return np.zeros((len(rows), 0))
        values = rows[name].to_pylist()
        sizes = {len(value) if isinstance(value, list) else 1 for value in values if value is not None}
        if len(sizes) != 1 or None in values:
            raise _EpisodeError(
                "other size", f"its rows of {name} have {sorted(sizes)} numbers, or are null; expected one size"
            )
        return np.array(values, dtype=np.float64).reshape(len(values), -1)

    def _channel(self, name: str, size: int) -> Channel:
        """Names from info.json: a list, or lists in an object such as {"motors": [...]}, or {"x": 0, "y": 1}.

        Units are not told.
        """
        names = self._features.get(name, {}).get("names")
        if isinstance(names, dict) and names and all(type(place) is int for place in names.values()):
            names = sorted(names, key=names.__getitem__)
        if isinstance(names, dict):
            names = [item for value in names.values() for item in (value if isinstance(value, list) else [value])]
        if not isinstance(names, list) or len(names) != size:
            names = [f"{name}[{i}]" for i in range(size)]
        return Channel(tuple(map(str, names)), ("",) * size)


class _EpisodeError(Exception):
    """One episode cannot be used."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def _check_template(path: Path, template: str, known: tuple[str, ...]) -> None:
    """Raise PrepError where a template of paths has other fields than these, or is none."""
    try:
        fields = [(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise PrepError(f"{path}: {template!r} is no template of a path ({error})") from None
    for name, spec in fields:
        if name not in known or not re.fullmatch(r"(0?\d{0,2}d)?", spec):
            raise PrepError(f"{path}: {template!r} has the field {{{name}{spec and f':{spec}'}}}; known are {', '.join(known)}")


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a file with one per line. Raises PrepError for a damaged line, and where there is none."""
    try:
        with open_regular(path) as file:
            lines = file.read().decode("utf-8-sig").split("\n")  # splitlines would also split a text at U+2028
    except (OSError, ValueError) as error:
        raise PrepError(f"{path} cannot be read: {error}") from None
    if not any(map(str.strip, lines)):
        raise PrepError(f"{path}: lists no episode")
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError as error:
                raise PrepError(f"{path}: line {number} is damaged ({error})") from None
            if not isinstance(row, dict):
                raise PrepError(f"{path}: line {number} is no JSON object")
            yield row


@lru_cache(2)  # episodes that follow one another are in one file
def _read_data(path: Path, names: tuple[str, ...]) -> pa.Table:
    times = [TIMESTAMP] if TIMESTAMP in pq.read_schema(path).names else []
    return pq.read_table(path, columns=["episode_index", "frame_index", *times, *names])
