"""Behaviour cloning and inverse dynamics: on which data they are trained, and what they are told."""

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
from eval.planning.heads.data import HeadData, read_head_data
from eval.planning.heads.note import heads_note
from eval.planning.heads.training import TrainedHead, fit_head
from eval.planning.offline import recorded
from eval.planning.offline.recorded import open_clip
from eval.planning.pairs import Pair, PairSet
from tests.support.made_action_model import PositionModel
from worldmodel.manifest import Manifest
from worldmodel.planning import ActionSpace, CEMConfig, Trajectories
from worldmodel.planning import goal_head_fitting as fitting
from worldmodel.signals import read_signals
from worldmodel.video.geometry import read_square_frames

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
    """A head that writes down the steps left, and the features of now and of the goal."""

    def __init__(self) -> None:
        self.left: list[float] = []
        self.seen: list[tuple[list[float], list[float]]] = []

    def __call__(self, now, goal, steps_left):
        self.left.append(steps_left)
        self.seen.append((now[0, 0].tolist(), goal[0, 0].tolist()))
        return torch.zeros(len(now), 2 * BLOCK)


def picture(x: int) -> np.ndarray:
    found = np.zeros((1, 65, 65, 3), np.uint8)
    found[:, 32, x, 0] = 255
    return found


def asked_in_an_episode(goal_steps: int | None, budget: int, context: int = 1) -> Asked:
    """What the policy of inverse dynamics tells its head in an episode of 18 steps. The dot moves by a px in each step."""
    head = Asked()
    start, goal = (20.0, 30.0, 32.0, 50.0), (24.0, 30.0, 32.0, 50.0)
    pairs = PairSet(
        "TwoRooms-v0", "m", "test", "later" if goal_steps else "own", goal_steps, 0, 0, (Pair(start, goal, "a", 0),)
    )
    space = ActionSpace.ball(2, 2.45, block=BLOCK)
    planning = Planning(CEMConfig(horizon=2), BLOCK, "all", budget, context)
    heads = {"inverse": TrainedHead(head, {"context_frames": context, "told_steps": 4})}
    it = Evaluation("TwoRooms-v0", {}, TwoRoomsTask(), pairs, space, planning, Blocked(), heads, CPU)
    policy = it.policy("inverse", it.cases([0]), 0)
    pictures = [picture(5 + step) for step in range(18)]
    for step in range(18):
        seen = pictures[max(0, step + 1 - policy.context) : step + 1]
        policy.act(History(step, np.zeros((1, 4)), seen, ()))
    return head


def test_inverse_dynamics_is_told_the_steps_to_the_goal_not_those_of_the_budget():
    """A goal 9 recorded steps away is 3, 2 and 1 planned steps away; beyond it, the least that was trained is told."""
    assert asked_in_an_episode(9, 30).left == [3, 2, 1, 1, 1, 1]
    # it is not known when the goal can be reached: the number that was chosen on held-out episodes, or the rest of the budget
    assert asked_in_an_episode(None, 30).left == [4, 4, 4, 4, 4, 4]
    assert asked_in_an_episode(None, 18).left == [4, 4, 4, 3, 2, 1]


def test_heads_see_as_many_frames_as_the_model_and_the_first_one_again_at_the_start():
    seen = asked_in_an_episode(9, 30, context=2).seen
    places = [[row[0], row[2]] for row, _ in seen]  # features of a frame are x and y
    assert places == [[5, 5], [5, 8], [8, 11], [11, 14], [14, 17], [17, 20]]
    assert all(goal == seen[0][1] for _, goal in seen)
    assert seen[0][1][:2] == seen[0][1][2:]


def test_a_head_with_two_frames_learns_what_one_frame_cannot_tell():
    """Positions of bodies that drift evenly, whose action is their drift: to know it, two positions are needed."""
    rng = np.random.default_rng(0)
    drift = rng.choice([-1.0, 1.0], 60)
    starts = rng.uniform(-20, 20, 60)
    features = np.concatenate([start + speed * np.arange(6.0) for start, speed in zip(starts, drift, strict=True)])
    actions = torch.from_numpy(np.repeat(drift, 6)).float()[:, None]
    rows = Trajectories(torch.from_numpy(features).float()[:, None], actions, np.full(60, 6), np.arange(60))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "UPDATES", 300)
        patch.setattr(fitting.Windows, "draw", without_the_goal(fitting.Windows.draw))
        one, two = (fit_head(HeadData(rows, 1.0), False, context).training["held_out_error"] for context in (1, 2))
    assert two < 0.6 * one  # in the first step of an episode, the second frame is the first one again


def without_the_goal(draw):
    """Goals are now, so that they do not tell the drift."""

    def drawn(self, count, rng):
        at, ahead = draw(self, count, rng)
        return at, 0 * ahead

    return drawn


def test_the_steps_that_are_told_without_knowing_them_are_those_of_the_lowest_error(manifest, monkeypatch):
    monkeypatch.setattr(training, "UPDATES", 20)
    data = read_head_data(Blocked(), manifest, "train", CPU)
    errors = {1: 0.5, 2: 0.2, 3: 0.9, 4: 0.9}
    asked = []

    def error(self, head, at, ahead, told):
        asked.append((set(told.tolist()), ahead is told))
        return errors[int(told[0])] if len(set(told.tolist())) == 1 else 1.0

    monkeypatch.setattr(fitting.Windows, "mean_error", error)
    assert fit_head(data, told_steps=True).told_steps == 2
    assert {1, 2, 3} <= {min(told) for told, is_true in asked if not is_true}  # candidates are steps to recorded goals
    assert fit_head(data, told_steps=False).told_steps is None


def test_frames_are_read_in_pieces_and_at_the_size_of_training(manifest, monkeypatch):
    monkeypatch.setattr(recorded, "_READ_BYTES", 1)
    monkeypatch.setattr(recorded, "_ENCODED_AT_ONCE", 4)
    whole = open_clip(Blocked(), manifest, 0)
    sizes = []
    real = recorded.read_frames
    monkeypatch.setattr(recorded, "read_frames", lambda *a, **how: sizes.append(len(how["times_s"])) or real(*a, **how))
    parts = list(recorded.encode_frames(Blocked(), whole, whole.times_s, CPU))
    assert sizes == [4, 4, 4, 1]
    assert [len(part) for part in parts] == sizes
    small = open_clip(Blocked(), manifest, 0, size_px=32).frames(whole.times_s[:2])
    expected = read_square_frames(whole.clip.path, 32, "center_crop", times_s=whole.times_s[:2])
    np.testing.assert_array_equal(small, expected)


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
