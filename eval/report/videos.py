"""Videos that are embedded in a page: H.264, scaled down to keep the page small."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from av import VideoFrame
from numpy.typing import NDArray

from eval.voe.trials import Video
from worldmodel.video import inspect_video, read_frames, write_video
from worldmodel.video.geometry import Geometry, crop_square
from worldmodel.video.resize import FrameBuffer, Size

MAX_PX = 256  # of the shorter side
MIN_PX = 64  # of the shorter side, when a video is scaled down to fit into a page
MAX_FPS = 30.0
MAX_BYTES = 12_000_000  # of all videos in a page; base64 adds a third


def mp4_bytes(frames: NDArray[np.uint8], fps: float) -> bytes:
    """Encode frames uint8 [T, H, W, 3] as an .mp4 that browsers play: H.264, yuv420p, odd sizes padded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, frames, fps)
        return path.read_bytes()


def mp4_bytes_within(frames: NDArray[np.uint8], fps: float, max_bytes: float) -> bytes:
    """As `mp4_bytes`, scaled down until it fits into `max_bytes`, but never below MIN_PX."""
    found = mp4_bytes(frames, fps)
    side = min(frames.shape[1:3])
    while len(found) > max_bytes and side > MIN_PX:
        side = max(MIN_PX, side * 3 // 4)
        found = mp4_bytes(resized(frames, side), fps)
    return found


def resized(frames: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resize frames uint8 [T, H, W, 3] -> [T, h, w, 3] with the filter that resizes videos when they are read."""
    buffer = FrameBuffer(len(frames), size)
    for index, frame in enumerate(frames):
        buffer.put([index], VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
    return buffer.frames


def page_fps(video: Video) -> float:
    """Frame rate at which a video is shown: its own, up to MAX_FPS."""
    return min(video.fps, MAX_FPS)


def trial_video_mp4(video: Video, geometry: Geometry) -> bytes:
    """A video of a trial as .mp4, at its own size up to MAX_PX; cropped to the centre square if the model saw only that.

    Raises VideoError or OSError if it cannot be read.
    """
    info, rate = inspect_video(video.path, folder_fps=video.fps), page_fps(video)
    count = max(1, round(video.frames / video.fps * rate))
    last_s = (video.frames - 1) / video.fps
    times = [video.begin_s + min(index / rate, last_s) for index in range(count)]
    size = MAX_PX if min(info.height, info.width) > MAX_PX else None
    frames = read_frames(video.path, times_s=times, size=size, folder_fps=video.fps)
    return mp4_bytes(crop_square(frames) if geometry == "center_crop" else frames, rate)
