"""Containers that are kept open: the same frames, no file left open beyond the limits, nothing shared with a child."""

import gc
import multiprocessing
import os
import sys
import threading

import numpy as np
import psutil
import pytest

from worldmodel.video import VideoError, read_frames
from worldmodel.video.container import reuse
from worldmodel.video.container.opening import open_video
from worldmodel.video.container.reuse import KEPT
from worldmodel.video.orientation import orientation_of


@pytest.fixture(autouse=True)
def nothing_is_kept():
    KEPT.close_all()
    yield
    KEPT.close_all()


@pytest.fixture
def clip(tmp_path, numbered, make_video):
    return make_video(tmp_path / "a.mp4", numbered(40), g=12, bf=3)


def opened_times(monkeypatch) -> list[object]:
    """A list that gets an entry whenever a container is opened for reading by seeks."""
    calls: list[object] = []
    monkeypatch.setattr(reuse, "open_video", lambda *args: calls.append(args) or open_video(*args))
    return calls


def test_a_file_is_opened_once_and_scanned_once(clip, monkeypatch, number_of):
    opened, scanned = opened_times(monkeypatch), []
    scan = reuse.scan_packets
    monkeypatch.setattr(reuse, "scan_packets", lambda *args, **kwargs: scanned.append(args) or scan(*args, **kwargs))
    for index in (30, 3, 17):
        assert number_of(read_frames(clip, indices=[index], timing="packets")[0]) == index
        assert number_of(read_frames(clip, times_s=[index / 10], timing="packets")[0]) == index
    assert (len(opened), len(scanned)) == (1, 1)
    assert number_of(read_frames(clip, indices=[35], timing="packets")[0]) == 35  # beyond the first scan
    assert (len(opened), len(scanned)) == (2, 2)


def test_a_file_that_was_replaced_is_opened_again(clip, numbered, number_of, make_video):
    assert number_of(read_frames(clip, indices=[3], timing="packets")[0]) == 3
    make_video(clip, numbered(45, first=50), g=12)
    assert number_of(read_frames(clip, indices=[3], timing="packets")[0]) == 53


def test_a_file_that_was_removed_is_missing(clip):
    read_frames(clip, indices=[3], timing="packets")
    clip.unlink()
    with pytest.raises(VideoError, match="no such file"):
        read_frames(clip, indices=[3], timing="packets")


def test_after_an_error_the_container_is_closed_and_the_next_read_is_right(clip, number_of):
    read_frames(clip, indices=[3], timing="packets")
    with pytest.raises(VideoError, match="asked for frame 99"):
        read_frames(clip, indices=[99], timing="packets")
    assert len(KEPT) == 0
    assert number_of(read_frames(clip, indices=[5], timing="packets")[0]) == 5


def test_no_more_files_stay_open_than_the_limit_allows(tmp_path, numbered, make_video, monkeypatch):
    monkeypatch.setattr(reuse, "MAX_OPEN", 3)
    paths = [make_video(tmp_path / f"{number}.mp4", numbered(4, first=number)) for number in range(6)]
    before = psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0
    for path in paths:
        read_frames(path, indices=[1], timing="packets")
    assert len(KEPT) == 3
    if before:
        assert psutil.Process().num_fds() - before == 3


def test_no_more_memory_is_kept_than_the_limit_allows(tmp_path, numbered, make_video, monkeypatch):
    paths = [make_video(tmp_path / f"{number}.mp4", numbered(4, first=number)) for number in range(4)]
    with reuse.reused_video(paths[0], None) as opened:
        monkeypatch.setattr(reuse, "MAX_BYTES", 2 * opened.bytes)
    for path in paths:
        read_frames(path, indices=[1], timing="packets")
    assert len(KEPT) == 2


def test_containers_whose_seeks_depend_on_what_was_read_before_are_not_kept(tmp_path, numbered, make_video):
    read_frames(make_video(tmp_path / "a.ts", numbered(20), g=5), indices=[7])
    assert len(KEPT) == 0


def read_many(path):
    return np.concatenate([read_frames(path, indices=[k, k + 2], size=24, timing="packets") for k in range(0, 38, 5)])


def test_a_forked_child_opens_its_own_containers(clip):
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    expected = read_many(clip)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        children = [pool.apply_async(read_many, (clip,)) for _ in range(4)]
        np.testing.assert_array_equal(read_many(clip), expected)  # a shared position in the file would be moved meanwhile
        for child in children:
            np.testing.assert_array_equal(child.get(timeout=60), expected)


def test_threads_that_read_one_file_do_not_share_a_container(clip):
    expected, found = read_many(clip), []
    threads = [threading.Thread(target=lambda: found.append(read_many(clip))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for frames in found:
        np.testing.assert_array_equal(frames, expected)


def test_looking_up_the_orientation_does_not_keep_a_frame_in_memory(clip):
    gc.disable()
    try:
        with open_video(clip) as video:
            frame = next(video.frames())
            before = sys.getrefcount(frame)
            orientation_of(frame, video.stream)
            assert sys.getrefcount(frame) == before
    finally:
        gc.enable()
