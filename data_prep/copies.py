"""Transcoded copies on disk: their names, the notes that prove them complete, and how one is made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from data_prep.content_hash import content_hash
from data_prep.frame_ranges import FrameRange, frames_of_copy
from data_prep.pool import Failed
from data_prep.transcoding import TranscodeConfig, transcode_video
from worldmodel.files.atomic import write_json
from worldmodel.files.output_errors import OutputError
from worldmodel.manifest import Clip
from worldmodel.storage.errors import fault_outside_file
from worldmodel.video import VideoError, VideoInfo
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


def find_or_make_copy(job: CopyJob, out: Path, config: TranscodeConfig) -> Copy | Failed:
    """Find or make the copy of a video. Runs in worker processes.

    Raises OutputError if the copy cannot be written. A copy is named by the content hash of its
    source. To find a copy, the hash in the manifest is enough. A new copy is named by the hash of
    what the file contains now.
    """
    try:
        if job.content_hash is not None and (copy := _find_copy(job, out, job.content_hash)) is not None:
            return copy
        source = content_hash(job.path, job.member)
        if (copy := _find_copy(job, out, source)) is not None:
            return copy
        target = _copy_path(out, source)
        transcode_video(job.path, job.member, target, config)
        copy = _copy_of(job, target, content_hash(str(target), None))
        write_json(_note_path(target), {"source": source, "copy": copy.content_hash})
        return copy
    except OutputError:
        raise
    except (VideoError, OSError) as error:
        if (outside := fault_outside_file(error)) is not None:
            if isinstance(outside, OutputError):
                raise outside from None
            return Failed("storage", str(outside.strerror))
        return Failed(error.reason, error.detail) if isinstance(error, VideoError) else Failed("unreadable file", str(error))


def _copy_path(out: Path, digest: str) -> Path:
    return out / digest[:2] / f"{digest[:16]}.mp4"


def _note_path(target: Path) -> Path:
    """The path of the note beside a copy.

    The note holds the content hashes of the source and of the copy.
    """
    return target.with_suffix(".json")


def _copy_of(job: CopyJob, target: Path, digest: str) -> Copy:
    info, times = inspect_times(target)
    ranges = (frames_of_copy(times, info.duration_s, clip.start_s, clip.stop_s) for clip in job.clips)
    return Copy(str(target), info, digest, tuple(ranges))


def _find_copy(job: CopyJob, out: Path, source: str) -> Copy | None:
    """The copy of a source with this content hash, or None if there is none or it was changed.

    The note, which is written after the copy, proves that the copy is complete and made from this
    source.
    """
    target = _copy_path(out, source)
    try:
        note = json.loads(_note_path(target).read_text(encoding="utf-8"))
        copied = content_hash(str(target), None)
        return _copy_of(job, target, copied) if note == {"source": source, "copy": copied} else None
    except (VideoError, OSError, ValueError):
        return None
