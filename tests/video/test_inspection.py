"""inspect_video returns the properties of a video, or raises the reason why a file cannot be used."""

import av
import numpy as np
import pytest
from PIL import Image

from worldmodel.video import VideoError, inspect_video


def reason(path, **options):
    with pytest.raises(VideoError) as error:
        inspect_video(path, **options)
    assert str(error.value).startswith(str(path))
    return error.value.reason


def test_the_properties_are_those_of_the_file(tmp_path, numbered, make_video):
    info = inspect_video(make_video(tmp_path / "a.mp4", numbered(30), fps=29.97, bf=3))
    assert (info.frames, info.width, info.height, info.rotation, info.codec) == (30, 64, 48, 0, "h264")
    assert info.fps == pytest.approx(30000 / 1001, rel=1e-4)
    assert info.duration_s == pytest.approx(30 / 29.97, rel=1e-3)


def test_a_variable_rate_has_its_average(tmp_path, numbered, make_video):
    info = inspect_video(make_video(tmp_path / "a.mkv", numbered(4), ticks=[0, 1, 2, 30], clock_hz=10))
    assert info.frames == 4
    assert 3.0 < info.duration_s <= 4.5
    assert info.fps == pytest.approx(4 / info.duration_s, rel=0.01)


def test_an_empty_file(tmp_path):
    (tmp_path / "a.mp4").touch()
    assert reason(tmp_path / "a.mp4") == "empty file"


def test_a_missing_file(tmp_path):
    assert reason(tmp_path / "a.mp4") == "missing file"


@pytest.mark.parametrize(
    "content",
    [np.random.default_rng(0).bytes(20_000), b"hello world\n" * 400, b"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n"],
)
def test_random_bytes_text_and_playlists_are_not_videos(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    assert reason(tmp_path / "a.mp4") in ("not a video", "playlist")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.8])
def test_a_file_cut_off_is_truncated_and_never_usable(tmp_path, numbered, make_video, name, fraction):
    codec = "mpeg4" if name == "a.avi" else "libx264"
    path = make_video(tmp_path / name, numbered(120), codec=codec)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    assert reason(path) == "truncated"


def test_a_streamable_mp4_cut_off_is_truncated_though_its_index_is_whole(tmp_path, numbered):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=10)
        stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
        for image in numbered(100):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    assert reason(path) == "truncated"


def test_sound_alone_has_no_video_stream(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        for index in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert reason(tmp_path / "a.mp4") == "no video stream"


def test_an_unknown_codec(tmp_path, numbered, make_video):
    path = make_video(tmp_path / "a.mp4", numbered(5))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    assert reason(path) == "unreadable codec"


def test_a_track_without_frames(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
        out.start_encoding()
    assert reason(path) == "zero frames"


def test_damage_in_the_middle_is_found_by_a_thorough_inspection(tmp_path, numbered, make_video):
    path = make_video(tmp_path / "a.mp4", numbered(60, 96, 128), g=10, bf=0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    assert inspect_video(path).frames == 60
    assert reason(path, thorough=True) == "corrupt"


def test_a_folder_without_frames_has_zero_frames_and_a_broken_frame_is_corrupt(tmp_path):
    assert reason(tmp_path) == "zero frames"
    Image.new("RGB", (20, 10)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    assert (inspect_video(tmp_path).width, inspect_video(tmp_path).height, inspect_video(tmp_path).codec) == (20, 10, "png")
    with pytest.raises(VideoError, match=r"1\.png") as error:
        inspect_video(tmp_path, thorough=True)
    assert error.value.reason == "corrupt"


def test_unusual_file_names_work(tmp_path, numbered, make_video):
    plain = make_video(tmp_path / "a.mp4", numbered(5))
    for name in ["ünï \"quote' $x.mp4", "100%03d.mp4", "http:x.mp4", "-y.mp4", "a b|c.mp4"]:
        (tmp_path / name).write_bytes(plain.read_bytes())
        assert inspect_video(tmp_path / name) == inspect_video(plain)
