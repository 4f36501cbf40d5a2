"""The adapter to stable-worldmodel's solvers, on recorded calls of its protocol."""

import pytest
import torch

from tests.support.made_action_model import PositionModel
from worldmodel.planning import PlanningError
from worldmodel.planning.stable_worldmodel import StableWorldModelAdapter


def picture(x: int, y: int) -> torch.Tensor:
    """[C, h, w], uint8"""
    frame = torch.zeros(3, 65, 65, dtype=torch.uint8)
    frame[0, y, x] = 255
    return frame


def info(candidates: int) -> dict:
    """Two environments as a solver of the wheel gives them: every entry is repeated for each candidate."""
    pixels = torch.stack([picture(10, 20), picture(30, 40)])[:, None, None].expand(-1, candidates, 1, -1, -1, -1)
    goal = torch.stack([picture(13, 20), picture(30, 36)])[:, None, None].expand(-1, candidates, 1, -1, -1, -1)
    return {"pixels": pixels, "goal": goal}


ACTIONS = torch.tensor([[[[1.0, 0.0]] * 3, [[0.0, -1.0]] * 3]] * 2)  # [2, 2, 3, 2]: to the right, upwards


def test_get_cost_of_the_wheel():
    cost = StableWorldModelAdapter(PositionModel(), torch.clone).get_cost(info(2), ACTIONS)
    # mean of squared differences in x and y after three steps
    assert cost.shape == (2, 2)
    assert cost[0].tolist() == pytest.approx([0.0, (9 + 9) / 2])
    assert cost[1].tolist() == pytest.approx([(9 + 16) / 2, (0 + 1) / 2])


def test_more_frames_than_one_are_refused_because_candidates_of_the_wheel_then_belong_to_them():
    given = info(2)
    given["pixels"] = given["pixels"].expand(-1, -1, 3, -1, -1, -1)
    adapter = StableWorldModelAdapter(PositionModel(), torch.clone)
    with pytest.raises(PlanningError, match=r"given 3 frames of context; expected 1.* the first 2 steps of all candidates"):
        adapter.get_cost(given, ACTIONS)
    given["pixels"] = given["pixels"][:, :, -1:]  # what the message says to do
    torch.testing.assert_close(adapter.get_cost(given, ACTIONS), adapter.get_cost(info(2), ACTIONS))


def test_pixels_between_0_and_1_are_the_same_pictures():
    given = info(2)
    floats = {name: value.float() / 255 for name, value in given.items()}
    adapter = StableWorldModelAdapter(PositionModel(), torch.clone)
    torch.testing.assert_close(adapter.get_cost(given, ACTIONS), adapter.get_cost(floats, ACTIONS))


def test_rollout_of_the_main_branch_has_the_context_and_every_planned_step():
    adapter = StableWorldModelAdapter(PositionModel(), torch.clone)
    found = adapter.rollout(adapter.encode({"pixels": info(1)["pixels"][:, 0]}), ACTIONS)
    assert found["emb"].shape == (2, 1, 2)
    assert found["predicted_emb"].shape == (2, 2, 4, 2)
    torch.testing.assert_close(found["predicted_emb"][0, 0], torch.tensor([[10.0, 20], [11, 20], [12, 20], [13, 20]]))


def test_a_rollout_sees_earlier_frames_where_the_actions_between_them_are_given():
    class Recording(PositionModel):
        def observe(self, frames, actions=None):
            self.seen = frames.shape[1], actions
            return super().observe(frames[:, -1:])

    model, given = Recording(), info(2)
    adapter = StableWorldModelAdapter(model, restore=lambda actions: actions * 2.0)
    given["pixels"] = given["pixels"].expand(-1, -1, 3, -1, -1, -1)
    adapter.rollout(dict(given), ACTIONS)
    assert model.seen == (1, None)
    adapter.rollout({**given, "action_history": ACTIONS[:, :, :2]}, ACTIONS)
    assert model.seen[0] == 3
    assert torch.equal(model.seen[1], 2 * ACTIONS[:, 0, :2])


def test_candidates_are_restored_to_the_units_of_the_environment():
    adapter = StableWorldModelAdapter(PositionModel(), restore=lambda actions: actions * 2.0)
    found = adapter.rollout({"pixels": info(1)["pixels"]}, ACTIONS)
    assert found["predicted_emb"][0, 0, -1].tolist() == pytest.approx([16, 20])


def test_candidates_of_another_block_are_refused():
    with pytest.raises(PlanningError, match=r"expected \[E, S, H, 2\]"):
        StableWorldModelAdapter(PositionModel(), torch.clone).get_cost(info(2), torch.zeros(2, 2, 3, 10))
