"""GoalHead: what it learns, when training ends, and on which latents it works."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worldmodel.planning import GoalHead, GoalHeadConfig, PlanningError, Trajectories, fit_goal_head
from worldmodel.planning import goal_head_fitting as fitting
from worldmodel.planning.goal_head import MAX_FEATURES, features_of

QUICK = GoalHeadConfig(width=32, batch_size=64, check_every=10, told_steps=False)


def of_equal_length(episodes: int, features: Tensor, actions: Tensor) -> Trajectories:
    return Trajectories(features, actions, np.full(episodes, len(features) // episodes), np.arange(episodes))


def noise(episodes: int = 10, length: int = 6) -> Trajectories:
    """Actions that nothing tells: they can be learned by heart, and not be predicted."""
    generator = torch.Generator().manual_seed(0)
    rows = episodes * length
    return of_equal_length(episodes, torch.randn(rows, 8, generator=generator), torch.randn(rows, 2, generator=generator))


def straight_ways(episodes: int = 40, length: int = 6) -> Trajectories:
    """The action is the way to the goal divided by the steps to it."""
    generator = torch.Generator().manual_seed(0)
    velocity = torch.randn(episodes, 1, 2, generator=generator)
    places = torch.randn(episodes, 1, 2, generator=generator) + velocity * torch.arange(length)[:, None]
    return of_equal_length(episodes, places.flatten(0, 1), velocity.expand(-1, length, -1).flatten(0, 1))


def test_training_ends_when_the_error_on_held_out_episodes_does_not_fall():
    steps = []
    found = fit_goal_head(noise(), QUICK, on_step=lambda: steps.append(1))
    assert len(steps) == found.steps + QUICK.patience * QUICK.check_every < QUICK.max_steps
    assert (found.episodes, found.episodes_held_out) == (9, 1)
    assert (found.windows, found.windows_held_out) == (45, 5)


def test_the_weights_of_the_lowest_error_are_kept():
    data = noise()
    found = fit_goal_head(data, QUICK)
    held_out = fitting._held_out(data.episode, 0)
    at, ahead = fitting.Windows(data, held_out, 1).draw(fitting._CHECKED_ON, np.random.default_rng(1))
    planned = found.head(data.features[at, None], data.features[at + ahead, None], 1)
    error = float(((planned - data.actions[at]) / found.head.action_std).square().mean())
    assert error == pytest.approx(found.held_out_error, rel=1e-5)
    learned_by_heart = fit_goal_head(data, QUICK.model_copy(update={"max_steps": 400, "check_every": 400}))
    assert error < 0.9 * learned_by_heart.held_out_error


def test_the_steps_that_are_left_tell_how_long_the_next_step_is():
    data = straight_ways()
    found = fit_goal_head(data, QUICK.model_copy(update={"told_steps": True, "max_steps": 500, "lr": 5e-3, "width": 64}))
    assert found.held_out_error < 0.04  # 1: no better than the mean action; 0.08 without the steps
    places = data.features.view(40, 6, 1, 2)
    lengths = [float(found.head(places[:, 0], places[:, 2], left).norm(dim=-1).mean()) for left in (1, 2, 5, 99)]
    assert lengths[0] > 1.2 * lengths[1] > 2 * lengths[2]
    assert lengths[3] == lengths[2]  # of more steps than in any episode nothing was learned


def test_cloning_does_not_hear_of_the_steps():
    head = GoalHead(torch.zeros(2), torch.ones(2), torch.zeros(1), torch.ones(1), longest=5, told_steps=False)
    now, goal = torch.zeros(1, 1, 2), torch.ones(1, 1, 2)
    assert torch.equal(head(now, goal, 1), head(now, goal, 5))


def test_the_global_generator_is_not_changed_and_the_seed_decides():
    config = QUICK.model_copy(update={"max_steps": 3})
    torch.manual_seed(5)
    first, again, other = (fit_goal_head(noise(), config, seed) for seed in (0, 0, 1))
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    weights = [fit.head.network[0].weight for fit in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_episodes_become_one_trajectory_each():
    """The row after the last action of an episode has none, so no window crosses two episodes."""
    latents = [torch.arange(6.0).view(3, 1, 2), torch.arange(4.0).view(2, 1, 2)]
    actions = [torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0]])]
    found = Trajectories.of(latents, actions)
    assert found.features.tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
    assert found.actions[found.has_actions(np.array([True, True]))].tolist() == [[1], [2], [3]]
    assert found.has_actions(np.array([False, True])).tolist() == [False, False, False, True, False]
    at, ahead = fitting.Windows(found, np.array([True, True]), 1).draw(500, np.random.default_rng(0))
    assert set(zip(at.tolist(), ahead.tolist(), strict=True)) == {(0, 1), (0, 2), (1, 1), (3, 1)}


def test_episodes_that_do_not_fit_are_named():
    latents = torch.zeros(3, 1, 2)
    with pytest.raises(PlanningError, match=r"episode 1: latents \[3, 1, 2\] and actions \[3, 2\]; expected .* \[T - 1, A\]"):
        Trajectories.of([latents, latents], [torch.zeros(2, 2), torch.zeros(3, 2)])
    with pytest.raises(PlanningError, match="1 sequences of latents, 0 of actions"):
        Trajectories.of([latents], [])


def test_latents_of_another_model_are_refused():
    head = GoalHead(torch.zeros(8), torch.ones(8), torch.zeros(2), torch.ones(2), longest=5)
    with pytest.raises(PlanningError, match=r"\[2, 3, 4\] and goals \[2, 3, 4\] have 12 features; this head was trained on 8"):
        head(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), 1)


def test_large_latents_are_averaged_over_tokens():
    latents = torch.randn(2, MAX_FEATURES + 1, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(features_of(latents), latents.mean(1))
    assert features_of(latents[:, :5]).shape == (2, 15)
