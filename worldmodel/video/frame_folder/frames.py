"""Read a folder of PNG or JPEG frames as a video: in natural order of the names, at a given frame rate."""

from __future__ import annotations

import io
import math
import os
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
from av import VideoFrame
from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  importing the last two makes Pillow read these formats

from worldmodel.files.regular_file import open_regular
from worldmodel.video.errors import VideoError, check_pixels
from worldmodel.video.frame_folder.patterns import FrameSequence, NoSequence, choose_sequence
from worldmodel.video.orientation import Orientation
from worldmodel.video.resize import FrameBuffer, Size, fixed_size
from worldmodel.video.selection import Selection, check_frame_numbers, output_slots

PNG_HEAD, PNG_TEXTS = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
FOLDER_FPS = 10.0  # a folder of frames has no rate of its own; `data_prep index` gives it this one
SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")  # accepted whatever the suffix is. Pillow would start Ghostscript for EPS
MAX_WHOLE_BYTES = 1 << 28  # size of an image file that is read into memory as a whole
EXIF_ORIENTATION = 0x0112
# (turn clockwise, mirrored first) by the value of the EXIF tag, from 1 on
EXIF_TURNS = [(0, False), (0, True), (180, False), (180, True), (270, True), (90, False), (90, True), (270, False)]


def frames_of(folder: Path | str) -> FrameSequence:
    """The frames of a folder in natural order, and its other images. Raises VideoError if they cannot be distinguished."""
    try:
        return _cached_frames(str(folder), os.stat(folder).st_mtime_ns)
    except OSError as error:
        raise VideoError(str(folder), "unreadable folder", error.strerror or str(error)) from None


@lru_cache(maxsize=256)
def _cached_frames(folder: str, _modified_ns: int) -> FrameSequence:
    """Cached until the folder changes: sorting 10,000 names takes 0.2 s, and every window of a folder needs them."""
    names = [e.name for e in os.scandir(folder) if e.name.lower().endswith(SUFFIXES) and not e.name.startswith(".")]
    if not names:
        raise VideoError(folder, "zero frames", "the folder has no frames; expected .png or .jpg files")
    try:
        return choose_sequence(names)
    except NoSequence as error:
        raise VideoError(folder, error.reason, error.detail) from None


def frame_names(folder: Path | str) -> list[str]:
    """Names of the frames in order. Raises VideoError if there is no sequence of frames."""
    return list(frames_of(folder).names)


def read_folder(folder: Path | str, selection: Selection, size: Size, fps: float) -> np.ndarray:
    """Read the selected frames of a folder, uint8 [T, H, W, 3]. Frame k is shown from k/fps on.

    Frames of another size than the folder's first are resized to the size of the first.
    """
    names = frame_names(folder)
    if selection.times_s is not None:
        numbers = [math.floor(time * fps + 1e-3) for time in selection.times_s]  # a thousandth of a frame for rounding
    else:
        numbers = list(selection.indices or ())
    check_frame_numbers(str(folder), numbers, len(names))
    if not isinstance(size, tuple):
        size = fixed_size(*_first_size(Path(folder) / names[0]), size)
    buffer = FrameBuffer(len(numbers), size)
    for number, slots in output_slots(numbers).items():
        image = open_frame(Path(folder) / names[number])
        buffer.put(slots, VideoFrame.from_ndarray(image, format="rgb24"))
    return buffer.frames


def _first_size(path: Path) -> tuple[int, int]:
    """(height, width) of a folder's first frame as shown; cached until the file changes."""
    try:
        stat = path.stat()
    except OSError as error:
        raise VideoError(str(path), "corrupt", f"this frame cannot be read ({error})") from None
    return _size_of(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _size_of(path: Path, modified_ns: int, size: int) -> tuple[int, int]:
    height, width = open_frame(path).shape[:2]
    return height, width


def open_frame(path: Path) -> np.ndarray:
    """Read one image as shown, uint8 [H, W, 3], contiguous. Raises VideoError if it cannot be read.

    The EXIF orientation is applied. Transparency is ignored: colours are as stored, as in FFmpeg's conversion to RGB, and not
    blended with black or white. Of 16-bit samples the high byte is taken. Resolution tags are ignored: pixels are square.
    """
    try:
        with _opened(path) as image:
            orientation = _exif_orientation(image)
            return np.ascontiguousarray(orientation.upright(_rgb(image)))
    except (MemoryError, VideoError):
        raise
    except Exception as error:  # Pillow passes on whatever its decoders raise: struct.error, zlib.error, IndexError, ...
        raise VideoError(str(path), "corrupt", f"this frame cannot be read ({str(error) or type(error).__name__})") from None


def _opened(path: Path) -> Image.Image:
    """Read an image with its pixels. Pillow refuses a PNG with long texts; these are skipped, since they are not pixels."""
    try:
        open_regular(path).close()
        return _loaded(path, path)
    except ValueError:
        if path.stat().st_size > MAX_WHOLE_BYTES:
            raise
        content = path.read_bytes()
        if not content.startswith(PNG_HEAD):
            raise
        return _loaded(path, io.BytesIO(without_texts(content)))


def _loaded(path: Path, source: Path | io.BytesIO) -> Image.Image:
    image = Image.open(source, formats=FORMATS)
    try:
        check_pixels(str(path), image.height, image.width)
        image.load()
    except BaseException:
        image.close()
        raise
    return image


def without_texts(png: bytes) -> bytes:
    """Remove the texts and the colour profile of a PNG file, but keep texts that hold EXIF data."""
    parts, at = [PNG_HEAD], len(PNG_HEAD)
    while at + 12 <= len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        end = at + 12 + length
        if kind not in PNG_TEXTS or png[at + 8 : at + 24] == b"Raw profile type":
            parts.append(png[at:end])
        at = end
    return b"".join(parts)


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert to uint8 [H, W, 3]. Raises ValueError for samples whose range is not known."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):  # 16-bit grey; Pillow clips it to white
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("I", "F"):
        raise ValueError(f"its samples are 32-bit {'integers' if image.mode == 'I' else 'floats'}; expected 8 or 16 bits")
    image.info.pop("transparency", None)  # else Pillow warns that it is ignored
    return np.asarray(image.convert("RGB"))


def _exif_orientation(image: Image.Image) -> Orientation:
    """The orientation in the EXIF tag; upright if there is no tag, or none that can be read."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # damaged EXIF data say nothing about the image itself
        return Orientation()
    if isinstance(value, int) and 1 <= value <= len(EXIF_TURNS):
        return Orientation(*EXIF_TURNS[value - 1])
    return Orientation()
