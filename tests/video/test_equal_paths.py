"""Frames are converted in the fastest way that gives the pixels of the plain conversion, bit for bit."""

import av
import numpy as np
import pytest
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from worldmodel.video import equal_paths
from worldmodel.video.equal_paths import PLAIN, FrameKind, Path, fastest_path
from worldmodel.video.resize import FrameConverter

RNG = np.random.default_rng(0)
# (height, width) of the frame and of the image: halved, just shrunk, enlarged, odd, stretched, and random ones
SIZES = [
    *[((256, 340), (224, 298)), ((136, 320), (112, 263)), ((192, 256), (56, 75)), ((90, 160), (112, 199))],
    *[((96, 128), (95, 127)), ((96, 128), (48, 64)), ((96, 128), (96, 64)), ((96, 128), (24, 128)), ((54, 98), (23, 41))],
    *[(tuple(2 * RNG.integers(8, 120, 2)), tuple(RNG.integers(8, 160, 2))) for _ in range(20)],
]


def plain(frame: VideoFrame, height: int, width: int) -> np.ndarray:
    """To rgb24 at full size, then resized as rgb24."""
    rgb = VideoReformatter().reformat(frame, format="rgb24", threads=1)
    method = Interpolation.AREA if height <= frame.height and width <= frame.width else Interpolation.BILINEAR
    return VideoReformatter().reformat(rgb, width=width, height=height, interpolation=method, threads=1).to_ndarray()


def picture(height: int, width: int, pixel_format: str = "yuv420p") -> VideoFrame:
    """Smooth gradients with some noise and a bright and a dark square."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 255 / height, columns * 255 / width, (rows + columns) % 256], -1)
    image = image + np.random.default_rng(height * width).normal(0, 9, image.shape)
    image[: height // 4, : width // 4], image[-height // 4 :, -width // 4 :] = 255, 0
    return VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24").reformat(format=pixel_format)


@pytest.mark.parametrize(("stored", "shown"), SIZES)
def test_the_pixels_are_those_of_the_plain_conversion(stored, shown):
    size = int(shown[0]), int(shown[1])
    frame = picture(int(stored[0]), int(stored[1]))
    np.testing.assert_array_equal(FrameConverter(size).convert(frame), plain(frame, *size))


@pytest.mark.parametrize("pixel_format", ["yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "gray", "rgb24"])
@pytest.mark.parametrize("size", [(40, 60), (97, 130), (150, 200)])
def test_so_are_those_of_other_pixel_formats(pixel_format, size):
    frame = picture(100, 140, pixel_format)
    np.testing.assert_array_equal(FrameConverter(size).convert(frame), plain(frame, *size))


@pytest.mark.parametrize("colorspace", [1, 5, 9])  # BT.709, BT.601, BT.2020
@pytest.mark.parametrize("color_range", [1, 2])
def test_so_are_those_of_other_colour_spaces(colorspace, color_range):
    frame = picture(100, 140)
    frame.colorspace, frame.color_range = colorspace, color_range
    np.testing.assert_array_equal(FrameConverter((33, 44)).convert(frame), plain(frame, 33, 44))


@pytest.mark.skipif(av.library_versions["libswscale"][0] != 9, reason="other versions of FFmpeg may differ")
def test_a_detour_is_taken_where_its_pixels_are_equal():
    kind = FrameKind.of(picture(200, 320))
    assert fastest_path(kind, 64, 102) == Path("rgba", "gbrp")
    assert fastest_path(kind, 130, 208) == Path("rgb24", "gbrp")


def test_a_detour_that_changes_pixels_is_refused(monkeypatch):
    resized_rgb = equal_paths.Reformatters.resized_rgb

    def coarse(self, frame, height, width, path):
        return resized_rgb(self, frame, height, width, path if path == PLAIN else Path("rgb565", "gbrp"))

    monkeypatch.setattr(equal_paths.Reformatters, "resized_rgb", coarse)
    assert fastest_path(FrameKind.of(picture(202, 322)), 64, 102) == PLAIN
