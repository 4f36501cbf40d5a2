"""Cuts are found at the frame where another shot begins, and not in motion, light or noise."""

import numpy as np

from data_prep.curation.cuts import CutConfig, StaticCutConfig, find_cuts, find_static_cuts, measure_changes
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


def static_cuts_of(change: list[float]) -> list[int]:
    return find_static_cuts(np.array([0.0, *change]), StaticCutConfig())


def test_a_jump_before_a_static_camera_is_a_cut_although_most_of_the_picture_stays():
    frames = scene(40, seed=7, size_px=64)
    frames = np.concatenate([np.repeat(frames[:1], 12, axis=0), np.repeat(frames[20:21], 12, axis=0)])
    assert find_static_cuts(measure_changes(frames).change, StaticCutConfig()) == [12]


def test_a_change_that_is_much_larger_than_the_largest_around_it_is_a_cut():
    assert static_cuts_of([0.8, 1.1, 0.9, 3.0, 1.0, 1.1]) == [4]
    assert static_cuts_of([0.8, 1.1, 0.9, 2.7, 1.0, 1.1]) == []  # 2.7 < 2.5 * 1.1
    assert static_cuts_of([0.1, 0.1, 0.1, 1.9, 0.1, 0.1]) == []  # too small


def test_sudden_motion_a_flash_and_few_pictures_a_second_are_no_cuts():
    assert static_cuts_of([0.1] * 9 + [5.0, 4.0, 5.0, 4.5, 4.0] + [0.1] * 9) == []
    assert static_cuts_of([0.1] * 9 + [30.0, 30.0] + [0.1] * 9) == []
    assert static_cuts_of([4.0, *[0.0] * 5] * 6) == []  # two pictures a second, examined at 12
