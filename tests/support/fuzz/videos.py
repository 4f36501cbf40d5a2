"""Videos, folders of pictures and tars, read as by the index and by training."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, PngImagePlugin

from data_prep.inspection import inspect_item
from data_prep.sources import folder as sources
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles
from worldmodel.video import VideoError
from worldmodel.video.geometry import read_square_frames

CODECS = {
    "mp4": "libx264",
    "mkv": "libx264",
    "avi": "mpeg4",
    "ts": "mpeg2video",
    "flv": "flv1",
    "gif": "gif",
    "webm": "libvpx-vp9",
}
ERRORS = (VideoError,)
FRAMES, SIZE_PX, FPS = 6, 32, 10


def seeds(folder: Path) -> Mapping[str, Path]:
    """Files to damage, by name. Each is read at its path, for example a frame in its folder."""
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
    frames[:, 8:24] = 128
    found = {}
    for kind, codec in CODECS.items():
        found[kind] = folder / f"clip.{kind}"
        _write(found[kind], codec, frames)
    for kind in ("png", "jpg"):
        for number, frame in enumerate(frames[:3]):
            found[kind] = folder / kind / f"{number}.{kind}"  # the last frame is damaged
            found[kind].parent.mkdir(exist_ok=True)
            Image.fromarray(frame).save(found[kind], **_save_options(kind))
    found["tar"] = folder / "clips.tar"
    with tarfile.open(found["tar"], "w") as tar:
        tar.add(found["mp4"], "one.mp4")
        tar.add(found["gif"], "a" * 120 + ".gif")  # a name that needs a separate header
    return found


def _save_options(kind: str) -> dict[str, object]:
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 100, zip=True)
    return {"exif": exif, "pnginfo": text} if kind == "png" else {"exif": exif}


def _write(path: Path, codec: str, frames: np.ndarray) -> None:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=Fraction(25 if codec == "mpeg2video" else FPS))
        stream.width = stream.height = SIZE_PX
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for image in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))


def reader(name: str, path: Path) -> Callable[[int], None]:
    """A function that reads the damaged file once, in odd turns as the index and in even turns as training."""
    where = str(path.parent if name in ("png", "jpg") else path)
    member = "one.mp4" if name == "tar" else None

    def read(turn: int) -> None:
        if name == "tar" and turn % 4 == 3:
            list(sources.find(Path(where), SkippedFiles()))
        elif turn % 2:
            inspect_item(Item(where, member), min_seconds=0.1, thorough=turn % 8 == 1)
        else:
            timing = "packets" if turn % 4 else None
            times_s = (0.0, 0.1, 0.2)
            read_square_frames(
                where, 16, "center_crop", times_s=times_s, position=0.5, member=member, folder_fps=FPS, timing=timing
            )

    return read
