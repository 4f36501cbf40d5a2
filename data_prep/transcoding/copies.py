"""Transcoded copies on disk: their names, the notes that prove them complete, and how one is made."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from data_prep.content_hash import content_hash
from data_prep.frame_ranges import ROUNDING_SHARE, FrameRange, frames_of_clip, frames_of_copy
from data_prep.pool import Failed
from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.files.atomic import write_json
from worldmodel.files.output_errors import OutputError
from worldmodel.manifest import Clip
from worldmodel.storage.errors import fault_outside_file
from worldmodel.video import VideoError, VideoInfo
from worldmodel.video.frame_folder.frames import FOLDER_FPS
from worldmodel.video.frame_times import ROUNDING_S, frame_times
from worldmodel.video.inspection import inspect_times


@dataclass(frozen=True)
class Copy:
    """A finished copy of a video."""

    path: str
    info: VideoInfo
    content_hash: str
    ranges: tuple[FrameRange | None, ...]  # of each clip of the job; None: the copy has no frame of it


@dataclass(frozen=True)
class CopyJob:
    """One video and all its clips, which follow one another in the manifest."""

    path: str
    member: str | None
    content_hash: str | None  # of the whole content; None if the manifest does not have it
    clips: tuple[Clip, ...]

    @property
    def folder_fps(self) -> float | None:
        """The rate at which a folder of frames is played, where it is not the one that `index` gives every folder."""
        if not self.clips or self.member is not None or not os.path.isdir(self.path):
            return None
        return None if self.clips[0].fps == FOLDER_FPS else self.clips[0].fps


def find_or_make_copy(job: CopyJob, out: Path, config: TranscodeConfig) -> Copy | Failed:
    """Find or make the copy of a video. Runs in worker processes.

    Raises OutputError if the copy cannot be written. A copy is named by the content hash of its
    source. To find a copy, the hash in the manifest is enough; a clip that is a part of its video also
    needs the times of the source. A new copy is named by the hash of what the file contains now.
    """
    try:
        if job.content_hash is not None and (copy := _find_copy(job, out, job.content_hash)) is not None:
            return copy
        source = content_hash(job.path, job.member)
        if (copy := _find_copy(job, out, source)) is not None:
            return copy
        target = _copy_path(out, source)
        transcode_video(job.path, job.member, target, config, job.folder_fps or FOLDER_FPS)
        copy = _copy_of(job, target, content_hash(str(target), None))
        write_json(_note_path(target), _note(job, source, copy.content_hash))
        return copy
    except OutputError:
        raise
    except (VideoError, OSError) as error:
        if (outside := fault_outside_file(error)) is not None:
            if isinstance(outside, OutputError):
                raise outside from None
            return Failed("storage", str(outside.strerror))
        return Failed(error.reason, error.detail) if isinstance(error, VideoError) else Failed("unreadable file", str(error))


def _note(job: CopyJob, source: str, copy: str) -> dict[str, str | float]:
    """What proves that a copy is of this source: content hashes, and the rate at which a folder of frames is played."""
    return {"source": source, "copy": copy} | ({} if job.folder_fps is None else {"folder_fps": job.folder_fps})


def _copy_path(out: Path, digest: str) -> Path:
    return out / digest[:2] / f"{digest[:16]}.mp4"


def _note_path(target: Path) -> Path:
    """The path of the note beside a copy.

    The note holds the content hashes of the source and of the copy.
    """
    return target.with_suffix(".json")


def _copy_of(job: CopyJob, target: Path, digest: str) -> Copy:
    info, times = inspect_times(target)
    whole = FrameRange(0.0, info.duration_s, 0, info.frames)
    ranges: list[FrameRange | None] = [whole] * len(job.clips)
    if parts := [number for number, clip in enumerate(job.clips) if not _is_whole(clip, info.duration_s)]:
        first = job.clips[0]
        source = frame_times(job.path, job.member, first.timing, first.fps)
        for number in parts:
            ranges[number] = frames_of_copy(times, info.duration_s, source, *frames_of_clip(source, job.clips[number]))
    return Copy(str(target), info, digest, tuple(ranges))


def _is_whole(clip: Clip, duration_s: float) -> bool:
    """Whether a clip has all frames of its file. Its rate says nothing on how long the last frames are shown."""
    return clip.start_s == 0 and clip.stop_s > duration_s - min(ROUNDING_S, ROUNDING_SHARE / clip.fps)


def _find_copy(job: CopyJob, out: Path, source: str) -> Copy | None:
    """The copy of a source with this content hash, or None if there is none or it was changed.

    The note, which is written after the copy, proves that the copy is complete and made from this
    source.
    """
    target = _copy_path(out, source)
    try:
        note = json.loads(_note_path(target).read_text(encoding="utf-8"))
        copied = content_hash(str(target), None)
        return _copy_of(job, target, copied) if note == _note(job, source, copied) else None
    except (VideoError, OSError, ValueError):
        return None
