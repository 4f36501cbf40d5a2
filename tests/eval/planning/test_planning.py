"""Scores, verdicts and policies of the evaluation of planning, without files."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_prep.environments.hidden_object.task import HiddenObjectTask
from data_prep.environments.push_t.task import PushTTask
from data_prep.environments.tasks import Criterion, to_go_is_exact
from data_prep.environments.two_rooms import geometry
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.errors import EvalError
from eval.intervals import bootstrap_crossed
from eval.planning import models, set_up
from eval.planning.action_model import ShuffledActions
from eval.planning.episodes import History
from eval.planning.evaluation import Evaluation, Planning
from eval.planning.models import NamedModel, open_models
from eval.planning.offline.measures import RECORDED, action_ranks, forecast_errors, measure, windows_of
from eval.planning.offline.reach import reach
from eval.planning.offline.recorded import Recorded
from eval.planning.output.episode_videos import Gallery
from eval.planning.output.figures import landscape
from eval.planning.pairs import Pair, PairSet
from eval.planning.planning_policy import ModelCosts, OracleCosts, observe
from eval.planning.policies import RandomPolicy, random_action
from eval.planning.scoring import by_distance, difference, score
from eval.planning.verdict import verdict
from tests.support.made_acting_model import SIZE_PX, checkpoint_of, made_acting, made_recipe
from tests.support.made_action_model import STATISTICS, PositionModel
from worldmodel.planning import ActionSpace, CEMConfig, GradientConfig, PlannerBase, generators_of, search
from worldmodel.runs.run_data import RunData

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


def test_criteria_by_hand():
    distance = np.array([0.0, 5.0, 1.0, 1.0, 1.0, 3.0])  # the start stands at the goal
    assert not Criterion("a", 2.0, "last").reached(distance)
    assert Criterion("a", 4.0, "last").reached(distance)
    assert Criterion("a", 2.0, "any").reached(distance)
    assert Criterion("a", 2.0, "held", 3).reached(distance)
    assert not Criterion("a", 2.0, "held", 4).reached(distance)
    assert not Criterion("a", 2.0, "any").reached(np.array([0.0, 5.0]))  # a start at the goal is no success
    assert not Criterion("a", 2.0, "held", 3).reached(np.array([0.0, 1.0]))  # fewer steps than must be held


def test_the_repeated_state_after_an_early_end_does_not_count_as_held():
    distance = np.array([[9.0, 5.0, 1.0, 1.0, 1.0], [9.0, 1.0, 1.0, 1.0, 1.0]])
    held = Criterion("a", 2.0, "held", 3)
    assert held.reached(distance).tolist() == [True, True]
    assert held.reached(distance, np.array([2, 3])).tolist() == [False, True]  # one step near the goal, and three
    assert Criterion("a", 2.0, "last").reached(distance, np.array([2, 3])).all()
    assert not Criterion("a", 2.0, "any").reached(distance[:1], np.array([1])).any()


def test_an_interval_is_not_empty_where_all_episodes_succeed():
    found = score(np.ones((2, 20)))
    assert found["value"] == found["high"] == 1
    assert 0.8 < found["low"] < 0.9  # Wilson's for 20 of 20: 0.839


def test_planning_seeds_do_not_widen_an_interval_as_models_do():
    values = np.concatenate([np.zeros((1, 40)), np.ones((1, 40))])
    as_seeds, as_models = score(values, models=1), score(values, models=2)
    assert as_seeds["value"] == as_models["value"] == 0.5
    assert as_seeds["high"] - as_seeds["low"] < as_models["high"] - as_models["low"] == 1


def test_differences_are_paired():
    model = np.array([[1.0, 1.0, 0.0, 0.0] * 10])
    assert difference(model, model)["low"] == 0 == difference(model, model)["high"]
    better = difference(np.ones((1, 30)), np.zeros((1, 30)))
    assert better["value"] == 1
    assert better["p"] < 0.001


def test_episodes_of_a_matched_pair_count_as_one_value():
    """Without memory one episode of each matched pair succeeds: always one half, whatever the pair."""
    one_of_two, both_or_none = np.tile([1.0, 0.0], (1, 20)), np.repeat([[1.0, 0.0] * 10], 2, axis=1)
    found = score(one_of_two, members=2)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.5, 0.5)
    assert (found["n"], found["episodes"]) == (20, 40)
    grouped = score(both_or_none, members=2)
    low, high = bootstrap_crossed([both_or_none[:, ::2]])[1:]
    assert (grouped["low"], grouped["high"]) == (low, high)
    assert high - low > 1.2 * (score(both_or_none)["high"] - score(both_or_none)["low"])
    always = score(np.ones((2, 40)), members=2)
    assert always["low"] == score(np.ones((2, 20)))["low"]  # Wilson's for 20 of 20
    few = difference(np.ones((1, 8)), np.zeros((1, 8)), members=2)
    assert few["p"] == difference(np.ones((1, 4)), np.zeros((1, 4)))["p"] == 0.125
    assert "episodes" not in score(one_of_two)


def test_pairs_of_one_recorded_episode_are_resampled_and_flipped_together():
    """Ten episodes of ten pairs; all pairs of one have the same result. So there are ten values, not a hundred."""
    episodes = np.array([[1.0, 0.0] * 5])
    values, groups = np.repeat(episodes, 10, axis=1), np.repeat(np.arange(10), 10)
    found = score(values, groups=groups)
    assert (found["value"], found["n"], found["groups"]) == (0.5, 100, 10)
    assert (found["low"], found["high"]) == pytest.approx(bootstrap_crossed([episodes])[1:])
    assert found["high"] - found["low"] > 2.5 * (score(values)["high"] - score(values)["low"])
    assert score(np.ones((1, 100)), groups=groups)["low"] == score(np.ones((1, 10)))["low"]  # Wilson's for 10 of 10
    apart = score(values, groups=np.arange(100))
    assert apart == score(values)
    assert "groups" not in apart


def test_sign_flips_of_recorded_episodes_by_hand():
    """Differences of three episodes: 1 + 1 + 1, 1, and -1. The sum is 3; of all signs of 3, 1 and 1, the sums 5, 3, 3 and 1.

    So 6 of 8 patterns have a sum of 3 or more. For five independent pairs it would be 12 of 32.
    """
    model, other, groups = np.array([[1.0, 1, 1, 1, 0]]), np.array([[0.0, 0, 0, 0, 1]]), np.array([4, 4, 4, 7, 2])
    assert difference(model, other, groups=groups)["p"] == 6 / 8
    assert difference(model, other)["p"] == 12 / 32
    assert difference(model, other, groups=groups)["value"] == pytest.approx(0.6)  # the mean over pairs, not over episodes


def test_pairs_of_a_matched_pair_and_of_an_episode_are_one_group():
    def pair(clip_id: str) -> Pair:
        return Pair((0.0,), (1.0,), clip_id, 0)

    found = replace(PAIRS, pairs=tuple(pair(name) for name in ("b", "a", "b", "", "")))
    assert [len(set(found.episodes[list(some)])) for some in ((0, 2), (0, 1), (3, 4))] == [1, 2, 2]
    matched = replace(found, members=2, pairs=tuple(pair(name) for name in ("", "", "", "")))
    assert matched.episodes.tolist() == [0, 0, 1, 1]


def test_a_matched_pair_is_in_one_bin_of_distances():
    values, to_go = np.tile([1.0, 0.0], (1, 8)), np.arange(16.0)
    to_go[[1, 14]] = to_go[[14, 1]]  # the first and the last pair have a short and a long way
    found = by_distance(values, to_go, members=2)
    assert sum(row["n"] for row in found) == 8
    assert {row["value"] for row in found} == {0.5}


def policy_result(value: float, minus: float = 0.0, p: float = 1.0, half: float = 0.02) -> dict:
    gap = {"value": minus, "low": minus, "high": minus, "p": p, "p_holm": p}
    interval = {"value": value, "low": max(0, value - half), "high": min(1, value + half), "n": 300, "seeds": 1}
    return {"scores": {"moderate": interval}, "model_minus": {"moderate": gap}}


@pytest.mark.parametrize(
    ("model", "oracle", "limit"),
    [
        (policy_result(0.3), policy_result(1.0, -0.7, 0.001), "model"),
        (policy_result(0.3), policy_result(0.5, -0.2, 0.001), "planner"),
        (policy_result(0.97), policy_result(0.99, -0.02, 0.2), "neither"),
        (policy_result(0.7, half=0.3), policy_result(0.9, -0.2, 0.2, half=0.2), "unknown"),
    ],
)
def test_the_verdict_tells_the_model_from_the_planner(model, oracle, limit):
    assert verdict({"model": model, "oracle_to_go": oracle}, "moderate")["limit"] == limit


def test_the_verdict_does_not_blame_the_planner_alone_where_the_cost_of_the_oracle_is_no_true_length():
    policies = {"model": policy_result(0.3), "oracle_to_go": policy_result(0.5, -0.2, 0.001)}
    found = verdict(policies, "moderate", exact_cost=False)
    assert found["limit"] == "planner or cost"
    assert "The planner or its cost fails" in found["text"]
    assert "true length" not in found["text"]
    assert "the true length of the way as its cost" in verdict(policies, "moderate")["text"]
    assert [to_go_is_exact(task) for task in (TwoRoomsTask(), HiddenObjectTask(), PushTTask(), object())] == [
        True,
        True,
        False,
        False,
    ]


def test_an_oracle_that_was_evaluated_is_not_called_missing():
    policies = {"model": policy_result(0.3), "oracle": policy_result(0.6, -0.3, 0.001)}
    text = verdict(policies, "moderate")["text"]
    assert "(oracle_to_go) was not evaluated" in text
    assert "The oracle whose cost is the straight distance reaches 60 % of the goals." in text


def test_the_verdict_tells_what_one_training_seed_leaves_out():
    policies = {"model": policy_result(0.3), "oracle_to_go": policy_result(1.0, -0.7, 0.001)}
    assert "There is one training seed" in verdict(policies, "moderate")["text"]
    assert "variation between the 3 training seeds; p-values are over pairs alone" in verdict(policies, "moderate", 3)["text"]


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


PAIRS = PairSet("TwoRooms-v0", "m", "test", "own", None, 0, 0, (Pair((20.0, 30, 32, 50), (44.0, 30, 32, 50), "0", 0),))


def planning(config: PlannerBase, context: int = 2) -> Planning:
    return Planning(config, 1, "all", 16, context)


@pytest.mark.parametrize("repeated", [False, True])
def test_planners_repeat_the_action_of_a_planned_step_if_asked_to(repeated: bool):
    plans = Planning(CEMConfig(horizon=2, samples=8, elites=2, iterations=2), 4, "all", 16, 1, repeated)
    it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), PAIRS, ActionSpace.ball(2, 2.45, block=2), plans, None, {}, CPU)
    policy = it.policy("oracle", it.cases([0]), 0)
    states = np.array([PAIRS.pairs[0].start])
    actions = [policy.act(History(step, states, (), ())) for step in range(4)]
    assert [np.array_equal(actions[0], actions[1]), np.array_equal(actions[2], actions[3])] == [repeated] * 2


def test_parts_of_an_evaluation_that_differs_are_not_used(monkeypatch):
    model = NamedModel("run", PositionModel(), "0" * 16, heads_hash="0" * 16)
    other = PositionModel()
    other.statistics = replace(STATISTICS, action_mean=(1.0, 0.0))
    request = SimpleNamespace(env="TwoRooms-v0", env_options={}, task=None, split="test")
    manifest = SimpleNamespace(digest=lambda: "a")

    def identity(request=request, model=model, manifest=manifest):
        return set_up.identity(request, PAIRS, planning(CEMConfig(horizon=2)), [model], manifest)

    found = [
        identity(),
        identity(model=replace(model, heads_hash="1" * 16)),
        identity(model=replace(model, model=other)),
        identity(request=SimpleNamespace(**{**vars(request), "task": "module:task"})),
        identity(manifest=SimpleNamespace(digest=lambda: "b")),
        identity(request=SimpleNamespace(**{**vars(request), "split": "val"})),
    ]
    assert identity() == found[0]
    with monkeypatch.context() as patched:
        patched.setattr(set_up, "OFFLINE_EPISODES", 7)
        found.append(identity())
    monkeypatch.setattr(set_up, "source_digest", lambda: "changed")
    assert len({*found, identity()}) == 8


def test_a_run_is_opened_with_the_hash_of_its_heads_and_the_data_where_it_lies_now(monkeypatch):
    made = made_acting()
    data = RunData(("moved/a.parquet", None), ("b.parquet: no such manifest",))
    monkeypatch.setattr(models, "load_acting_model", lambda *_: made)
    monkeypatch.setattr(models, "find_checkpoint", lambda _: checkpoint_of(made))
    monkeypatch.setattr(models, "load_decoder", lambda *_: None)
    monkeypatch.setattr(models, "find_data", lambda *_: data)
    (before,) = open_models(["run"], CPU)
    with torch.no_grad():
        next(made.steps_head.parameters()).add_(1)
    (after,) = open_models(["run"], CPU)
    assert before.hash == after.hash
    assert before.heads_hash != after.heads_hash
    assert before.data == "moved/a.parquet"
    assert (before.size_px, before.trained_steps) == (SIZE_PX, 1)


def opened_together(monkeypatch, recipes):
    """`open_models` of runs with these recipes, named run0, run1, ..."""
    made = {f"run{number}": made_acting(recipe) for number, recipe in enumerate(recipes)}
    monkeypatch.setattr(models, "load_acting_model", lambda spec, _: made[spec])
    monkeypatch.setattr(models, "find_checkpoint", lambda spec: checkpoint_of(made[spec]))
    monkeypatch.setattr(models, "load_decoder", lambda *_: None)
    monkeypatch.setattr(models, "find_data", lambda *_: RunData(("a.parquet",), ()))
    return open_models(list(made), CPU)


def test_several_models_must_be_training_seeds_of_one_recipe(monkeypatch):
    """Seed and places of files may differ; a learning rate or the statistics of actions may not."""
    recipe = made_recipe()
    other_seed = {"seed": 3, "run": "elsewhere", "data": recipe.data.model_copy(update={"manifest": "moved/a.parquet"})}
    assert len(opened_together(monkeypatch, [recipe, recipe.model_copy(update=other_seed)])) == 2
    faster = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"lr": 0.5})})
    with pytest.raises(EvalError, match=r"run1 is no other training seed of run0: optim\.lr: .* -> 0\.5; several --model are"):
        opened_together(monkeypatch, [recipe, faster])
    statistics = recipe.model.condition.statistics.model_copy(update={"action_std": (2.0, 0.6)})
    condition = recipe.model.condition.model_copy(update={"statistics": statistics})
    other_data = recipe.model_copy(update={"model": recipe.model.model_copy(update={"condition": condition})})
    with pytest.raises(EvalError, match=r"run1 is no other training seed of run0: model\.condition\.statistics\.action_std"):
        opened_together(monkeypatch, [recipe, other_data])


def test_frozen_encoders_of_two_seeds_lie_in_different_runs():
    first, second = (
        "model.frozen_encoder.source: runs/a -> runs/b",
        "model.frozen_encoder.network.size_px: 64 -> 65",
    )
    assert first.startswith(models._MAY_DIFFER)
    assert not second.startswith(models._MAY_DIFFER)


def test_a_horizon_beyond_what_a_model_was_trained_to_predict_is_told():
    it = NamedModel("run", made_acting(), "0" * 16, recipe=made_recipe())
    (note,) = models.notes_on_models([it], 40)
    assert note.startswith("--horizon 40 is more than the 1 steps that run was trained to predict")
    assert models.notes_on_models([it], 1) == []


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


def test_a_run_whose_actions_are_state_differences_is_refused(monkeypatch):
    recipe = made_recipe()
    condition = recipe.model.condition.model_copy(update={"actions": "state_difference"})
    made = made_acting(recipe.model_copy(update={"model": recipe.model.model_copy(update={"condition": condition})}))
    monkeypatch.setattr(models, "load_acting_model", lambda *_: made)
    with pytest.raises(EvalError, match=r"its actions are changes of the state \(x, y; .* an environment does not execute"):
        open_models(["run"], CPU)
