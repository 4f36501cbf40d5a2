"""Images of a folder of frames: bit depths, palettes, transparency, EXIF, damage. Values are worked by hand."""

import contextlib
import shutil
import struct
import subprocess
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from data_prep.inspection import inspect_item
from data_prep.sources.item import Item
from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.video import VideoError, inspect_video, read_frames
from worldmodel.video.frame_folder.frames import open_frame


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, depth, colour, row, *chunks):
    """A PNG of one row, written byte by byte."""
    head = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def big(*values):
    """16-bit samples as PNG stores them."""
    return struct.pack(f">{len(values)}H", *values)


def grey(*values):
    return [[value] * 3 for value in values]


PALETTE = (chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])), chunk(b"tRNS", bytes([0, 128, 255])))
PNGS = {  # width, bits a sample, colour type, row, chunks before it -> pixels
    "1 bit": ((8, 1, 0, b"\xa5"), grey(255, 0, 255, 0, 0, 255, 0, 255)),
    "2 bits": ((4, 2, 0, b"\x1b"), grey(0, 85, 170, 255)),
    "4 bits": ((4, 4, 0, b"\x05\xaf"), grey(0, 85, 170, 255)),
    "8 bits": ((2, 8, 0, b"\x07\xc8"), grey(7, 200)),
    "16 bits": ((5, 16, 0, big(0, 255, 256, 32768, 65535)), grey(0, 0, 1, 128, 255)),
    "16 bits with a transparent level": ((2, 16, 0, big(256, 65535), chunk(b"tRNS", big(256))), grey(1, 255)),
    "RGB": ((1, 8, 2, b"\x01\x02\x03"), [[1, 2, 3]]),
    "RGB, 16 bits": ((2, 16, 2, big(0, 32768, 65535, 1, 511, 40000)), [[0, 128, 255], [0, 1, 156]]),
    "palette, 2 bits, transparent": ((4, 2, 3, b"\x1b", *PALETTE), [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]]),
    "grey and alpha": ((2, 8, 4, bytes([200, 0, 100, 255])), grey(200, 100)),
    "grey and alpha, 16 bits": ((2, 16, 4, big(51200, 0, 25600, 65535)), grey(200, 100)),
    "RGBA": ((2, 8, 6, bytes([200, 100, 50, 0, 10, 20, 30, 128])), [[200, 100, 50], [10, 20, 30]]),
    "RGBA, 16 bits": ((1, 16, 6, big(51200, 25600, 12800, 9)), [[200, 100, 50]]),
}


@pytest.mark.parametrize("kind", PNGS)
def test_a_png_of_any_depth_and_colour_is_read_without_its_transparency(tmp_path, kind):
    written, pixels = PNGS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_frame(png(tmp_path / "0.png", *written)).tolist() == [pixels]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to compare with")
@pytest.mark.parametrize("kind", PNGS)
def test_a_png_is_read_as_by_ffmpeg_to_one_level(tmp_path, kind):
    path = png(tmp_path / "0.png", *PNGS[kind][0])
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8).astype(int)
    assert abs(open_frame(path).ravel() - shown).max() <= 1


def test_a_16_bit_ramp_keeps_its_levels_in_frames_of_every_size(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1))
    for number in range(3):
        Image.fromarray(ramp).save(tmp_path / f"{number}.png")
    for size in (None, 32):
        frames = read_frames(tmp_path, indices=[0, 2], size=size)
        assert len(np.unique(frames)) > 40
        assert frames.mean() == pytest.approx(127, abs=2)


def test_samples_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "0.png", format="TIFF")
    with pytest.raises(VideoError, match="32-bit floats; expected 8 or 16 bits"):
        open_frame(tmp_path / "0.png")


def jpeg_of_inks(path, *inks):
    """A CMYK JPEG of one colour with Adobe's marker, whose samples are 255 less the inks."""
    Image.fromarray(np.full((16, 16, 4), inks, np.uint8), "CMYK").save(path, quality=100, subsampling=0)
    return path


