"""read_frames returns exactly the requested frames."""

import gc
import io
import os
import pickle
import sys
import tarfile

import av
import numpy as np
import psutil
import pytest
from av.stream import Disposition
from PIL import Image

from worldmodel.video import VideoError, inspect_video, read_frames, write_video

HAS_ROTATION = hasattr(av.video.stream.VideoStream, "set_display_rotation")
VARIABLE = [0, 1, 2, 10, 11, 12, 30, 31, 60, 61]  # ticks of 1/10 s


def decoded(path):
    """All frames, decoded one after another by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture
def long_gop(tmp_path, numbered, make_video):
    """120 frames, one keyframe, B frames that refer to B frames."""
    return make_video(tmp_path / "long.mp4", numbered(120), g=250, bf=3, crf=20)


def test_frames_found_by_seeking_equal_frames_decoded_in_sequence(long_gop):
    truth = decoded(long_gop)
    for index in range(0, 120, 7):
        np.testing.assert_array_equal(read_frames(long_gop, indices=[index])[0], truth[index])
        np.testing.assert_array_equal(read_frames(long_gop, times_s=[index / 10])[0], truth[index])


def test_frames_are_returned_in_the_requested_order_with_repeats(long_gop):
    order = [90, 3, 3, 119, 0, 57]
    np.testing.assert_array_equal(read_frames(long_gop, indices=order), decoded(long_gop)[order])


def test_open_gops_are_read_correctly_around_their_keyframes(tmp_path, numbered, make_video):
    options = {"g": 8, "bf": 3, "x264-params": "open-gop=1:scenecut=0"}
    path = make_video(tmp_path / "open.mp4", numbered(60), **options)
    truth = decoded(path)
    for index in range(60):
        np.testing.assert_array_equal(read_frames(path, indices=[index])[0], truth[index])


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.ts", "libx264"), ("a.avi", "mpeg4")])
def test_containers_with_other_clocks_and_seeks_are_exact_too(tmp_path, numbered, make_video, name, codec):
    path = make_video(tmp_path / name, numbered(60), fps=30, codec=codec, g=12, bf=2)
    truth = decoded(path)
    assert inspect_video(path).frames == len(truth) == 60
    for order in ([0], [59], [13, 12, 11], range(60)):
        np.testing.assert_array_equal(read_frames(path, indices=order), truth[list(order)])
        np.testing.assert_array_equal(read_frames(path, times_s=np.asarray(order) / 30), truth[list(order)])


def test_hidden_frames_of_vp8_are_not_counted(tmp_path, numbered, make_video):
    options = {"auto-alt-ref": 1, "lag-in-frames": 16, "b": "200k"}
    path = make_video(tmp_path / "a.webm", numbered(60), codec="libvpx", **options)
    truth = decoded(path)
    assert inspect_video(path).frames == len(truth)
    np.testing.assert_array_equal(read_frames(path, indices=[0, 40, 59]), truth[[0, 40, 59]])


def test_on_a_variable_frame_rate_the_frame_shown_at_a_time_is_the_last_presented(tmp_path, numbered, number_of, make_video):
    path = make_video(tmp_path / "vfr.mp4", numbered(10), ticks=VARIABLE, clock_hz=10, bf=2)
    for time_s, frame in [(0, 0), (0.25, 2), (0.95, 2), (1.0, 3), (2.9, 5), (3.0, 6), (5.9, 7), (6.0, 8), (6.1, 9)]:
        assert number_of(read_frames(path, times_s=[time_s])[0]) == frame, time_s
    assert [number_of(frame) for frame in read_frames(path, indices=range(10))] == list(range(10))


def test_half_a_tick_is_granted_since_files_round_their_times(tmp_path, numbered, number_of, make_video):
    path = make_video(tmp_path / "a.mkv", numbered(30), fps=30)  # matroska counts milliseconds: frame 1 lies at 33
    assert [number_of(frame) for frame in read_frames(path, times_s=np.arange(30) / 30)] == list(range(30))


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_frame_past_the_end_is_an_error_with_advice(tmp_path, numbered, make_video, backend):
    if backend == "decord":
        pytest.importorskip("decord")
    path = make_video(tmp_path / "a.mp4", numbered(12))
    with pytest.raises(VideoError, match=r"asked for frame 12, the video has 12 frames; .*data_prep index") as error:
        read_frames(path, indices=[3, 12], backend=backend)
    assert error.value.reason == "past the end"
    with pytest.raises(VideoError, match=r"asked for 1\.200 s, the video ends at 1\.200 s"):
        read_frames(path, times_s=[1.2], backend=backend)
    assert len(read_frames(path, times_s=[1.19], backend=backend)) == 1
    with pytest.raises(VideoError, match="from 0"):
        read_frames(path, times_s=[-0.1], backend=backend)
    with pytest.raises(VideoError, match="start at 0"):
        read_frames(path, indices=[-1], backend=backend)


def test_inconsistent_arguments_are_refused(tmp_path):
    for arguments in ({}, {"indices": [0], "times_s": [0]}, {"indices": []}, {"indices": [0], "backend": "opencv"}):
        with pytest.raises(ValueError, match="read_frames"):
            read_frames(tmp_path / "a.mp4", **arguments)


@pytest.mark.skipif(not HAS_ROTATION, reason="this PyAV cannot write a rotation")
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_rotated_file_is_shown_upright(tmp_path, numbered, make_video, degrees):
    upright = numbered(8)
    stored = np.rot90(upright, -degrees // 90, axes=(1, 2))
    path = make_video(
        tmp_path / "a.mp4", stored, codec="libx264rgb", pix_fmt="rgb24", rotation=degrees, qp=0, preset="ultrafast"
    )
    np.testing.assert_array_equal(read_frames(path, indices=range(8)), upright)
    assert read_frames(path, indices=[0], size=(24, 30)).shape == (1, 24, 30, 3)
    info = inspect_video(path)
    assert (info.width, info.height, info.rotation) == (64, 48, -degrees % 360)


def test_the_best_of_two_streams_is_read_not_the_first(tmp_path, numbered, number_of):
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as out:
        videos = [numbered(10, 24, 32, first=100), numbered(10, 96, 128)]
        streams = [out.add_stream("libx264", rate=10) for _ in videos]
        for stream, frames in zip(streams, videos, strict=True):
            stream.pix_fmt, (stream.height, stream.width) = "yuv420p", frames.shape[1:3]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for pair in zip(*videos, strict=True):
            for stream, image in zip(streams, pair, strict=True):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
    assert (inspect_video(path).height, number_of(read_frames(path, indices=[5])[0])) == (96, 5)


def test_sizes_are_as_requested(tmp_path, numbered, number_of, make_video):
    path = make_video(tmp_path / "a.mp4", numbered(4, 48, 64))
    for size, shape in [(None, (48, 64)), (24, (24, 32)), ((30, 30), (30, 30)), (96, (96, 128)), ((48, 64), (48, 64))]:
        frames = read_frames(path, indices=[2], size=size)
        assert frames.shape == (1, *shape, 3)
        assert number_of(frames[0]) == 2
    with pytest.raises(ValueError, match="size"):
        read_frames(path, indices=[2], size=0)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("size", [None, 30])
def test_both_backends_give_the_same_frames(tmp_path, numbered, make_video, codec, size):
    pytest.importorskip("decord")
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = make_video(tmp_path / "a.mp4", numbered(60), codec=codec, g=9, bf=3, **options)
    for order in ([0], [41, 7, 7, 58], range(20, 60, 4)):
        ours = read_frames(path, indices=order, size=size)
        np.testing.assert_array_equal(ours, read_frames(path, indices=order, size=size, backend="decord"))
        times_s = np.asarray(order) / 10 + 0.05
        np.testing.assert_array_equal(ours, read_frames(path, times_s=times_s, size=size, backend="decord"))


def test_on_mpeg4_in_avi_the_backends_differ_by_two_grey_levels_at_most(tmp_path, numbered, make_video):
    pytest.importorskip("decord")
    path = make_video(tmp_path / "a.avi", numbered(40), codec="mpeg4", g=12)
    ours, theirs = (read_frames(path, indices=range(0, 40, 3), backend=name) for name in ("pyav", "decord"))
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_both_backends_agree_on_a_variable_frame_rate(tmp_path, numbered, make_video):
    pytest.importorskip("decord")
    path = make_video(tmp_path / "vfr.mp4", numbered(10), ticks=VARIABLE, clock_hz=10, bf=2)
    times_s = np.arange(0, 6.1, 0.31)
    ours, theirs = (read_frames(path, times_s=times_s, backend=name) for name in ("pyav", "decord"))
    np.testing.assert_array_equal(ours, theirs)


def test_decord_reports_files_that_it_cannot_open(tmp_path, numbered, make_video):
    pytest.importorskip("decord")
    path = make_video(tmp_path / "a.mkv", numbered(8, 64, 64), codec="libsvtav1", preset=12)
    assert len(read_frames(path, indices=range(8))) == 8
    with pytest.raises(VideoError, match="AV1") as error:
        read_frames(path, indices=[0], backend="decord")
    assert error.value.reason == "decord cannot read"


def test_a_missing_decord_is_reported(tmp_path, numbered, make_video, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    path = make_video(tmp_path / "a.mp4", numbered(3))
    with pytest.raises(VideoError, match=r'not installed.*backend="pyav"'):
        read_frames(path, indices=[0], backend="decord")


def test_a_folder_of_frames_is_a_video_in_natural_order(tmp_path, numbered):
    frames = numbered(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame {number}.png")  # "frame 10" sorts before "frame 2" as text
    (tmp_path / "notes.txt").write_text("not a frame")
    np.testing.assert_array_equal(read_frames(tmp_path, indices=range(12)), frames)
    np.testing.assert_array_equal(read_frames(tmp_path, times_s=[0.5, 0.39], folder_fps=20), frames[[10, 7]])
    assert (inspect_video(tmp_path).frames, inspect_video(tmp_path, folder_fps=20).duration_s) == (12, 0.6)
    with pytest.raises(VideoError, match="asked for frame 12"):
        read_frames(tmp_path, times_s=[1.2])


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_tar_member_is_read_in_place(tmp_path, numbered, make_video, backend):
    if backend == "decord":
        pytest.importorskip("decord")
    names = ["../../etc/a.mp4", "/b.mp4", "plain.mp4"]  # names are keys, never paths
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for first, name in enumerate(names):
            data = make_video(tmp_path / "one.mp4", numbered(10, first=10 * first)).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    before = sorted(os.listdir(tmp_path))
    whole = read_frames(tmp_path / "one.mp4", indices=[2, 9])
    np.testing.assert_array_equal(read_frames(tmp_path / "shard.tar", indices=[2, 9], member="plain.mp4"), whole)
    assert inspect_video(tmp_path / "shard.tar", names[0]).frames == 10
    with pytest.raises(VideoError, match=r"shard\.tar::gone\.mp4: the tar has no regular file"):
        read_frames(tmp_path / "shard.tar", indices=[0], member="gone.mp4", backend=backend)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_rewritten_tar_is_read_anew(tmp_path, numbered, number_of, make_video):
    for first in (0, 50):
        path = make_video(tmp_path / "a.mp4", numbered(5 + first, first=first))
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            tar.add(path, "a.mp4")
        assert number_of(read_frames(tmp_path / "s.tar", indices=[0], member="a.mp4")[0]) == first


def test_errors_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "truncated", "half of it is there")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "truncated", "a.mp4: half of it is there")


def test_a_file_that_is_damaged_midway_fails_only_there(tmp_path, numbered, make_video):
    path = make_video(tmp_path / "a.mp4", numbered(60, 96, 128), g=10, bf=0)
    whole, data = read_frames(path, indices=range(60)), bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    np.testing.assert_array_equal(read_frames(path, times_s=[0.3]), whole[[3]])
    with pytest.raises(VideoError) as error:
        read_frames(path, times_s=np.arange(60) / 10)
    assert error.value.reason == "corrupt"


@pytest.mark.parametrize("member", [None, "a.mp4"])
def test_reading_leaves_nothing_open_and_memory_flat(tmp_path, numbered, make_video, member):
    path = make_video(tmp_path / "a.mp4", numbered(20), g=10)
    if member:
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            tar.add(path, member)
        path = tmp_path / "s.tar"
    process = psutil.Process()
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)

    def read(times):
        for _ in range(times):
            read_frames(path, indices=[3, 15], member=member)
            with pytest.raises(VideoError):
                read_frames(path, indices=[99], member=member)
            with pytest.raises(VideoError):
                read_frames(bad, indices=[0])
        gc.collect()

    read(100)
    open_files, memory = process.num_fds() if hasattr(process, "num_fds") else 0, process.memory_info().rss
    read(400)
    assert (process.num_fds() if hasattr(process, "num_fds") else 0) == open_files
    assert process.memory_info().rss - memory < 8 << 20


def test_a_child_forked_after_reading_can_read(tmp_path, numbered, make_video):
    """A reformatter that a forked process inherits hangs, so none may exist."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    import multiprocessing

    path = tmp_path / "a.mp4"
    write_video(path, numbered(10), 10)
    read_frames(path, indices=[3], size=24)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        frames = pool.apply_async(read_frames, (path,), {"indices": [3], "size": 24}).get(timeout=30)
    np.testing.assert_array_equal(frames, read_frames(path, indices=[3], size=24))
