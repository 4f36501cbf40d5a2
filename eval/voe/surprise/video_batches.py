"""Videos of one piece of work: read, grouped by length, and cut into windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.cache.sealed import UNREAD
from eval.result_folder import read_result
from eval.voe.surprise.scoring import WindowedVideo
from eval.voe.surprise.windows import Window, WindowPlan
from eval.voe.trials import Trial, Video, read_video
from worldmodel.files.atomic import write_json
from worldmodel.video import VideoError
from worldmodel.video.geometry import Geometry

TRIALS_AT_ONCE = 8
WindowsOfLength = Callable[[int], list[Window]]
"""From the number of frames of a video to its windows."""


@dataclass(frozen=True)
class VideoBatch:
    """Videos grouped by length, and the reason for each video that could not be used, by id."""

    groups: list[list[WindowedVideo]]
    unread: dict[str, str]

    def note_unread(self, file: Path) -> None:
        """Write the videos that could not be used to a file next to `file`; nothing if all could."""
        if self.unread:
            write_json(file.with_suffix(UNREAD), self.unread)


@dataclass(frozen=True)
class VideoReader:
    """How videos are read and cut."""

    plan: WindowPlan
    size_px: int
    geometry: Geometry  # how frames become square

    def read(self, videos: Iterable[tuple[Video, WindowsOfLength]]) -> VideoBatch:
        """Read videos.

        A video that cannot be read or is too short for a window does not stop the others.
        """
        by_length: dict[int, list[WindowedVideo]] = defaultdict(list)
        unread = {}
        for video, windows_of in videos:
            try:
                frames = read_video(video, self.plan.fps, self.size_px, self.geometry)
            except (VideoError, OSError) as error:
                unread[video.video_id] = str(error)
                continue
            if windows := windows_of(len(frames)):
                by_length[len(frames)].append(WindowedVideo(video.video_id, frames, windows))
            else:
                unread[video.video_id] = f"{len(frames)} frames at {self.plan.fps:g} fps are too few for any window"
        return VideoBatch(list(by_length.values()), unread)

    def any_is_readable(self, videos: Iterable[tuple[Video, WindowsOfLength]]) -> bool:
        """Whether at least one of these videos can be read and has a window."""
        return any(not self.read([video]).unread for video in videos)


def in_pieces(trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    """Pieces of TRIALS_AT_ONCE trials.

    Trials with equal locked cuts are consecutive, because they have the same windows.
    """
    ordered = sorted(trials, key=lambda trial: trial.locked_cuts or (0, 0))
    return [ordered[first : first + TRIALS_AT_ONCE] for first in range(0, len(ordered), TRIALS_AT_ONCE)]


def unread_videos(parts: Path) -> dict[str, str]:
    """The reason for each video that could not be scored, by id."""
    found = [read_result(path) for path in sorted(parts.glob(f"*{UNREAD}"))]
    return {video_id: reason for some in found for video_id, reason in some.items()}
