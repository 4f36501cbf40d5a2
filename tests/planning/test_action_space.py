"""Bounds, blocks and scales of actions, and the distance to a goal."""

from dataclasses import replace

import pytest
import torch

from worldmodel.planning import ActionSpace, PlanningError, goal_distance


def test_every_action_of_a_block_is_clipped():
    space = ActionSpace.box([-1, 0], [1, 4], block=2)
    assert space.size == 4
    assert space.clip(torch.tensor([-3.0, 5.0, 0.5, -1.0])).tolist() == [-1, 4, 0.5, 0]
    assert space.step_scale.tolist() == [1, 2, 1, 2]
    assert space.centre().tolist() == [0, 2, 0, 2]
    assert space.sequence(torch.arange(8.0).view(1, 2, 4)).tolist() == [[[0, 1], [2, 3], [4, 5], [6, 7]]]


def test_repeated_actions_of_a_block_are_their_mean_which_is_then_bounded():
    space = ActionSpace.box([-1, 0], [1, 4], block=2)
    steps = torch.tensor([-3.0, 5.0, 2.0, -1.0])
    assert replace(space, repeated=True).clip(steps).tolist() == [-0.5, 2, -0.5, 2]
    shortened = replace(ActionSpace.ball(2, max_norm=2.5, block=2), repeated=True).clip(torch.tensor([0.0, 5.0, 6.0, 3.0]))
    torch.testing.assert_close(shortened, torch.tensor([1.5, 2.0, 1.5, 2.0]))  # the mean, (3, 4), is 5 long


def test_long_actions_are_shortened_to_the_norm():
    space = ActionSpace.ball(2, max_norm=2.5, block=2)
    torch.testing.assert_close(space.clip(torch.tensor([3.0, 4.0, 0.0, 1.0])), torch.tensor([1.5, 2.0, 0.0, 1.0]))
    assert space.centre().tolist() == [0, 0, 0, 0]


def test_without_bounds_the_centre_is_the_step_nearest_to_0():
    space = ActionSpace(torch.tensor([2.0, -torch.inf]), torch.tensor([torch.inf, torch.inf]), torch.ones(2))
    assert space.centre().tolist() == [2, 0]


def test_impossible_spaces_are_refused():
    with pytest.raises(PlanningError, match="not below high"):
        ActionSpace.box([1.0], [0.0])
    with pytest.raises(PlanningError, match=r"scale \[0.0\]: expected finite numbers above 0"):
        ActionSpace.box([1.0], [1.0])
    with pytest.raises(PlanningError, match="expected \\[A\\] for all three"):
        ActionSpace(torch.zeros(2), torch.ones(2), torch.ones(1))


def test_distances_to_the_goal_by_hand():
    predicted = torch.tensor([[[[0.0, 0.0], [3.0, 1.0]]]])  # one sequence of two steps
    goal = torch.tensor([[1.0, 1.0]])
    assert goal_distance(predicted, goal).tolist() == [[2.0]]  # (4 + 0) / 2
    assert goal_distance(predicted, goal, steps="all").tolist() == [[3.0]]  # (1 + 1) / 2 + 2
    assert goal_distance(predicted, goal, norm="l1").tolist() == [[1.0]]
    with pytest.raises(PlanningError, match=r"do not fit; expected \[B, S, H, ...\]"):
        goal_distance(predicted, torch.zeros(2, 2))
