"""Stretches end where the next frame begins, also in videos whose frames do not come at a constant rate."""

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.curation.spans import Span, find_spans
from tests.support.made_scenes import scene
from worldmodel.data.window_config import WindowConfig
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames
from worldmodel.video.frame_times import FrameTimes

TICKS_PER_S = 3000
FRACTIONS = np.linspace(0, 0.9999, 9)
FAST, SLOW = scene(58, 1, 64), scene(14, 2, 64)
# (seconds a frame, frames) of each shot. The cut lies between two times that are examined (12 a second)
RATES = {
    "slower": [(1 / 30, FAST), (1 / 2, SLOW)],
    "faster": [(1 / 2, SLOW[:5]), (1 / 30, FAST)],
    "constant": [(1 / 30, FAST), (1 / 30, FAST[:, ::-1])],
}


def write_shots(path, shots) -> list[np.ndarray]:
    """Write shots one after another. Returns the times at which the frames of each one begin, in seconds."""
    tick, begins = 0, []
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"bf": "0", "crf": "12"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        for frame_s, pictures in shots:
            begins.append(tick / TICKS_PER_S + frame_s * np.arange(len(pictures)))
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = tick, Fraction(1, TICKS_PER_S)
                tick += round(frame_s * TICKS_PER_S)
                output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return begins


def curate(folder: Path, shots) -> float:
    """Index and curate a video of two shots; c.parquet holds the table. Returns when the second shot begins."""
    (folder / "v").mkdir()
    begins = write_shots(folder / "v" / "a.mp4", shots)
    assert main(["index", str(folder / "v"), "--out", str(folder / "m.parquet"), "--workers", "1"]) == 0
    command = ["curate", str(folder / "m.parquet"), "min_stretch_s=0.4", "stills.min_s=60", "--workers", "1"]
    assert main([*command, "--out", str(folder / "c.parquet")]) == 0
    return float(begins[1][0])


def shots_in_windows(manifest: Manifest, config: WindowConfig, shots) -> list[set[int]]:
    """Of each of many windows of train and val, the shots that its frames are from."""
    pictures, found = [shot.astype(int) for _, shot in shots], []
    for split in ("train", "val"):
        source = WindowSource(manifest, split, config)
        chosen = {window for row in range(len(source)) for window in source.windows_at(np.full(9, row), FRACTIONS)}
        for window in chosen:
            frames = read_frames(window.path, times_s=window.times_s, indices=window.indices, timing=window.timing)
            distances = [[np.abs(shot - frame).mean((1, 2, 3)).min() for shot in pictures] for frame in frames.astype(int)]
            found.append(set(np.argmin(distances, 1).tolist()))
    return found


WINDOWS = {"time": WindowConfig(frames=3, fps=12, size_px=64), "number": WindowConfig(frames=2, stride_frames=2, size_px=64)}


@pytest.mark.parametrize("counted_by", list(WINDOWS))
@pytest.mark.parametrize("name", list(RATES))
def test_no_window_holds_frames_of_two_shots(tmp_path, name: str, counted_by: str):
    cut_s = curate(tmp_path, RATES[name])
    manifest = Manifest.open(tmp_path / "c.parquet")
    rows = [manifest.clip(row) for row in range(len(manifest))]
    assert all(row.stop_s <= cut_s + 1e-9 or row.start_s >= cut_s - 1e-9 for row in rows)
    found = shots_in_windows(manifest, WINDOWS[counted_by], RATES[name])
    assert all(len(shots) == 1 for shots in found)
    assert set.union(*found) == {0, 1}


@pytest.mark.parametrize("counted_by", list(WINDOWS))
def test_no_window_of_copies_at_a_lower_rate_holds_frames_of_two_shots(tmp_path, counted_by: str):
    """What such a copy shows when a stretch begins, began before it."""
    shots = RATES["constant"]
    cut_s = curate(tmp_path, shots)
    assert main(["transcode", str(tmp_path / "c.parquet"), "--out", str(tmp_path / "s"), "--fps", "8", "--workers", "1"]) == 0
    manifest = Manifest.open(tmp_path / "s" / "manifest.parquet")
    assert cut_s * 8 % 1 > 0.1  # no frame of the copy begins with the shot
    assert [manifest.clip(row).first_frame for row in range(2)] == [0, math.ceil(cut_s * 8)]
    config = WINDOWS[counted_by].model_copy(update={"fps": 8.0})
    assert all(len(found) == 1 for found in shots_in_windows(manifest, config, shots))


