"""Frames are found by number and by time in every container, with or without presentation times in its packets."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.video import VideoError, inspect_video, read_frames
from worldmodel.video.container.reuse import KEPT
from worldmodel.video.container.timing import analyse_timing, timing_of
from worldmodel.video.equal_paths import PLAIN

COUNT, FPS = 40, 25
STEADY = list(range(COUNT))  # frame numbers, in units of 1/FPS s
VARIED = [int(tick) for tick in np.cumsum(np.random.default_rng(0).integers(1, 4, COUNT))]

H264_B = {"g": 12, "bf": 3, "x264-params": "b-adapt=0"}
H264_OPEN = {"g": 12, "bf": 3, "x264-params": "open-gop=1:b-adapt=0:keyint=12:min-keyint=12"}
H264_NO_B = {"g": 12, "bf": 0}
MPEG_B = {"g": 12, "bf": 2, "q:v": 2}
MPEG_NO_B = {"g": 12, "bf": 0}

# container, codec, options, ticks; where packets state when frames are shown, the timing is "packets"
KINDS = [
    *[(ending, "libx264", H264_B, STEADY, "packets") for ending in ("mp4", "mov", "mkv", "ts", "flv", "nut")],
    *[(ending, "libx264", H264_B, STEADY, "order") for ending in ("avi", "asf", "mxf", "h264", "mpg")],
    *[(ending, "libx264", H264_OPEN, STEADY, "packets") for ending in ("mp4", "mkv", "ts")],
    *[(ending, "libx264", H264_OPEN, STEADY, "order") for ending in ("avi", "asf")],
    *[(ending, "libx264", H264_NO_B, STEADY, "packets") for ending in ("mp4", "mkv", "ts", "avi")],
    *[(ending, "libx264", H264_B, VARIED, "packets") for ending in ("mp4", "mkv", "ts", "flv", "nut")],
    *[(ending, "libx264", H264_NO_B, VARIED, "packets") for ending in ("mp4", "mkv")],
    *[(ending, "mpeg4", MPEG_B, STEADY, "packets") for ending in ("mp4", "mkv", "m4v")],
    *[(ending, "mpeg4", MPEG_B, STEADY, "order") for ending in ("avi", "asf")],
    *[(ending, "mpeg4", MPEG_NO_B, STEADY, "packets") for ending in ("mp4", "mkv", "avi")],
    *[(ending, "mpeg2video", MPEG_B, STEADY, "packets") for ending in ("mkv", "ts")],
    *[(ending, "mpeg2video", MPEG_B, STEADY, "order") for ending in ("mpg", "avi", "mxf", "m2v")],
    ("vob", "mpeg2video", MPEG_B, STEADY, None),
    *[(ending, "mpeg1video", MPEG_B, STEADY, "order") for ending in ("mpg", "avi", "m1v")],
    *[(ending, "libx265", {"x265-params": "log-level=none:keyint=12:pools=1"}, STEADY, "packets") for ending in ("mp4", "mkv")],
    ("ts", "libx265", {"x265-params": "log-level=none:keyint=12:pools=1"}, VARIED, "packets"),
    ("hevc", "libx265", {"x265-params": "log-level=none:keyint=12:pools=1"}, STEADY, "order"),
    ("webm", "libvpx-vp9", {"cpu-used": 8, "b": 500_000}, STEADY, "packets"),
    ("webm", "libvpx", {"cpu-used": 8, "b": 500_000, "auto-alt-ref": 1, "lag-in-frames": 10}, STEADY, None),
    ("avi", "mjpeg", {"q:v": 2}, STEADY, "packets"),
    ("mkv", "ffv1", {}, VARIED, "packets"),
    ("avi", "msmpeg4v3", {"q:v": 2}, STEADY, "packets"),
    ("flv", "flv1", {"q:v": 2}, STEADY, "packets"),
]
PIX_FMTS = {"mjpeg": "yuvj420p"}


@pytest.fixture
def make_kind(tmp_path, numbered, make_video):
    """(ending, codec, options, ticks) -> a video of COUNT numbered frames."""

    def make(ending, codec, options, ticks=STEADY):
        frames = numbered(COUNT, 96, 128)
        clock = {} if ticks == STEADY else {"ticks": ticks, "clock_hz": FPS}
        try:
            av.Codec(codec, "w")
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this build of FFmpeg has no encoder {codec}")
        return make_video(tmp_path / f"a.{ending}", frames, FPS, codec, PIX_FMTS.get(codec, "yuv420p"), **clock, **options)

    return make


def assert_frames_are_found(path: Path, ticks: list[int], number_of) -> None:
    """All frames by number, single ones and windows by number and by time, in any order."""
    count = len(ticks)
    times_s = (np.array(ticks) - ticks[0] + 0.4) / FPS  # while the frame is shown, whatever its length
    assert [number_of(frame) for frame in read_frames(path, indices=range(count))] == list(range(count))
    assert [number_of(frame) for frame in read_frames(path, times_s=times_s)] == list(range(count))
    rng = np.random.default_rng(1)
    for start in rng.integers(0, count - 6, 4).tolist():
        window = list(range(start, start + 6))
        assert [number_of(frame) for frame in read_frames(path, indices=window)] == window
        assert [number_of(frame) for frame in read_frames(path, times_s=times_s[window])] == window
    mixed = rng.permutation(count)[:5].tolist()
    assert [number_of(frame) for frame in read_frames(path, indices=mixed)] == mixed


def assert_faster_paths_change_no_pixel(path: Path, monkeypatch) -> None:
    """Windows from containers that are kept open, resized by detours, equal those of new containers and plain conversions."""
    windows = [list(range(start, start + 6)) for start in np.random.default_rng(2).integers(0, COUNT - 6, 3).tolist()]
    reused = [read_frames(path, indices=window, size=40) for window in windows for _ in range(2)]
    monkeypatch.setattr("worldmodel.video.resize.fastest_path", lambda *args: PLAIN)
    for number, window in enumerate(windows):
        KEPT.close_all()
        plain = read_frames(path, indices=window, size=40)
        np.testing.assert_array_equal(reused[2 * number], plain)
        np.testing.assert_array_equal(reused[2 * number + 1], plain)


def copy_of(path: Path) -> Path:
    copy = path.with_name("copy.mp4")
    transcode_video(str(path), None, copy, TranscodeConfig(short_side_px=96, max_fps=None, gop=6))
    return copy


@pytest.mark.parametrize(("ending", "codec", "options", "ticks", "timing"), KINDS)
def test_the_right_frames_by_number_and_by_time_of_the_file_and_of_its_copy(
    tmp_path, make_kind, number_of, monkeypatch, ending, codec, options, ticks, timing
):
    path = make_kind(ending, codec, options, ticks)
    info = inspect_video(path)
    assert info.frames == COUNT
    assert timing is None or info.timing == timing
    assert info.fps == pytest.approx(COUNT / info.duration_s, rel=0.02)
    assert_frames_are_found(path, ticks, number_of)

    copy = copy_of(path)
    assert (inspect_video(copy).frames, inspect_video(copy).timing) == (COUNT, "packets")
    assert inspect_video(copy).duration_s == pytest.approx(info.duration_s, abs=0.05)
    assert_frames_are_found(copy, ticks, number_of)
    assert_faster_paths_change_no_pixel(path, monkeypatch)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command line tool")
@pytest.mark.parametrize(("ending", "codec", "options", "ticks", "timing"), KINDS[:16])
def test_the_frames_are_those_of_the_ffmpeg_command_line_tool(make_kind, number_of, ending, codec, options, ticks, timing):
    path = make_kind(ending, codec, options, ticks)
    raw = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), *raw], capture_output=True, check=True).stdout
    theirs = np.frombuffer(data, np.uint8).reshape(-1, 96, 128, 3)
    ours = read_frames(path, indices=range(inspect_video(path).frames))
    assert [number_of(frame) for frame in ours] == [number_of(frame) for frame in theirs]


def remux(source: Path, target: Path, change, **options: str) -> Path:
    """Copy the packets of `source` without decoding; `change(packet)` alters each of them, and drops it by returning False."""
    with av.open(str(source)) as file, av.open(str(target), "w", options=options) as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.size and change(packet) is not False:
                packet.stream = stream
                out.mux(packet)
    return target


def shift(seconds: float):
    def change(packet) -> None:
        ticks = round(Fraction(seconds) / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks

    return change


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "ts", "flv", "nut", "asf"])
def test_a_clock_that_starts_at_ten_seconds_is_no_error(tmp_path, make_kind, number_of, ending):
    path = remux(make_kind("mp4", "libx264", H264_B), tmp_path / f"late.{ending}", shift(10))
    assert (inspect_video(path).frames, inspect_video(path).duration_s) == (COUNT, pytest.approx(COUNT / FPS, abs=0.01))
    assert_frames_are_found(path, STEADY, number_of)
    assert_frames_are_found(copy_of(path), STEADY, number_of)


def test_an_avi_whose_first_ten_seconds_are_left_out_is_whole(tmp_path, make_kind, number_of):
    path = remux(make_kind("ts", "libx264", H264_B), tmp_path / "late.avi", shift(10), avoid_negative_ts="disabled")
    assert inspect_video(path).frames == COUNT
    assert_frames_are_found(path, STEADY, number_of)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames_that_an_avi_leaves_out_leave_a_gap(tmp_path, make_kind, number_of, codec):
    ticks = [*range(10), *range(20, COUNT + 10)]  # ten frames were dropped while it was recorded
    path = make_kind("avi", codec, {"g": 12, "bf": 0}, ticks)
    assert inspect_video(path).frames == COUNT
    assert inspect_video(path).duration_s == pytest.approx((COUNT + 10) / FPS, abs=0.05)
    assert_frames_are_found(path, ticks, number_of)
    assert_frames_are_found(copy_of(path), ticks, number_of)


def test_matroska_with_times_before_zero(tmp_path, make_kind, number_of):
    source = make_kind("mp4", "libx264", H264_B)
    path = remux(source, tmp_path / "early.mkv", shift(-0.8), avoid_negative_ts="disabled")
    assert inspect_video(path).frames == COUNT
    assert_frames_are_found(path, STEADY, number_of)
    assert_frames_are_found(copy_of(path), STEADY, number_of)


def test_an_edit_list_hides_frames_and_the_clock_counts_from_the_first_one_shown(tmp_path, make_kind, number_of):
    source = make_kind("mp4", "libx264", {"g": 100, "bf": 2})
    path = remux(source, tmp_path / "trimmed.mp4", shift(-12 / FPS), avoid_negative_ts="disabled")
    info = inspect_video(path)
    assert (info.frames, info.fps) == (COUNT - 12, FPS)
    frames = read_frames(path, times_s=(np.arange(COUNT - 12) + 0.5) / FPS)
    assert [number_of(frame) for frame in frames] == list(range(12, COUNT))
    assert [number_of(frame) for frame in read_frames(path, indices=[0, 20])] == [12, 32]
    assert inspect_video(copy_of(path)).frames == COUNT - 12
    assert [number_of(frame) for frame in read_frames(copy_of(path), indices=[0, 20])] == [12, 32]


@pytest.mark.parametrize(
    ("ending", "codec"), [("ts", "libx264"), ("ts", "mpeg2video"), ("mpg", "mpeg2video"), ("h264", "libx264")]
)
def test_joined_recordings_are_one_video_after_another(tmp_path, make_kind, number_of, ending, codec):
    part = make_kind(ending, codec, {"g": 12, "bf": 2}).read_bytes()
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(part + part)  # the clock starts again
    info = inspect_video(path)
    assert (info.frames, info.duration_s) == (2 * COUNT, pytest.approx(2 * COUNT / FPS, abs=0.1))
    numbers = [*STEADY, *STEADY]
    assert [number_of(frame) for frame in read_frames(path, indices=range(2 * COUNT))] == numbers
    assert [number_of(frame) for frame in read_frames(path, times_s=(np.arange(2 * COUNT) + 0.5) / FPS)] == numbers
    assert number_of(read_frames(path, indices=[COUNT + 7])[0]) == 7
    assert [number_of(frame) for frame in read_frames(copy_of(path), indices=range(2 * COUNT))] == numbers


def test_decoding_times_stored_as_presentation_times_are_detected(tmp_path, make_kind, number_of):
    def lie(packet) -> None:
        packet.pts = packet.dts = packet.dts + 2 * packet.duration  # some tools that copy a raw stream write this

    path = remux(make_kind("mp4", "libx264", H264_B), tmp_path / "lies.mkv", lie)
    assert inspect_video(path).timing == "order"
    assert_frames_are_found(path, STEADY, number_of)


def test_a_recording_that_begins_between_keyframes_begins_at_its_first_whole_frame(tmp_path, make_kind, number_of):
    data = make_kind("ts", "libx264", {"g": 12, "bf": 0}).read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    starts = [index for index, packet in enumerate(packets) if packet[1] & 0x40 and packet[3] & 0x20 and index > 4]
    path = tmp_path / "cut.ts"
    path.write_bytes(b"".join(packets[:3] + packets[starts[5] :]))
    info = inspect_video(path)
    numbers = [number_of(frame) for frame in read_frames(path, indices=range(info.frames))]
    assert numbers == list(range(12, COUNT))
    assert number_of(read_frames(path, times_s=[0.5 / FPS])[0]) == 12


def test_the_last_frame_is_shown_for_as_long_as_the_file_says_also_in_the_copy(tmp_path, make_kind, number_of):
    source = make_kind("mp4", "libx264", H264_NO_B)
    last = round(39 / FPS * 12800)

    def hold(packet) -> None:
        packet.duration = round(30 / packet.time_base) if packet.pts == last else packet.duration

    for ending in ("mp4", "mkv"):
        path = remux(source, tmp_path / f"screen.{ending}", hold)
        assert inspect_video(path).duration_s == pytest.approx(39 / FPS + 30, abs=0.1)
        copy = copy_of(path)
        assert inspect_video(copy).duration_s == pytest.approx(39 / FPS + 30, abs=0.1)
        assert number_of(read_frames(copy, times_s=[25.0])[0]) == 39


def test_the_timing_is_analysed_once_per_process_and_file(tmp_path, make_kind, monkeypatch):
    path, calls = make_kind("avi", "libx264", H264_B), []
    monkeypatch.setattr(
        "worldmodel.video.container.timing.analyse_timing", lambda *args: calls.append(args) or analyse_timing(*args)
    )
    for _ in range(3):
        assert timing_of(path) == "order"
    assert len(calls) == 1


def test_decord_refuses_files_whose_packets_do_not_tell_when_frames_are_shown(make_kind):
    with pytest.raises(VideoError, match="do not state when its frames are shown"):
        read_frames(make_kind("avi", "libx264", H264_B), indices=[3], backend="decord")
