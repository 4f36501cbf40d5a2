"""Baselines that test a suite for leaks, and pair scores, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eval.voe.leak_baselines import (
    WHOLE_VIDEO,
    FrameClassifier,
    each_frame_alone,
    l1_context_copy,
    l1_context_extrapolation,
    l1_linear_extrapolation,
    l1_motion,
    last_velocity_kept,
    prefix_only,
    suffix_only,
)
from eval.voe.pairs import pair_scores, quadruplet_scores


def video(*values: int) -> np.ndarray:
    """A video of even frames of 2 x 2 pixels: 12 numbers a frame."""
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


def test_l1_motion_by_hand():
    assert l1_motion(video(0, 3, 1), 1) == 12 * (3 + 2)
    assert l1_motion(video(0, 3, 1), 2) == 12 * 1
    assert l1_motion(video(0, 3, 1), 5) == 0


def test_linear_extrapolation_of_constant_change_has_no_error():
    assert l1_linear_extrapolation(video(0, 2, 4, 6), 1) == 0
    assert l1_linear_extrapolation(video(0, 2, 4, 4), 1) == 12 * 2


def test_errors_of_copying_and_extrapolating_a_context_by_hand():
    assert l1_context_copy(video(9, 5, 5, 7), 2) == 12 * 2
    assert l1_context_extrapolation(video(1, 5, 9, 10), 2) == 12 * (0 + 3)


def test_prefix_and_suffix_add_up_to_all_frames():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    assert prefix_only(frames, 2) + suffix_only(frames, 2) == each_frame_alone(frames) > 0


def one_body(x_m: list[float], yaw_rad: list[float] | None = None, visible: list[int] | None = None) -> dict[str, np.ndarray]:
    """The ground truth of a video of one body, beside a wall that is not looked at."""
    half = np.array(yaw_rad or [0.0] * len(x_m)) / 2
    position, quaternion = np.zeros((len(x_m), 2, 3)), np.zeros((len(x_m), 2, 4))
    position[:, 1, 0], quaternion[:, 1, 0], quaternion[:, 1, 3] = x_m, np.cos(half), np.sin(half)
    shown = np.array(visible or [9] * len(x_m))
    truth = {"fixed": np.array([True, False]), "position_m": position, "quaternion": quaternion}
    return {**truth, "visible_px": np.stack([shown, shown], 1)}


def test_distance_from_the_kept_velocity_by_hand():
    truth = one_body([0.0, 3.0, 1.0, 2.0, 9.0, 9.0, 2.5, 4.0])  # frames 4 and 5 are hidden; 1 m a frame, up to 3 m
    assert last_velocity_kept(truth, (4, 6)) == 0.5 + 1.0
    assert last_velocity_kept(truth, (4, 6), 1) == 0.5


def test_a_kept_velocity_ends_where_the_body_was_seen():
    truth = one_body([0.0, 3.0, 1.0, 2.0, 9.0, 9.0, 2.5], visible=[9, 0, 9, 9, 0, 0, 9])  # it was not seen at 3 m
    assert last_velocity_kept(truth, (4, 6)) == 0.5


def test_the_kept_turn_of_a_body_that_stands_still_by_hand():
    truth = one_body([1.0] * 6, yaw_rad=[0.0, 0.4, 0.1, 0.2, 5.0, 0.3])  # frame 4 is hidden; 0.1 rad a frame
    assert last_velocity_kept(truth, (4, 5)) == 0.1  # it would be at 0.4 rad


def test_pairs_by_hand():
    surprise = np.array([[1.0, 2.0, 3.0, 2.0]])  # (a,u) (b,v) (a,v) (b,u)
    scores = pair_scores(surprise)
    assert scores["same context"].tolist() == [[1.0, 0.5]]  # 3 > 1; 2 = 2
    assert scores["same outcome"].tolist() == [[1.0, 1.0]]  # (b,u) 2 > (a,u) 1; (a,v) 3 > (b,v) 2
    assert quadruplet_scores(surprise).tolist() == [0.875]


def test_identical_videos_score_chance():
    assert quadruplet_scores(np.ones((3, 4))).tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", WHOLE_VIDEO)
def test_equal_videos_have_equal_scores(name):
    frames = np.random.default_rng(1).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    assert WHOLE_VIDEO[name](frames) == WHOLE_VIDEO[name](frames.copy()) > 0


def test_a_frame_classifier_finds_a_leak():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(400, 6))
    impossible = rng.random(400) < 0.5
    features[:, 3] += impossible  # the leak
    model = FrameClassifier.fit(features, impossible)
    leaking = np.zeros((5, 6))
    leaking[:, 3] = 1.0
    assert model.surprise(leaking) > model.surprise(np.zeros((5, 6)))


def test_a_frame_classifier_sums_equal_frames_to_equal_scores_in_any_order():
    rng = np.random.default_rng(3)
    model = FrameClassifier.fit(rng.normal(size=(50, 6)), rng.random(50) < 0.5)
    features = rng.normal(size=(24, 6))
    assert model.surprise(features) == model.surprise(features[::-1])