@pytest.mark.parametrize(
    ("inks", "colour"),
    [
        ((0, 255, 255, 0), (255, 0, 0)),
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 155), (100, 100, 100)),
        ((255, 0, 0, 127), (0, 128, 128)),
    ],
)
def test_inks_of_an_adobe_jpeg_are_not_inverted(tmp_path, inks, colour):
    assert abs(open_frame(jpeg_of_inks(tmp_path / "0.jpg", *inks))[8, 8].astype(int) - colour).max() <= 2


def test_a_ycck_jpeg_worked_by_hand(tmp_path):
    """Samples Y 100, Cb 128, Cr 128, K 255 are grey 100 in RGB, inverted inks 155, so grey 155."""
    path = jpeg_of_inks(tmp_path / "0.jpg", 155, 127, 127, 0)
    data = bytearray(path.read_bytes())
    data[data.index(b"Adobe") + 11] = 2  # the transform: YCCK
    path.write_bytes(data)
    assert abs(open_frame(path)[8, 8].astype(int) - 155).max() <= 2


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_eight_exif_orientations_are_followed(tmp_path, value, suffix):
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :24], stored[:16, 24:], stored[16:, :24] = 250, 170, 90  # 250 170 / 90 0
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = value
    image.save(tmp_path / f"0{suffix}", exif=exif)
    shown = open_frame(tmp_path / f"0{suffix}")
    height, width = shown.shape[:2]
    corners = [shown[y, x, 0] for y in (height // 4, -height // 4) for x in (width // 4, -width // 4)]
    by_hand = {
        1: [250, 170, 90, 0],  # as stored
        2: [170, 250, 0, 90],  # the 0th column is the right side
        3: [0, 90, 170, 250],
        4: [90, 0, 250, 170],  # the 0th row is the bottom
        5: [250, 90, 170, 0],  # the 0th row is the left side, the 0th column the top
        6: [90, 250, 0, 170],  # turned clockwise
        7: [0, 170, 90, 250],
        8: [170, 0, 250, 90],
    }
    np.testing.assert_allclose(corners, by_hand[value], atol=4)
    assert (height, width) == ((32, 48) if value < 5 else (48, 32))
    with Image.open(tmp_path / f"0{suffix}") as picture:
        np.testing.assert_array_equal(shown, ImageOps.exif_transpose(picture))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0",  # cut within an entry
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",  # orientation 9
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0",  # orientation "six"
    ],
)
def test_exif_data_without_an_orientation_leave_the_image_unchanged(tmp_path, numbered, exif):
    frame = numbered(1)[0]
    Image.fromarray(frame).save(tmp_path / "plain.jpg")
    Image.fromarray(frame).save(tmp_path / "odd.jpg", exif=exif)
    np.testing.assert_array_equal(open_frame(tmp_path / "odd.jpg"), open_frame(tmp_path / "plain.jpg"))


@pytest.fixture
def folder(tmp_path, numbered):
    """12 PNG frames."""
    for number, frame in enumerate(numbered(12)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    return tmp_path


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-200])


def wrong_header(path):
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0\0\0\1"))


def no_palette(path):
    png(path, 4, 2, 3, b"\x1b")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"IDAT", b"fdAT"))


@pytest.mark.parametrize("damage", [cut_short, wrong_header, no_palette, lambda path: path.write_bytes(b"")])
def test_a_damaged_later_frame_is_a_video_error_that_names_it(folder, tmp_path, damage):
    damage(folder / "7.png")
    assert inspect_video(folder).frames == 12
    for read in (
        lambda: read_frames(folder, indices=[6, 7]),
        lambda: inspect_video(folder, thorough=True),
        lambda: transcode_video(str(folder), None, tmp_path / "out" / "copy.mp4", TranscodeConfig(40, None, 12)),
    ):
        with pytest.raises(VideoError, match=r"7\.png: this frame cannot be read \(.+\)") as error:
            read()
        assert error.value.reason == "corrupt"
    assert len(read_frames(folder, indices=[0, 6, 8])) == 3
    assert inspect_item(Item(str(folder)), min_seconds=0.0, thorough=True).reason == "corrupt"


