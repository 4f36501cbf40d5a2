"""read_window reports whether the clip, its storage or the machine caused an error, and never raises."""

import errno
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from worldmodel.data import reading
from worldmodel.data.reading import ReadFailure, ReadRequest, read_window
from worldmodel.video import VideoError


def request_of(path: Path | str) -> ReadRequest:
    return ReadRequest(str(path), None, (0.0, 0.1), None, None, 10.0, 32, 0.5, "pyav")


def raising(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[int]:
    """Let attempts to read raise these errors, one after another; later attempts return frames. Returns the attempts."""
    left, tried = list(errors), []

    def read_square_frames(*_args: object, **_options: object) -> np.ndarray:
        tried.append(1)
        if left:
            raise left.pop(0)
        return np.zeros((2, 32, 32, 3), np.uint8)

    monkeypatch.setattr(reading, "read_square_frames", read_square_frames)
    monkeypatch.setattr(reading, "RETRY_S", 0.0)
    return tried


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (VideoError("a.mp4", "truncated", "it ends early"), "it ends early"),
        (ValueError("Decompressed data too large"), "ValueError: Decompressed data too large"),
        (struct.error("unpack requires 4 bytes"), "error: unpack requires 4 bytes"),
        (IndexError("tuple index out of range"), "IndexError: tuple index out of range"),
        (RecursionError(), "RecursionError"),
        (MemoryError(), "MemoryError: there was not enough memory"),
        (PermissionError(errno.EACCES, "Permission denied"), "PermissionError: [Errno 13] Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
        (RuntimeError("anything"), "RuntimeError: anything"),
    ],
)
def test_any_exception_makes_a_bad_clip_and_names_its_type(clips: Path, monkeypatch, error: Exception, reason: str):
    raising(monkeypatch, error)
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert isinstance(failure, ReadFailure)
    assert failure.kind == "clip"
    assert failure.reason.startswith(reason)


def test_ctrl_c_does_not_count_as_a_bad_clip(clips: Path, monkeypatch):
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "read_square_frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_window(request_of(clips.parent / "clips" / "000.mp4"))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOSPC])
def test_a_missing_resource_of_the_machine_is_no_bad_clip_even_if_a_reader_hides_the_error(
    clips: Path, monkeypatch, number: int
):
    hidden = VideoError("a.mp4", "unreadable file", os.strerror(number))
    hidden.__context__ = OSError(number, os.strerror(number))  # what `raise ... from None` does
    raising(monkeypatch, hidden)
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert isinstance(failure, ReadFailure)
    assert failure.kind == "machine"
    assert os.strerror(number) in failure.reason


def test_frames_of_an_unexpected_shape_are_a_bad_clip(clips: Path, monkeypatch):
    monkeypatch.setattr(reading, "read_square_frames", lambda *_args, **_options: np.zeros((1, 32, 32, 3), np.uint8))
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert failure == ReadFailure("clip", "frames are uint8 [1, 32, 32, 3], expected uint8 [2, 32, 32, 3]")


def test_a_missing_file_among_others_is_a_bad_clip_and_a_missing_folder_is_not(clips: Path):
    video = clips.parent / "clips" / "000.mp4"
    video.unlink()
    failure = read_window(request_of(video))
    assert isinstance(failure, ReadFailure)
    assert (failure.kind, failure.folder) == ("clip", "")
    clips.parent.with_name("other").touch()
    shutil.rmtree(clips.parent)
    failure = read_window(request_of(video))
    assert isinstance(failure, ReadFailure)
    assert (failure.kind, failure.folder) == ("folder", str(clips.parent))  # the outermost that is missing


def test_an_empty_folder_is_taken_for_a_mount_point_that_was_unmounted(clips: Path):
    shutil.rmtree(clips.parent / "clips")
    clips.unlink()
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert isinstance(failure, ReadFailure)
    assert (failure.kind, failure.folder) == ("folder", str(clips.parent))


def test_storage_that_does_not_answer_is_no_bad_clip(clips: Path, monkeypatch):
    raising(monkeypatch, OSError(errno.EIO, "Input/output error"))

    def silent(_folder: str) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(reading, "_is_empty", silent)
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert isinstance(failure, ReadFailure)
    assert (failure.kind, failure.folder) == ("storage", str(clips.parent / "clips"))


def test_a_stale_handle_of_one_file_is_tried_again_and_then_a_bad_clip(clips: Path, monkeypatch):
    stale = OSError(errno.ESTALE, "Stale file handle")
    tried = raising(monkeypatch, stale)
    assert isinstance(read_window(request_of(clips.parent / "clips" / "000.mp4")), np.ndarray)
    assert len(tried) == 2
    raising(monkeypatch, stale, stale, stale)
    failure = read_window(request_of(clips.parent / "clips" / "000.mp4"))
    assert isinstance(failure, ReadFailure)
    assert failure.kind == "clip"
