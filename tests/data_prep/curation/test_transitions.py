"""Dissolves and fades are found with the frames that they blend; motion, light and hard cuts are none."""

import numpy as np
import pytest

from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.stretches import divide
from data_prep.curation.transitions import TransitionConfig, brightness_cells, find_transitions
from tests.support.made_scenes import scene

FPS, SIZE = 12, 64
BLACK = np.zeros((12, SIZE, SIZE, 3), np.uint8)


def found(frames: np.ndarray) -> list[tuple[int, int]]:
    return find_transitions(brightness_cells(frames), TransitionConfig(), FPS, plain_std=4.0)


def shot(frames: int, seed: int) -> np.ndarray:
    """A picture of 8 x 8 random blocks, before which a small square moves by a pixel per frame: uint8 [T, SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(40, 216, (8, 8, 3)), np.ones((SIZE // 8, SIZE // 8, 1))).astype(np.uint8)
    pictures = np.repeat(picture[None], frames, axis=0)
    for time, moving in enumerate(pictures):
        left = time % (SIZE - 8)
        moving[20:28, left : left + 8] = 255
    return pictures


def joined(before: np.ndarray, after: np.ndarray, blend: int) -> np.ndarray:
    """Two shots, of which the last and the first `blend` frames are blended: frame i has the share (i + 1) / (blend + 1)."""
    share = ((np.arange(blend) + 1) / (blend + 1))[:, None, None, None]
    mixed = before[len(before) - blend :] * (1 - share) + after[:blend] * share
    return np.concatenate([before[: len(before) - blend], mixed.round().astype(np.uint8), after[blend:]])


@pytest.mark.parametrize("blend", [5, 8, 12, 18, 24])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_dissolve_is_found_with_its_frames(blend, seed):
    frames = joined(shot(40, 2 * seed), shot(45, 2 * seed + 1), blend)
    ((start, stop),) = found(frames)
    assert 40 - blend - 4 <= start <= 40 - blend + 1  # hardly a blended frame is left, and few others are taken
    assert 40 - 1 <= stop <= 40 + 5


def test_a_fade_through_black_is_two_transitions():
    frames = np.concatenate([joined(shot(40, 1), BLACK, 10), joined(BLACK, shot(40, 2), 10)])
    (out, into) = found(frames)
    assert abs(out[0] - 30) <= 2
    assert abs(into[1] - (len(frames) - 30)) <= 2
    assert out[1] <= 42 <= into[0]  # the black frames lie between


@pytest.mark.parametrize("seed", range(4))
def test_motion_and_hard_cuts_are_no_transitions(seed):
    assert found(scene(60, seed, SIZE)) == []
    assert found(np.concatenate([scene(30, seed, SIZE), scene(30, seed + 7, SIZE)])) == []


def test_a_dissolve_between_moving_cameras_is_not_found():
    """A known failure: the pictures in between are no blends of the two at the ends."""
    wide = [scene(1, seed, size_px=256)[0] for seed in (5, 6)]
    pans = [np.stack([picture[:SIZE, 4 * step : 4 * step + SIZE] for step in range(40)]) for picture in wide]
    assert found(joined(*pans, 18)) == []


def test_a_moving_camera_is_no_transition():
    wide = scene(1, seed=5, size_px=256)[0]
    assert found(np.stack([wide[:SIZE, 3 * step : 3 * step + SIZE] for step in range(60)])) == []


def test_changing_light_is_no_transition():
    light = (0.6 + 0.4 * np.sin(np.arange(60) / 8))[:, None, None, None]
    assert found((scene(60, 3, SIZE) * light).astype(np.uint8)) == []


def test_a_video_that_is_shorter_than_a_window_has_none():
    assert found(scene(2, 0, SIZE)) == []


def test_a_transition_divides_shots_and_replaces_cuts_beside_it():
    quiet = np.array([0.0, *[2.0] * 59])
    score = quiet.copy()
    score[20] = 60.0  # a cut within the transition, such as the strongest frame of a short dissolve
    std = np.full(60, 50.0)
    stretches = divide(quiet, score, std, std, CurationRecipe(fps=FPS), [(18, 26)])
    assert [(stretch.shot, stretch.start, stretch.stop, stretch.decision) for stretch in stretches] == [
        (0, 0, 18, "used"),
        (0, 18, 26, "transition"),
        (1, 26, 60, "used"),
    ]


@pytest.mark.parametrize("max_s", [0, 0.1])
def test_transitions_shorter_than_three_frames_are_not_looked_for(max_s):
    pictures = brightness_cells(joined(shot(40, 0), shot(45, 1), 12))
    assert find_transitions(pictures, TransitionConfig(max_s=max_s), FPS, plain_std=4.0) == []