def test_a_png_with_a_long_comment_is_read(tmp_path, numbered):
    frame = numbered(1)[0]
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("comment", "x" * (2 * PngImagePlugin.MAX_TEXT_CHUNK), zip=True)
    exif[0x0112] = 6
    Image.fromarray(frame).save(tmp_path / "0.png", pnginfo=text, exif=exif)
    np.testing.assert_array_equal(open_frame(tmp_path / "0.png"), np.rot90(frame, -1))


def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path):
    Image.new("L", (64, 48)).save(tmp_path / "0.png")
    data = bytearray((tmp_path / "0.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "0.png").write_bytes(data)
    with pytest.raises(VideoError, match=r"0\.png: .*(60000 x 60000|exceeds limit)"):
        open_frame(tmp_path / "0.png")


def test_a_video_whose_frames_are_too_large_is_refused(tmp_path, make_video, numbered, monkeypatch):
    path = make_video(tmp_path / "a.mp4", numbered(3))
    monkeypatch.setattr("worldmodel.video.errors.MAX_PIXELS", 64 * 48 - 1)
    for read in (lambda: inspect_video(path), lambda: read_frames(path, indices=[0])):
        with pytest.raises(VideoError, match=r"a\.mp4: its frames have 64 x 48 pixels; at most 3,071 are read") as error:
            read()
        assert error.value.reason == "too large"


@pytest.mark.parametrize("position", range(8, 220, 3))
def test_no_flipped_byte_raises_anything_but_a_video_error(tmp_path, numbered, position):
    path = tmp_path / "0.png"
    Image.fromarray(numbered(1, 16, 16)[0]).save(path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 0xFF
    path.write_bytes(data)
    with contextlib.suppress(VideoError):
        assert open_frame(path).dtype == np.uint8


def test_frames_of_other_sizes_are_resized_to_the_first_whichever_are_requested(folder, numbered, number_of):
    for number, (height, width) in {3: (96, 128), 5: (48, 48), 7: (30, 90)}.items():
        Image.fromarray(numbered(1, height, width, first=number)[0]).save(folder / f"{number}.png")
    assert (inspect_video(folder).height, inspect_video(folder, thorough=True).width) == (48, 64)
    for order in ([3], [5], [7, 0], range(12)):
        frames = read_frames(folder, indices=order)
        assert frames.shape[1:] == (48, 64, 3)
        assert [number_of(frame) for frame in frames] == list(order)
        assert read_frames(folder, indices=order, size=24).shape[1:3] == (24, 32)
        assert read_frames(folder, indices=order, size=(20, 20)).shape[1:3] == (20, 20)


def test_the_cached_size_follows_a_rewritten_folder(folder, numbered):
    assert read_frames(folder, indices=[3]).shape[1:3] == (48, 64)
    Image.fromarray(numbered(1, 20, 30)[0]).save(folder / "0.png")
    assert read_frames(folder, indices=[3]).shape[1:3] == (20, 30)


def test_frames_of_different_modes_make_one_video(tmp_path):
    for number, mode in enumerate(("RGB", "L", "P", "RGBA", "LA", "1", "I;16")):
        deep = Image.fromarray(np.full((8, 8), 65535, np.uint16))
        picture = deep if mode == "I;16" else Image.new("RGB", (8, 8), "white").convert(mode)
        picture.save(tmp_path / f"{number}.png")
    frames = read_frames(tmp_path, indices=range(7))
    assert frames.shape == (7, 8, 8, 3)
    assert (frames == 255).all()


def test_an_image_of_another_format_named_png_starts_no_other_program(tmp_path, monkeypatch):
    """Pillow would hand an EPS file to Ghostscript."""
    started = []
    monkeypatch.setattr("subprocess.Popen.__init__", lambda *called, **_: started.append(called))
    monkeypatch.setattr("subprocess.check_call", lambda *called, **_: started.append(called))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    for number in range(2):
        (tmp_path / f"{number:04d}.png").write_bytes(eps)
    with pytest.raises(VideoError, match="cannot be read"):
        open_frame(tmp_path / "0000.png")
    assert not started
