"""Policies that models are compared with, and plans of models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_prep.environments.hidden_object.task import HiddenObjectTask
from data_prep.environments.push_t.task import PushTTask
from data_prep.environments.two_rooms import geometry
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.errors import EvalError
from eval.planning.action_model import ShuffledActions
from eval.planning.episodes import History
from eval.planning.evaluation import Evaluation, Planning
from eval.planning.heads.proposals import InverseProposals, RecordedProposals
from eval.planning.planning_policy import ModelCosts, OracleCosts, observe, plan_at
from eval.planning.policies import RandomPolicy, random_action
from tests.support.made_action_model import PositionModel
from tests.support.made_pairs import PAIRS, planning
from worldmodel.planning import ActionSpace, CEMConfig, GradientConfig, generators_of, search

CPU = torch.device("cpu")


def test_the_copy_of_the_environment_is_the_environment_without_noise():
    gymnasium = pytest.importorskip("gymnasium")
    assert gymnasium
    from data_prep.environments.making import make_environment

    options = {"speed": 1.5, "wall_half_px": 2.5, "door_half_px": 6.0}
    task = TwoRoomsTask(**options)
    made = make_environment("TwoRooms-v0", {**options, "bounce_std_px": 0.0})
    state, _ = made.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(100):
        action = rng.uniform(-2.4, 2.4, 2)
        expected = task.step(state, action)
        state, *_ = made.step(action)
        np.testing.assert_allclose(state, expected, atol=1e-9)


def test_the_way_to_go_leads_through_the_door_and_the_distance_does_not():
    task = TwoRoomsTask()
    state, goal = np.array([20.0, 30.0, 32.0, 50.0]), np.array([44.0, 30.0, 32.0, 50.0])
    history = History(0, state[None], (), ())
    ahead, down = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    actions = torch.stack([ahead.repeat(5, 1), down.repeat(5, 1)])[None].double()  # [1, 2, 5, 2]
    straight = OracleCosts(task, goal[None], 1, "distance", "last").cost(history)(actions)[0]
    way = OracleCosts(task, goal[None], 1, "to go", "last").cost(history)(actions)[0]
    assert straight[0] < straight[1]  # towards the wall seems better
    assert way[1] < way[0]  # towards the door is better
    assert way[1] == pytest.approx(np.hypot(12, 15) + np.hypot(12, 20))  # to the door, and on


def test_random_actions_of_a_pair_do_not_depend_on_the_others():
    space = ActionSpace.ball(2, geometry.MAX_STEP_PX)
    history = History(0, np.zeros((2, 4)), (), ())
    together, alone = RandomPolicy(space, [5, 6]).act(history), RandomPolicy(space, [6]).act(history)
    np.testing.assert_array_equal(together[1:], alone)
    assert (np.linalg.norm(together, axis=1) <= geometry.MAX_STEP_PX).all()


def test_random_actions_stay_in_the_box_also_where_there_is_a_largest_norm():
    space = ActionSpace(torch.tensor([0.0, -0.5]), torch.tensor([1.0, 0.5]), torch.ones(2), max_norm=3.0)
    found = np.stack([random_action(space, np.random.default_rng(seed)) for seed in range(50)])
    assert (found >= [0.0, -0.5]).all()
    assert (found <= [1.0, 0.5]).all()


def test_doing_nothing_takes_the_action_that_the_task_names_for_each_state():
    """Of absolute targets, that is where the state is already, and not the middle of the bounds."""

    class Absolute(TwoRoomsTask):
        def still(self, states):
            return states[..., :2]

    space = ActionSpace(torch.zeros(2), torch.full((2,), 64.0), torch.ones(2))
    history = History(0, np.array([PAIRS.pairs[0].start]), (), ())
    for task, expected in ((Absolute(), [20, 30]), (WithoutStill(), [32, 32])):
        it = Evaluation("TwoRooms-v0", {}, task, PAIRS, space, planning(CEMConfig(horizon=2)), None, {}, CPU)
        assert it.policy("nothing", it.cases([0]), 0).act(history).tolist() == [expected]
    for task, size in ((TwoRoomsTask(), 2), (HiddenObjectTask(), 1), (PushTTask(), 2)):
        assert task.still(np.ones((3, 7))).tolist() == [[0.0] * size] * 3


class WithoutStill:
    """The task of another package, which does not say how a state is kept."""

    def __getattr__(self, name):
        if name in ("still", "to_go_is_exact"):
            raise AttributeError(name)
        return getattr(TwoRoomsTask(), name)


def test_a_context_has_pictures_that_are_a_planned_step_apart_and_all_actions_between():
    class Blocked(PositionModel):
        actions_per_step, action_size = 2, 4

        def observe(self, frames, actions=None):
            return frames, actions

    pictures = [np.full((1, 2, 2, 3), value, np.uint8) for value in range(5)]
    actions = [np.array([[value, -value]], float) for value in range(4)]
    frames, between = observe(Blocked(), History(4, np.zeros((1, 4)), pictures, actions), 2, CPU)
    assert frames[0, :, 0, 0, 0].tolist() == [2, 4]
    assert between.tolist() == [[[2, -2, 3, -3]]]


def test_shuffled_actions_lose_their_cost():
    model, goals = PositionModel(), torch.zeros(1, 1, 2)
    picture = np.zeros((1, 65, 65, 3), np.uint8)
    picture[0, 32, 20, 0] = 255
    history = History(0, np.zeros((1, 4)), (picture,), ())
    actions = torch.randn(1, 16, 3, 2, generator=torch.Generator().manual_seed(0))
    true = ModelCosts(model, goals, 1, "all", 100).cost(history)(actions)
    shuffled = ModelCosts(ShuffledActions(model), goals, 1, "all", 100).cost(history)(actions)
    torch.testing.assert_close(shuffled, true.roll(1, 1))  # no candidate has its own
    alone = ModelCosts(ShuffledActions(model), goals, 1, "all", 100).cost(history)(actions[:, :1])
    assert alone.tolist() == [[torch.inf]]  # there is no other one
    in_parts = ModelCosts(model, goals, 1, "all", 5).cost(history)(actions)
    torch.testing.assert_close(true, in_parts)


def test_the_last_mean_of_a_search_with_shuffled_actions_does_not_win():
    """The mean is evaluated alone at the end of a search. Here it would have the lowest cost of all, 0."""

    class ZeroIsBest(PositionModel):
        def goal_cost(self, context, goal, steps="all", kind="auto"):
            return lambda actions: actions.square().sum((2, 3))

    cost = ShuffledActions(ZeroIsBest()).goal_cost(None, torch.zeros(1, 1, 2))
    seen: list[tuple[float, float]] = []

    def watched(actions):
        found = cost(actions)
        seen.append((float(found.min()), float(ZeroIsBest().goal_cost(None, None)(actions).min())))
        return found

    config = CEMConfig(horizon=2, samples=4, elites=4, iterations=1)
    plan = search(watched, ActionSpace.ball(2, 2.45), config, generators_of([0]))
    assert seen[-1][0] == float("inf")
    assert not torch.equal(plan.actions, plan.next_start.mean)


@pytest.mark.parametrize("repeated", [False, True])
def test_planners_repeat_the_action_of_a_planned_step_if_asked_to(repeated: bool):
    plans = Planning(CEMConfig(horizon=2, samples=8, elites=2, iterations=2), 4, "all", 16, 1, repeated)
    it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), PAIRS, ActionSpace.ball(2, 2.45, block=2), plans, None, {}, CPU)
    policy = it.policy("oracle", it.cases([0]), 0)
    states = np.array([PAIRS.pairs[0].start])
    actions = [policy.act(History(step, states, (), ())) for step in range(4)]
    assert [np.array_equal(actions[0], actions[1]), np.array_equal(actions[2], actions[3])] == [repeated] * 2


@pytest.mark.parametrize(("shrinking", "lengths"), [(True, [5, 3, 1, 5, 3, 1]), (False, [5] * 5)])
def test_plans_of_a_shrinking_horizon_end_where_the_first_one_ends(monkeypatch, shrinking: bool, lengths: list[int]):
    """Two actions per planned step: a plan of 5 steps ends after 10 actions, also where a new one is made after 4."""
    found: list[tuple[int, int]] = []

    def watched(cost, space, config, *others):
        found.append((step, config.horizon))
        return search(cost, space, config, *others)

    monkeypatch.setattr("eval.planning.planning_policy.search", watched)
    config = CEMConfig(horizon=5, samples=8, elites=2, iterations=2)
    plans = Planning(config, executed=4, steps="last", budget=20, context=1, shrinking=shrinking)
    it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), PAIRS, ActionSpace.ball(2, 2.45, block=2), plans, None, {}, CPU)
    policy, states = it.policy("oracle", it.cases([0]), 0), np.array([PAIRS.pairs[0].start])
    actions = []
    for step in range(20):
        actions.append(policy.act(History(step, states, (), ())))
    assert [horizon for _, horizon in found] == lengths
    assert [step for step, _ in found] == ([0, 4, 8, 10, 14, 18] if shrinking else [0, 4, 8, 12, 16])
    assert len(np.unique(np.concatenate(actions), axis=0)) == 20  # no action is executed twice
    assert policy.spent().predicted_steps == sum((8 * 2 + 1) * horizon for horizon in lengths)


def test_a_plan_is_executed_until_the_next_one_or_its_end():
    """Ten actions per plan of five steps, of which four are executed at a time."""
    assert [plan_at(step, 5, 4, 2, shrinking=True) for step in (0, 4, 8, 10)] == [(5, 4), (3, 4), (1, 2), (5, 4)]
    assert [plan_at(step, 5, 4, 2, shrinking=False) for step in (0, 4, 8)] == [(5, 4)] * 3


def test_proposals_are_plans_of_inverse_dynamics_for_different_numbers_of_steps():
    """This head moves an equal part of the way in each step that it is told, so its plans differ in how fast they are."""
    model, space = PositionModel(), ActionSpace.ball(2, 2.45)
    goals = torch.tensor([[[28.0, 32.0]]])
    picture = np.zeros((1, 65, 65, 3), np.uint8)
    picture[0, 32, 20, 0] = 255

    class EvenSteps:
        longest = 4

        def __call__(self, now, goal, left):
            return (goal - now)[:, 0] / left[:, None]

    class Trained:
        head = EvenSteps()

    proposals = InverseProposals(Trained(), model, goals, space, 1)
    found = proposals.propose(History(0, np.zeros((1, 4)), (picture,), ()), 4)
    assert found.shape == (1, 4, 4, 2)
    assert found.norm(dim=-1).max() <= 2.45 + 1e-5
    np.testing.assert_allclose(found[0, :, 0, 0], [2.45, 2.45, 2.45, 2.0], atol=0.1)  # 8 px in 1, 2, 3 and 4 steps
    np.testing.assert_allclose(found[0, 3, :, 0].sum(), 8, atol=0.3)


def test_recorded_proposals_are_parts_of_episodes_and_depend_on_the_seed_of_their_environment_alone():
    """An episode that is shorter than a plan is not used, and of the other one, all parts."""
    episode = np.arange(12, dtype=np.float32).reshape(6, 2) / 10
    history, space = History(0, np.zeros((2, 4)), (), ()), ActionSpace.ball(2, 2.45, block=2)
    found = RecordedProposals([episode[:3] + 1, episode], space, [5, 6]).propose(history, 2)
    assert found.shape == (2, 200, 2, 4)
    expected = {tuple(episode[first : first + 4].ravel().tolist()) for first in range(3)}
    assert {tuple(row) for row in found.flatten(2).flatten(0, 1).tolist()} == expected
    assert RecordedProposals([episode], space, [5, 6], 7).propose(history, 2).shape == (2, 7, 2, 4)
    alone = RecordedProposals([episode[:3] + 1, episode], space, [6]).propose(history, 2)
    torch.testing.assert_close(found[1:], alone)
    with pytest.raises(EvalError, match="no episode of train has the 8 actions of a plan; plan fewer steps"):
        RecordedProposals([episode], space, [5]).propose(history, 4)


def test_policies_that_mean_nothing_are_left_out_with_the_reason():
    shared = "TwoRooms-v0", {}, TwoRoomsTask(), PAIRS, ActionSpace.ball(2, 2.45)
    usual = Evaluation(*shared, planning(CEMConfig(horizon=2)), PositionModel(), {}, CPU)
    assert usual.left_out() == {}
    assert {"memoryless", "oracle", "oracle_to_go", "shuffled"} <= {*usual.names()}
    one_frame = replace(usual, planning=planning(CEMConfig(horizon=2), context=1))
    assert one_frame.left_out() == {"memoryless": "same model, one frame is left out: the model itself sees one frame"}
    assert set(usual.names()) - set(one_frame.names()) == {"memoryless"}
    gradient = replace(usual, planning=planning(GradientConfig(horizon=2)))
    assert set(usual.names()) - set(gradient.names()) == {"oracle", "oracle_to_go", "shuffled"} == {*gradient.left_out()}