def test_a_long_frame_is_in_one_split_only(tmp_path):
    """It is shown at four fifths of the time, 2.9 s: from 1.3 to 3.3 s."""
    (tmp_path / "v").mkdir()
    write_shots(tmp_path / "v" / "a.mp4", [(1 / 30, FAST[:39]), (2.0, SLOW[:1]), (1 / 30, FAST[39:49])])
    assert main(["index", str(tmp_path / "v"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    manifest = Manifest.open(tmp_path / "m.parquet")
    train, val = (manifest.clip(row) for row in range(2))
    assert (train.split, train.first_frame, train.frames) == ("train", 0, 40)
    assert (val.split, val.first_frame, val.frames) == ("val", 40, 10)
    assert train.stop_s == val.start_s == pytest.approx(39 / 30 + 2.0)


def test_held_out_frames_that_are_shown_for_an_instant_stay_out_of_the_copy_for_training(tmp_path):
    """Together they are shorter than half a frame at the average rate."""
    (tmp_path / "v").mkdir()
    write_shots(tmp_path / "v" / "a.mp4", [(0.5, SLOW[:12]), (0.01, FAST[:3])])
    assert main(["index", str(tmp_path / "v"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    assert main(["transcode", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "s"), "--workers", "1"]) == 0
    manifest = Manifest.open(tmp_path / "s" / "manifest.parquet")
    found = [(clip.split, clip.first_frame, clip.frames) for clip in map(manifest.clip, range(2))]
    assert found == [("train", 0, 12), ("val", 12, 3)]


def test_a_row_counts_the_frames_that_it_holds(tmp_path):
    (tmp_path / "v").mkdir()
    write_shots(tmp_path / "v" / "a.mp4", RATES["slower"])
    assert main(["index", str(tmp_path / "v"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    command = ["curate", str(tmp_path / "m.parquet"), "stills.min_s=60", "--workers", "1"]
    assert main([*command, "--out", str(tmp_path / "c.parquet")]) == 0
    first = Manifest.open(tmp_path / "c.parquet").clip(0)
    assert (first.frames, first.start_s, first.stop_s) == (58, 0.0, pytest.approx(58 / 30))


def times(ticks: list[int]) -> FrameTimes:
    """Frames at ticks of a tenth of a second."""
    return FrameTimes(np.array(ticks), 10.0, 2.0, 10 * len(ticks) / (ticks[-1] + 2))


def test_a_span_begins_with_its_first_frame_and_stops_where_the_next_one_begins():
    examined = np.arange(8) / 4  # 0, 0.25, ... 1.75 s
    # seen:     frame 0 0 1 1 | 2 2 3 3; frame 2 begins at 0.9 s, between two times
    found = find_spans(times([0, 4, 9, 14]), examined, [(0, 4), (4, 8)], 0.0, 1.6)
    assert found == [Span(0.0, 0.9, 0, 2), Span(0.9, 1.6, 2, 2)]


def test_a_frame_between_two_examined_times_is_in_no_span():
    found = find_spans(times([0, 4, 8, 9, 14]), np.arange(8) / 4, [(0, 4), (4, 8)], 0.0, 1.6)
    assert found == [Span(0.0, 0.8, 0, 2), Span(0.9, 1.6, 3, 2)]  # the frame from 0.8 to 0.9 s was not seen


def test_a_frame_seen_in_two_stretches_is_of_the_first():
    found = find_spans(times([0, 9, 14]), np.arange(8) / 4, [(0, 3), (3, 8)], 0.0, 1.6)
    assert found == [Span(0.0, 0.9, 0, 1), Span(0.9, 1.6, 1, 2)]
    found = find_spans(times([0, 9, 14]), np.arange(8) / 4, [(0, 2), (2, 3), (3, 8)], 0.0, 1.6)
    assert found[1].frames == 0
    assert found[1].stop_s <= found[1].begin_s


def test_times_that_a_container_rounds_to_milliseconds_are_multiples_of_a_frame():
    ticks = np.array([0, 33, 67, 100, 133, 167])
    assert np.array_equal(FrameTimes(ticks, 1000.0, 100 / 3, 30.0).starts_s(), np.arange(6) / 30)
    late = np.array([0, 35, 67, 100, 133, 167])  # frame 1 is not shown yet at 1/30 s
    assert FrameTimes(late, 1000.0, 100 / 3, 30.0).starts_s()[1] == 0.035


@pytest.mark.parametrize("trailing", [0, 1])
def test_a_frame_of_another_shot_after_the_last_examined_time_is_in_no_row(tmp_path, trailing: int):
    (tmp_path / "v").mkdir()
    shots = [(1 / 30, FAST[:51]), (1 / 30, SLOW[:trailing])][: 1 + bool(trailing)]
    write_shots(tmp_path / "v" / "a.mp4", shots)  # frame 50 is shown at 20 / 12 s, the last time of the grid
    assert main(["index", str(tmp_path / "v"), "--out", str(tmp_path / "m.parquet"), "--workers", "1"]) == 0
    assert main(["curate", str(tmp_path / "m.parquet"), "--out", str(tmp_path / "c.parquet"), "--workers", "1"]) == 0
    manifest = Manifest.open(tmp_path / "c.parquet")
    assert manifest.clip(len(manifest) - 1).stop_s == pytest.approx(51 / 30)
    assert sum(manifest.clip(row).frames for row in range(len(manifest))) == 51
