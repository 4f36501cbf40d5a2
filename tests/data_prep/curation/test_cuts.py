"""Cuts are found at the frame where another shot begins, and not in motion, light or noise."""

import numpy as np

from data_prep.curation.cuts import CutConfig, find_cuts, measure_changes
from tests.support.made_scenes import scene


def cuts_of(frames: np.ndarray) -> list[int]:
    return find_cuts(measure_changes(frames).score, CutConfig())


def test_a_cut_is_the_first_frame_of_the_next_shot():
    shots = [scene(9, seed=1), scene(7, seed=2), scene(8, seed=3)]
    assert cuts_of(np.concatenate(shots)) == [9, 16]


def test_motion_is_no_cut():
    assert cuts_of(scene(40, seed=4)) == []


def test_a_moving_camera_is_no_cut():
    wide = scene(1, seed=5, size_px=128)[0]
    assert cuts_of(np.stack([wide[:32, 3 * step : 3 * step + 32] for step in range(30)])) == []


def test_slowly_fading_light_is_no_cut():
    light = np.linspace(0.2, 1.0, 20)[:, None, None, None]
    assert cuts_of((scene(20, seed=6) * light).astype(np.uint8)) == []


def test_a_video_of_one_frame_has_no_cut():
    assert cuts_of(scene(1)) == []
