"""Tasks in which something is seen before a plan is made: the lead-in, matched pairs, and permanence."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import PartialState

pytest.importorskip("gymnasium")
from data_prep.__main__ import main as data_prep
from data_prep.environments.hidden_object.drawing import draw
from data_prep.environments.hidden_object.geometry import LEAD_IN_STEPS, MIDDLE_PX, OBJECT, SUCCESS_PX, members, sample_start
from data_prep.environments.hidden_object.task import HiddenObjectTask
from data_prep.environments.making import make_environment
from data_prep.environments.tasks import Variation
from eval.errors import EvalError
from eval.planning import evaluation, run
from eval.planning.checkpoints.numbers import offline_numbers
from eval.planning.episodes import Cases, Environments, Spent, run_episodes
from eval.planning.evaluation import Evaluation, Planning, run_policies
from eval.planning.offline.permanence import matched_videos, permanence, permanence_note, surprises
from eval.planning.pairs import Pair, PairSet, choose_pairs, read_pairs, write_pairs
from eval.planning.planning_policy import ModelCosts, PlanningPolicy
from tests.support.made_acting_model import made_acting
from worldmodel.planning import ActionSpace, CEMConfig
from worldmodel.recipe import Recipe
from worldmodel.signals import SignalStatistics

ENV = "HiddenObject-v0"
CPU = torch.device("cpu")
TASK = HiddenObjectTask()
SPACE = ActionSpace.box([-4.5], [4.5], block=2)


def pairs_of(count: int) -> PairSet:
    found = []
    for number in range(count // 2):
        start = sample_start(np.random.default_rng(number))
        goal = TASK.own_goal(start, {})
        found += [Pair(tuple(one.tolist()), tuple(goal.tolist()), "", 0) for one in members(start)]
    return PairSet(ENV, "m", "test", "own", None, 0, 0, tuple(found), 2)


@torch.no_grad()
def acting():
    """Random weights, with attention over steps."""
    recipe = Recipe.model_validate(
        {
            "window": {"frames": 14, "fps": 5, "size_px": 64},
            "augment": {"hflip_prob": 0},
            "model": {
                "kind": "causal",
                "encoder": {"patch_px": 16, "tubelet_size": 1, "width": 8, "depth": 0, "heads": 2, "latent_dim": 8},
                "predictor": {"width": 16, "depth": 1, "heads": 2, "horizons": 1},
                "rollout_steps": 1,
                "rollout_context": 1,
                "condition": {
                    "kind": "added",
                    "statistics": {"actions_per_step": 2, "action_mean": (0.0,), "action_std": (2.0,)},
                },
            },
            "objectives": {"forecast": {"kind": "forecast"}, "inverse": {"kind": "idm"}, "steps": {"kind": "steps_to_go"}},
        }
    )
    found = made_acting(recipe)
    generator = torch.Generator().manual_seed(0)
    for parameter in found.model.parameters():  # also those that start as zeros, so that attention has an effect
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return found


class RememberingModel:
    """Latents are where the hand and the object are seen; the forecast knows where the object went, if that was seen."""

    action_size, actions_per_step, max_context = 2, 2, 14
    has_inverse, has_steps = False, False
    statistics = SignalStatistics((0.0,), (2.0,), (), (), ("dx",), (), 2, ())

    def encode(self, frames):
        frames = frames.float()
        red, blue = frames[..., 0] - frames[..., 1], (frames[..., 2] - frames[..., 0])[..., :8, :]
        places = torch.arange(64) + 0.5

        def place(mask):
            total = mask.sum((-1, -2))
            return torch.where(total > 0, (mask * places).sum((-1, -2)) / total.clamp(min=1), -1.0)

        return torch.stack([place((blue > 60).float()), place((red > 80).float())], -1)[..., None, :]

    def observe(self, frames, actions=None):
        return self.encode(frames)[:, :, 0]  # [B, T, 2]

    def imagine(self, context, actions):
        hand = context[:, -1, 0, None, None] + actions.reshape(*actions.shape[:3], 2).sum(-1).cumsum(2)  # [B, S, H]
        side = _side(context[..., 1])
        reached = ((hand - MIDDLE_PX) * side[:, None, None] >= 17).int().cummax(2).values.bool()
        out = reached & ((hand - MIDDLE_PX).abs() < 12)
        return torch.stack([hand, torch.where(out, hand, -1.0)], -1)[..., None, :]

    def distance(self, latents, goal, kind="auto"):
        return (latents - goal).square().mean((-1, -2))

    def goal_cost(self, context, goal, steps="all", kind="auto"):
        return lambda actions: self.distance(self.imagine(context, actions)[:, :, -1], goal[:, None])


def _side(seen):
    """-1 where the object was seen moving to the left, 1 to the right, 0 where it was not: [B, T] -> [B]."""
    sides = []
    for row in seen:
        places = row[row >= 0]
        sides.append(0.0 if len(places) < 2 else float(torch.sign(places[-1] - places[0])))
    return torch.tensor(sides)


def plan_of(model, context: int, number: int, pairs: PairSet):
    """The states of an episode that is planned once, and its actions."""
    cases = Cases((number,), pairs.starts[[number]], pairs.goals_array[[number]])
    planning = Planning(CEMConfig(horizon=6, samples=40, elites=5, iterations=3), 12, "last", 12, context)
    evaluation = Evaluation(ENV, {}, TASK, pairs, SPACE, planning, model, {}, CPU)
    environments = Environments(ENV, {}, TASK, cases, 0)
    episodes = run_episodes(environments, evaluation.policy("model", cases, 0), 12, 1)
    environments.close()
    return episodes


def test_a_planner_without_memory_makes_the_same_plan_for_both_of_a_pair():
    """Bit for bit, whatever its weights."""
    pairs, model = pairs_of(4), acting()
    for first in (0, 2):
        one, other = (plan_of(model, 1, number, pairs).actions for number in (first, first + 1))
        assert one.tobytes() == other.tobytes()
        assert np.abs(one).max() > 1


TRIP = [-4.5] * 5 + [4.5] * 5 + [0.0] * 2


class CheaperTrip:
    """Executes one of two trips, behind the left screen and back or behind the right one: that which costs the model less."""

    def __init__(self, costs: ModelCosts) -> None:
        self.context, self._costs = costs.context, costs

    def act(self, history):
        if history.step == 0:
            trips = torch.tensor([TRIP, [-action for action in TRIP]])
            costs = self._costs.cost(history)(trips.reshape(1, 2, 6, 2).expand(len(history.states), -1, -1, -1))
            self._chosen = trips[costs.argmin(1)].numpy()
        return self._chosen[:, history.step, None]

    def spent(self):
        return Spent()


@pytest.mark.parametrize(("context", "solved"), [(8, 2), (1, 1)])
def test_a_model_that_remembers_solves_both_of_each_pair_and_without_its_past_one(context, solved):
    pairs, model = pairs_of(8), RememberingModel()
    environments = Environments(ENV, {}, TASK, Cases(tuple(range(8)), pairs.starts, pairs.goals_array), 0)
    goal = torch.from_numpy(np.stack([draw(goal) for goal in pairs.goals_array]))[:, None]
    costs = ModelCosts(model, model.encode(goal)[:, -1], context, "last", 100)
    episodes = run_episodes(environments, CheaperTrip(costs), 12, 1)
    environments.close()
    reached = np.abs(episodes.states[:, -1, OBJECT] - MIDDLE_PX) < SUCCESS_PX
    assert reached.reshape(-1, 2).sum(1).tolist() == [solved] * 4


def test_the_lead_in_is_seen_and_does_not_count():
    pairs = pairs_of(2)
    seen = []

    class Looks:
        context = 20

        def act(self, history):
            seen.append((len(history.pictures), len(history.actions), history.step))
            return np.full((2, 1), 1.0)

        def spent(self):
            return Spent()

    environments = Environments(ENV, {}, TASK, Cases((0, 1), pairs.starts, pairs.goals_array), 0)
    episodes = run_episodes(environments, Looks(), 3, 1)
    environments.close()
    assert seen == [(9, 8, 0), (10, 9, 1), (11, 10, 2)]
    assert LEAD_IN_STEPS == 8
    assert episodes.actions.shape == (2, 3, 1)
    assert episodes.states[:, 0, 0].tolist() == [32, 32]
    assert (np.abs(episodes.states[:, 0, OBJECT] - MIDDLE_PX) > 15).all()  # already behind the screens


def test_permanence_is_one_half_exactly_without_memory_and_one_with_it():
    pairs, model = pairs_of(6), RememberingModel()
    videos = matched_videos(ENV, {}, TASK, pairs, model)
    assert videos.seen.shape == (6, 2, 5, 64, 64, 3)
    assert np.array_equal(videos.seen[:, 0, -1], videos.seen[:, 1, -1])
    assert videos.outcome.shape == (6, 2, 6, 64, 64, 3)
    with_memory = permanence(surprises(model, videos, 5, CPU))
    without = permanence(surprises(model, videos, 1, CPU))
    assert with_memory["accuracy"]["value"] == 1
    assert with_memory["effect"]["value"] > 0.3
    assert without["accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert abs(without["effect"]["value"]) < 1e-6
    of_random_weights = surprises(acting(), videos, 1, CPU)
    assert permanence(of_random_weights)["accuracy"]["value"] == 0.5
    assert np.array_equal(of_random_weights[:, 0], of_random_weights[:, 1])  # one frame: the past makes no difference
    assert not np.allclose(*surprises(acting(), videos, 5, CPU).swapaxes(0, 1), rtol=1e-5)
    numbers = offline_numbers({"permanence": {"5": with_memory, "1": without}})  # of a checkpoint
    assert numbers == {"permanence, 5 frames": 1.0, "permanence, 1 frame": 0.5}
    note = permanence_note({"5": with_memory, "1": without})
    assert "100.0 % [100.0, 100.0] with 5 frames, 50.0 % [50.0, 50.0] with 1 frame of 6 quadruplets" in note


def test_pairs_have_both_members_and_share_a_split(tmp_path):
    arguments = ["--env", ENV, "--episodes", "12", "--val", "0.3", "--test", "0.3", "--workers", "1", "--out", str(tmp_path)]
    assert data_prep(["collect", *arguments]) == 0
    made = make_environment(ENV)
    manifest = str(tmp_path / "episodes.parquet")
    pairs = choose_pairs(manifest, "test", made, ENV, TASK, 9, "own", 0, 0)
    assert len(pairs.pairs) == 8  # whole matched pairs alone
    for one, other in zip(pairs.pairs[::2], pairs.pairs[1::2], strict=True):
        assert one.goal == other.goal
        assert one.start[1] == other.start[1]
        assert one.start[2] < MIDDLE_PX < other.start[2]
    write_pairs(tmp_path / "pairs.json", pairs)
    assert read_pairs(tmp_path / "pairs.json", ENV) == pairs
    with pytest.raises(EvalError, match="give --goals own"):
        choose_pairs(manifest, "test", made, ENV, TASK, 9, "later", 5, 0)
    made.close()


def test_pieces_of_work_do_not_split_a_matched_pair(tmp_path, monkeypatch):
    pieces: list[range] = []
    monkeypatch.setattr(evaluation, "compute_pieces", lambda _what, found, *_: pieces.extend(found) or [])
    pairs, plans = pairs_of(52), Planning(CEMConfig(horizon=6), 12, "last", 12, 1)

    def found(pairs: PairSet) -> list[int]:
        pieces.clear()
        it = Evaluation(ENV, {}, TASK, pairs, SPACE, plans, None, {}, CPU)
        run_policies(it, ["nothing"], [0], tmp_path, PartialState())
        assert [number for piece in pieces for number in piece] == list(range(52))
        return [len(piece) for piece in pieces]

    monkeypatch.setattr(evaluation.Episodes, "join", lambda some: some)
    assert found(pairs) == [24, 24, 4]
    assert found(replace(pairs, members=1)) == [25, 25, 2]


def test_variations_keep_whole_matched_pairs(tmp_path, monkeypatch):
    pairs, asked = pairs_of(6), []
    plans = Planning(CEMConfig(horizon=6), 12, "last", 12, 1)
    request = SimpleNamespace(env=ENV, env_options={}, task=None)
    starts = np.repeat(pairs.starts[:4, None], 2, 1)

    def run_policies(changed: Evaluation, *_):
        asked.append(changed.pairs.pairs)
        return {"model": [SimpleNamespace(states=starts, length=np.ones(4, np.int64))]}

    monkeypatch.setattr(run, "run_policies", run_policies)
    monkeypatch.setattr(run, "_can_start", lambda _env, _options, _task, pair: pair != pairs.pairs[4])
    rows = run._variations(request, [Evaluation(ENV, {}, TASK, pairs, SPACE, plans, None, {}, CPU)], tmp_path, None)
    assert [row["factor"] for row in rows] == ["none", *(it.factor for it in TASK.variations)]
    assert asked == [pairs.pairs[:4]] * len(rows)
    assert {(row["scores"]["moderate"]["n"], row["scores"]["moderate"]["episodes"]) for row in rows} == {(2, 4)}


def test_the_unchanged_environment_is_scored_on_the_pairs_that_a_variation_has(tmp_path, monkeypatch):
    """Pairs 0 and 1 fail, and the others succeed. With a changed environment, pairs 0 and 1 cannot start."""
    pairs = pairs_of(6)
    plans = Planning(CEMConfig(horizon=6), 12, "last", 12, 1)

    class Varied(HiddenObjectTask):
        variations = (Variation("screen", "wider", {"wider": True}), Variation("colour", "red", {"red": True}))

    def run_policies(changed: Evaluation, *_):
        at_goal = np.repeat(changed.pairs.starts[:, None], 2, 1)
        for number, pair in enumerate(changed.pairs.pairs):
            at_goal[number, 1, OBJECT] = 0.0 if pair in pairs.pairs[:2] else MIDDLE_PX
        return {"model": [SimpleNamespace(states=at_goal, length=np.ones(len(at_goal), np.int64))]}

    monkeypatch.setattr(run, "run_policies", run_policies)
    monkeypatch.setattr(run, "find_task", lambda *_: TASK)
    monkeypatch.setattr(run, "_can_start", lambda _env, options, _task, it: "wider" not in options or it not in pairs.pairs[:2])
    request = SimpleNamespace(env=ENV, env_options={}, task=None)
    rows = run._variations(request, [Evaluation(ENV, {}, Varied(), pairs, SPACE, plans, None, {}, CPU)], tmp_path, None)
    found = [(row["factor"], row["label"], row["scores"]["moderate"]["value"], row["scores"]["moderate"]["n"]) for row in rows]
    assert found == [
        ("none", "as trained", pytest.approx(2 / 3), 3),
        ("screen", "wider", 1.0, 2),
        ("none", "as trained, the pairs of screen wider", 1.0, 2),
        ("colour", "red", pytest.approx(2 / 3), 3),
    ]


def test_half_of_a_matched_pair_in_a_file_is_refused(tmp_path):
    pairs = pairs_of(4)
    write_pairs(tmp_path / "pairs.json", replace(pairs, pairs=pairs.pairs[:3]))
    with pytest.raises(EvalError, match="3 pairs are no whole number of matched pairs of 2"):
        read_pairs(tmp_path / "pairs.json", ENV)


def test_random_numbers_of_planners_are_shared_by_a_matched_pair():
    pairs = pairs_of(4)
    planning = Planning(CEMConfig(horizon=6, samples=20, elites=4, iterations=2), 12, "last", 12, 1)
    evaluation = Evaluation(ENV, {}, TASK, pairs, SPACE, planning, acting(), {}, CPU)
    policy = evaluation.policy("random", evaluation.cases(range(4)), 0)
    drawn = [rng.random() for rng in policy._rngs]
    assert drawn[0] == drawn[1] != drawn[2] == drawn[3]
    assert isinstance(evaluation.policy("model", evaluation.cases([0]), 0), PlanningPolicy)
