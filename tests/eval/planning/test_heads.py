"""Behaviour cloning and inverse dynamics: on which data they are trained, and what they are told."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")

from data_prep.__main__ import main as data_prep
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.planning.episodes import History
from eval.planning.evaluation import Evaluation, Planning
from eval.planning.heads import data as head_data
from eval.planning.heads import training
from eval.planning.heads.data import read_head_data
from eval.planning.heads.note import heads_note
from eval.planning.heads.training import fit_head
from eval.planning.pairs import Pair, PairSet
from tests.support.made_action_model import PositionModel
from worldmodel.manifest import Manifest
from worldmodel.planning import ActionSpace, CEMConfig
from worldmodel.signals import read_signals

CPU = torch.device("cpu")
EPISODES, STEPS, BLOCK = 8, 12, 3


class Blocked(PositionModel):
    """Three recorded actions in a planned step, as in Push-T there are five."""

    actions_per_step, action_size = BLOCK, 2 * BLOCK


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("episodes")
    arguments = ["--env", "TwoRooms-v0", "--episodes", str(EPISODES), "--steps", str(STEPS), "--val", "0", "--test", "0"]
    assert data_prep(["collect", *arguments, "--workers", "1", "--out", str(folder)]) == 0
    return Manifest.open(folder / "episodes.parquet")


def test_heads_are_trained_on_every_window_of_every_training_episode(manifest):
    read = read_head_data(Blocked(), manifest, "train", CPU)
    found = read.trajectories
    starts = STEPS + 1 - BLOCK  # an episode has a frame more than actions; a planned step may begin at each of these
    assert found.windows == EPISODES * starts
    assert read.fraction == 1
    assert len(set(found.episode.tolist())) == EPISODES
    # every recorded block of three actions is there, in whatever order of episodes
    recorded = []
    for row in manifest.rows("train"):
        actions = read_signals(manifest.clip(int(row)).signals).actions
        recorded += [actions[at : at + BLOCK].reshape(-1) for at in range(starts)]
    taken = found.has_actions(np.ones(len(found.lengths), np.bool_))
    ours = found.actions[taken].double().numpy()
    np.testing.assert_allclose(np.sort(ours, 0), np.sort(np.float32(recorded), 0), atol=1e-6)


def test_a_window_has_the_frame_before_its_actions(manifest):
    """In Two Rooms the dot moves by its actions, unless it touches a wall."""
    found = read_head_data(Blocked(), manifest, "train", CPU).trajectories
    taken = found.has_actions(np.ones(len(found.lengths), np.bool_)).nonzero()[:, 0]
    moved = found.features[taken + 1] - found.features[taken]
    planned = found.actions[taken].reshape(-1, BLOCK, 2).sum(1)
    assert float((moved - planned).abs().median()) < 0.2  # px


def test_beyond_the_limit_a_random_part_is_taken_and_its_fraction_told(manifest, monkeypatch):
    monkeypatch.setattr(head_data, "MAX_FRAMES", 40)
    found = read_head_data(Blocked(), manifest, "train", CPU)
    longest = -(-(STEPS + 1) // BLOCK)
    assert len(found.trajectories.features) < 40 + BLOCK * longest  # the limit, and at most the rest of one episode
    assert 0 < found.fraction < 0.6
    assert len(set(found.trajectories.episode.tolist())) > 2  # of many episodes, not all windows of a few
    monkeypatch.setattr(training, "UPDATES", 5)
    note = heads_note([{"model": "m", "heads": {"cloning": fit_head(found, told_steps=False).training}}])
    assert f"{100 * found.fraction:.1f} % of the windows of train, chosen at random, because at most" in note


class Asked:
    """A head that writes down the steps left."""

    def __init__(self) -> None:
        self.left: list[float] = []

    def __call__(self, now, goal, steps_left):
        self.left.append(steps_left)
        return torch.zeros(len(now), 2 * BLOCK)


def frames_of(count: int) -> np.ndarray:
    pictures = np.zeros((count, 65, 65, 3), np.uint8)
    pictures[:, 32, 20, 0] = 255
    return pictures


def steps_told(goal_steps: int | None, budget: int) -> list[float]:
    """What the policy of inverse dynamics tells its head in an episode of 18 steps."""
    head = Asked()
    start, goal = (20.0, 30.0, 32.0, 50.0), (24.0, 30.0, 32.0, 50.0)
    pairs = PairSet(
        "TwoRooms-v0", "m", "test", "later" if goal_steps else "own", goal_steps, 0, 0, (Pair(start, goal, "a", 0),)
    )
    space = ActionSpace.ball(2, 2.45, block=BLOCK)
    planning = Planning(CEMConfig(horizon=2), BLOCK, "all", budget, 1)
    heads = {"inverse": SimpleNamespace(head=head)}
    it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), pairs, space, planning, Blocked(), heads, CPU)
    policy = it.policy("inverse", it.cases([0]), 0)
    for step in range(18):
        policy.act(History(step, np.zeros((1, 4)), (frames_of(1),), ()))
    return head.left


def test_inverse_dynamics_is_told_the_steps_to_the_goal_not_those_of_the_budget():
    """A goal 9 recorded steps away is 3, 2 and 1 planned steps away; beyond it, the least that was trained is told."""
    assert steps_told(9, 30) == [3, 2, 1, 1, 1, 1]
    assert steps_told(None, 30) == [10, 9, 8, 7, 6, 5]  # it is not known when the goal can be reached


def test_each_model_has_untrained_networks_of_its_own():
    seeds = []

    class Seeds(PositionModel):
        def untrained(self, seed):
            seeds.append(seed)
            return self

    pairs = PairSet("TwoRooms-v0", "m", "test", "own", None, 0, 0, (Pair((20.0, 30, 32, 50), (44.0, 30, 32, 50), "0", 0),))
    space, planning = ActionSpace.ball(2, 2.45), Planning(CEMConfig(horizon=2), 1, "all", 4, 1)
    for number in range(3):
        it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), pairs, space, planning, Seeds(), {}, CPU, number)
        for seed in range(3):
            it.policy("untrained", it.cases([0]), seed)
    assert len(set(seeds)) == 9
    assert seeds[:3] == [0, 1, 2]  # those of a single model have not changed
