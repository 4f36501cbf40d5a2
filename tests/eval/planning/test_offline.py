"""Measures of a model from recorded episodes, without the environment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.planning.offline.measures import RECORDED, action_ranks, forecast_errors, measure, windows_of
from eval.planning.offline.reach import reach
from eval.planning.offline.recorded import Recorded
from eval.planning.output.episode_videos import Gallery
from eval.planning.output.figures import landscape
from tests.support.made_action_model import PositionModel

CPU = torch.device("cpu")
BOUNDS = np.array([-2.45, -2.45]), np.array([2.45, 2.45])


def recorded_walks(count: int = 6, steps: int = 20) -> list[Recorded]:
    """Straight walks in different directions, with latents of the position; pictures have the dot only."""
    found = []
    for index in range(count):
        angle = index * 2.4
        action = np.array([np.cos(angle), np.sin(angle)])
        path = np.array([20.0, 32.0]) + action * np.arange(steps)[:, None] * 0.5
        states = np.concatenate([path, np.tile([50.0, 30.0], (steps, 1))], 1)
        frames = np.zeros((steps, 65, 65, 3), np.uint8)
        for number, (x, y) in enumerate(np.rint(path).astype(int)):
            frames[number, y, x, 0] = 255
        latents = torch.from_numpy(path).float()[:, None]
        actions = torch.from_numpy(np.tile(0.5 * action, (steps - 1, 1))).float()
        found.append(Recorded(str(index), latents, actions, states, frames.__getitem__))
    return found


def test_offline_measures_of_an_exact_model():
    found = measure(PositionModel(), recorded_walks(), 1, TwoRoomsTask(), 2, BOUNDS, CPU)
    assert found["forecast"]["uses_actions"]["value"] > 0.95
    assert all(row["value"] > 0.85 for row in found["action_rank"])
    assert found["action_probe"]["predicted transitions"]["value"] > 0.95
    assert found["reach"]["distance (px)"]["rank_correlation"]["value"] > 0.98
    assert found["reach"]["distance (px)"]["reach"] == pytest.approx(found["reach"]["distance (px)"]["longest"])
    lowest, recorded = (np.array(found["landscapes"][0][name]) for name in ("lowest", "recorded"))
    assert np.abs(lowest - recorded).max() <= 0.35  # the grid has steps of 0.35


def test_the_grid_of_constant_actions_has_the_bounds_of_the_environment():
    low, high = np.array([0.0, -1.0]), np.array([1.0, 0.5])
    found = measure(PositionModel(), recorded_walks(), 1, TwoRoomsTask(), 2, (low, high), CPU)["landscapes"][0]
    assert (found["low"], found["high"]) == ([0.0, -1.0], [1.0, 0.5])
    assert (np.array(found["lowest"]) >= low).all()
    assert (np.array(found["lowest"]) <= high).all()
    assert "<svg" in landscape(found)


def test_held_out_episodes_without_two_planned_steps_are_told_and_nothing_is_measured():
    told: list[str] = []
    assert measure(PositionModel(), [], 1, TwoRoomsTask(), 2, BOUNDS, CPU, report=told.append) == {}
    assert told == ["the held-out episodes are too short: none has two planned steps; nothing was measured on them"]


def test_only_the_frames_that_are_used_are_read():
    """Of windows those of the context; of the gallery as many as it draws from, and none where a decoder draws."""
    read: list[int] = []

    def watched(episode: Recorded) -> Recorded:
        return replace(episode, frames=lambda steps: (read.extend(steps), episode.frames(steps))[1])

    walks = [watched(episode) for episode in recorded_walks()]
    windows = windows_of(PositionModel(), walks, 2, 0)
    for _ in range(2):
        windows.observed(CPU)
    assert len(read) == 2 * len(walks)
    read.clear()
    gallery = Gallery(None, walks)
    assert len(read) == 20 * len(walks)
    drawn = gallery.draw(walks[2].latents[[3, 7]])
    np.testing.assert_array_equal(drawn, recorded_walks()[2].frames([3, 7]))
    read.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.planning.output.episode_videos.NEAREST_FRAMES", 30)
        Gallery(None, walks)
        assert len(read) == 30
        patch.setattr("eval.planning.output.episode_videos.NEAREST_BYTES", 1)
        read.clear()
        Gallery(None, walks)
        assert len(read) == 20  # of the first episode
    read.clear()
    Gallery(torch.nn.Identity(), walks)
    assert read == []


def test_the_rank_of_actions_is_by_the_cost_of_the_planner():
    walks = recorded_walks()
    last, summed = (
        measure(PositionModel(gain=0.5), walks, 1, TwoRoomsTask(), 2, BOUNDS, CPU, steps=steps)["action_rank"]
        for steps in ("last", "all")
    )
    assert [row["cost_steps"] for row in (last[0], summed[0])] == ["last", "all"]
    asked: list[str] = []

    class Asked(PositionModel):
        def goal_cost(self, context, goal, steps="all", kind="auto"):
            asked.append(steps)
            return super().goal_cost(context, goal, steps, kind)

    action_ranks(windows_of(Asked(), walks, 1, 0), CPU, 0, "all")
    assert set(asked) == {"all"}


def test_a_model_that_ignores_actions_is_seen_offline():
    walks = recorded_walks()
    windows = windows_of(PositionModel(gain=0.0), walks, 1, 0)
    errors = forecast_errors(windows, CPU)
    assert errors["uses_actions"]["value"] == pytest.approx(0)
    assert errors["error"][RECORDED][-1]["value"] == pytest.approx(errors["error"]["copy last"][-1]["value"], rel=0.3)


def test_the_reach_ends_where_the_distance_stops_growing():
    class Saturated(PositionModel):
        def distance(self, latents, goal, kind="auto"):
            return super().distance(latents, goal).clamp(max=2.0)  # 2 px apart

    found = reach(Saturated(), recorded_walks(), TwoRoomsTask(), CPU, 0)["distance (px)"]
    assert found["reach"] < 3.5
    assert found["longest"] > 8
