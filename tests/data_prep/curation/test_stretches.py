"""Videos are divided at cuts, and black, frozen and short stretches are told apart."""

import numpy as np

from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.stretches import divide

RECIPE = CurationRecipe(fps=10, min_stretch_s=1.0)


def decisions(change, std=None, score=None) -> list[tuple[int, int, int, str]]:
    change = np.array(change, float)
    std = np.full(len(change), 50.0) if std is None else np.array(std, float)
    score = change if score is None else np.array(score, float)
    found = divide(change, score, std, np.full(len(change), 90.0), RECIPE)
    return [(stretch.shot, stretch.start, stretch.stop, stretch.decision) for stretch in found]


def test_a_cut_divides_a_video_into_two_shots():
    assert decisions([0, *[2] * 11, 40, *[2] * 14]) == [(0, 0, 12, "used"), (1, 12, 27, "used")]


def test_a_short_shot_is_told_apart():
    assert decisions([0, *[2] * 4, 40, *[2] * 14]) == [(0, 0, 5, "short"), (1, 5, 20, "used")]


def test_frozen_frames_of_half_a_second_are_a_stretch_of_their_own():
    change = [0, *[2] * 11, *[0.0] * 6, *[2] * 12]
    assert decisions(change) == [(0, 0, 12, "used"), (0, 12, 18, "frozen"), (0, 18, 30, "used")]


def test_fewer_frozen_frames_are_not():
    assert decisions([0, *[2] * 11, *[0.0] * 4, *[2] * 12]) == [(0, 0, 28, "used")]


def test_black_frames_are_not_called_frozen():
    change, std = [0, *[2] * 11, *[0.0] * 6, *[2] * 12], [*[50] * 12, *[1] * 6, *[50] * 12]
    assert decisions(change, std)[1] == (0, 12, 18, "black")


def test_motion_is_the_mean_change_without_the_step_into_the_stretch():
    found = divide(*[np.array([0.0, *[2] * 11, 40, *[4] * 14])] * 2, np.full(27, 50.0), np.full(27, 90.0), RECIPE)
    assert [stretch.motion for stretch in found] == [2, 4]
