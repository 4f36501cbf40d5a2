"""`python -m eval plan` from recorded episodes to the page, and its errors."""

import json

import numpy as np
import pytest

pytest.importorskip("gymnasium")
import gymnasium

from data_prep.__main__ import main as data_prep
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.__main__ import main
from eval.errors import EvalError
from eval.planning import run as plan_run
from eval.planning.episodes import allowed_action
from eval.planning.heads.proposals import recorded_actions
from eval.planning.models import NamedModel
from tests.support.made_action_model import PositionModel
from worldmodel.manifest import Manifest

SMALL = ["--samples", "20", "--elites", "4", "--iterations", "3", "--horizon", "8", "--executed", "8", "--budget", "16"]


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("episodes")
    arguments = ["--env", "TwoRooms-v0", "--episodes", "12", "--steps", "24", "--val", "0.3", "--test", "0.3"]
    assert data_prep(["collect", *arguments, "--workers", "1", "--out", str(folder)]) == 0
    return folder / "episodes.parquet"


@pytest.fixture
def plan(monkeypatch, episodes):
    """Run the command with the made model."""
    monkeypatch.setattr("eval.planning.heads.training.UPDATES", 20)

    def models(specs, device):
        return [NamedModel(spec, PositionModel(), "0" * 16, 1, str(episodes)) for spec in specs]

    monkeypatch.setattr(plan_run, "open_models", models)
    return lambda *more: main(["plan", "--env", "TwoRooms-v0", *SMALL, *map(str, more)])


def test_a_good_model_reaches_near_goals_and_its_controls_do_not(plan, episodes, tmp_path, monkeypatch):
    monkeypatch.setattr(TwoRoomsTask, "variations", tuple(it for it in TwoRoomsTask.variations if it.factor == "speed"))
    out = tmp_path / "out"
    later = ["--goals", "later", "--goal-steps", "10", "--count", "6", "--seeds", "1"]
    assert plan("--model", "made", *later, "--out", out, "--variations") == 0
    found = json.loads((out / "plan.json").read_text())
    value = {name: it["scores"]["moderate"]["value"] for name, it in found["policies"].items()}
    assert value["model"] >= 0.5  # walls are in the way of some goals, and the model knows none
    assert value["model"] > max(value["untrained"], value["nothing"], value["random"])
    assert value["oracle_to_go"] >= value["model"]
    assert found["policies"]["untrained"]["model_minus"]["moderate"]["value"] > 0
    assert found["policies"]["model"]["cost"]["plans"] == 2
    assert found["policies"]["model"]["cost"]["predicted_steps_per_plan"] == (3 * 20 + 1) * 8
    assert [row["factor"] for row in found["variations"]] == ["none", "speed", "speed"]
    cloning = found["heads"][0]["heads"]["cloning"]
    train = len(Manifest.open(episodes).rows("train"))
    assert (cloning["fraction"], cloning["episodes"] + cloning["episodes_held_out"]) == (1, train)
    assert cloning["windows"] + cloning["windows_held_out"] == 24 * train  # 24 actions in each episode
    page = (out / "report.html").read_text()
    for text in (page, (out / "plan.md").read_text()):
        assert f"were trained on {cloning['windows']} windows of {cloning['episodes']} episodes of train" in text
    assert 'src="http' not in page  # it opens offline
    assert "imagined" in page
    assert not (out / "parts").exists()
    with np.load(out / "episodes.npz") as arrays:
        assert arrays["model/0/states"].shape == (6, 17, 4)
    # the pairs can be given again, and give the same numbers, also in other batches and without the other policies
    again = tmp_path / "again"
    policies = ["--policies", "model,oracle_to_go", "--no-offline"]
    assert plan("--model", "made", "--pairs", out / "pairs.json", "--seeds", 1, *policies, "--out", again) == 0
    second = json.loads((again / "plan.json").read_text())
    assert second["policies"]["model"]["scores"] == found["policies"]["model"]["scores"]
    assert second["pairs"] == found["pairs"]


def test_searches_begin_from_plans_of_inverse_dynamics_and_end_at_a_fixed_time(plan, tmp_path, capfd):
    """Proposals are told in the table, and need a model."""
    chosen = ["--count", 3, "--seeds", 1, "--no-offline", "--proposals", "inverse", "--shrinking-horizon", "--executed", 4]
    assert plan("--model", "made", *chosen, "--policies", "model,oracle,untrained", "--out", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert (found["protocol"]["proposals"], found["protocol"]["shrinking_horizon"]) == ("inverse", True)
    assert [*found["heads"][0]["heads"]] == ["proposals"]
    assert any("Inverse dynamics, whose plans are proposed, was trained on" in note for note in found["notes"])
    # plans of 8, 4, 8 and 4 steps; 3 iterations of 20 sequences, and the mean, and the proposals
    steps = {name: it["cost"]["predicted_steps_per_plan"] for name, it in found["policies"].items()}
    assert steps["model"] == steps["oracle"] == steps["untrained"] > (3 * 20 + 1) * 6
    table = (tmp_path / "out" / "plan.md").read_text()
    for text in (table, (tmp_path / "out" / "report.html").read_text()):
        assert "Plans of inverse dynamics are candidates of every search." in text
        assert "Plans end where the first one ends, so later ones are shorter." in text
    baselines = ["--data", str(tmp_path / "none.parquet"), "--policies", "oracle", "--out", tmp_path / "alone"]
    capfd.readouterr()
    assert plan("--data", found["pairs"]["source"], *chosen, *baselines[2:]) == 2
    assert "--proposals inverse are plans of a model; give --model" in capfd.readouterr().err
    few = ["--proposal-count", 30]
    assert plan("--data", found["pairs"]["source"], *chosen, *baselines[2:], *few) == 2
    assert "--proposal-count 30 is for --proposals recorded, not inverse" in capfd.readouterr().err
    recorded = ["--proposals", "recorded", *few, "--horizon", 4]  # 24 actions in each episode
    assert plan("--data", found["pairs"]["source"], *chosen, *baselines[2:], *recorded) == 0
    assert "30 parts of recorded episodes are candidates of every search." in (tmp_path / "alone" / "plan.md").read_text()
    cost = json.loads((tmp_path / "alone" / "plan.json").read_text())["policies"]["oracle"]["cost"]
    assert cost["predicted_steps_per_plan"] == (3 * 20 + 1 + 30) * 4  # the mean competes too; plans have 4 steps
    with pytest.raises(EvalError, match=r"episodes\.parquet has no episode in split 'ood'"):
        recorded_actions(Manifest.open(found["pairs"]["source"]), "ood")


def test_an_interrupted_evaluation_resumes_with_the_same_numbers(plan, tmp_path, monkeypatch):
    arguments = ["--model", "made", "--count", 3, "--seeds", 1, "--policies", "model,random", "--no-offline"]
    monkeypatch.setattr("eval.planning.evaluation.BATCH", 1)
    assert plan(*arguments, "--out", tmp_path / "whole") == 0
    calls = []
    original = plan_run.run_policies

    def interrupted(*given):
        calls.append(given)
        found = original(given[0], ["model"], *given[2:])
        assert found
        raise KeyboardInterrupt

    monkeypatch.setattr(plan_run, "run_policies", interrupted)
    assert plan(*arguments, "--out", tmp_path / "halves") != 0
    parts = sorted((tmp_path / "halves" / "parts").rglob("*.npz"))
    assert len(parts) == 3
    written = [part.stat().st_mtime_ns for part in parts]
    monkeypatch.setattr(plan_run, "run_policies", lambda *given: _same(original(*given), parts, written))
    assert plan(*arguments, "--out", tmp_path / "halves") == 0
    scores = [json.loads((tmp_path / name / "plan.json").read_text())["policies"] for name in ("whole", "halves")]
    for policy in ("model", "random"):
        assert scores[0][policy]["scores"] == scores[1][policy]["scores"]


def test_the_gradient_planner_runs_without_oracles_and_says_why(plan, tmp_path, capfd):
    arguments = ["--model", "made", "--planner", "gradient", "--count", 2, "--seeds", 1, "--no-offline"]
    assert plan(*arguments, "--policies", "oracle", "--out", tmp_path / "oracle") == 2
    assert "the copy of the environment has no gradient" in capfd.readouterr().err
    assert plan(*arguments, "--context", 1, "--out", tmp_path / "all") == 0
    found = json.loads((tmp_path / "all" / "plan.json").read_text())
    assert "model" in found["policies"]
    assert not {"oracle", "oracle_to_go", "shuffled", "memoryless"} & {*found["policies"]}
    assert sum("left out" in note for note in found["notes"]) == 4
    assert "oracle, distance is left out: the copy of the environment has no gradient" in capfd.readouterr().out


def _same(found, parts, written):
    assert [part.stat().st_mtime_ns for part in parts] == written  # not computed again
    return found


def test_pairs_that_are_too_few_are_drawn_from_the_same_split(plan, episodes, tmp_path):
    arguments = ["--data", episodes, "--count", 30, "--policies", "nothing,scripted", "--seeds", 1, "--out", tmp_path / "out"]
    assert plan(*arguments) == 0
    pairs = json.loads((tmp_path / "out" / "pairs.json").read_text())["pairs"]
    assert len(pairs) == 30
    from worldmodel.signals import read_signals

    manifest = Manifest.open(episodes)
    trained = {tuple(read_signals(manifest.clip(int(row)).signals).states[0, 2:]) for row in manifest.rows("train")}
    assert not trained & {tuple(pair["start"][2:]) for pair in pairs}  # no wall of the train split


class Short(gymnasium.Env):
    """Two Rooms whose episodes end after three steps, and whose reset ignores the state."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float64)
    observation_space = gymnasium.spaces.Box(0.0, 65.0, (4,), np.float64)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        return np.array([10.0, 10.0, 32.0, 20.0]), {}

    def step(self, action):
        return np.array([10.0, 10.0, 32.0, 20.0]), 0.0, True, False, {}

    def render(self):
        return np.zeros((8, 8, 3), np.uint8)


class Blind(Short):
    metadata = {"render_modes": ["human"]}  # noqa: RUF012


def test_errors_are_one_line(plan, episodes, tmp_path, capfd, monkeypatch):
    for name, made in (("Short-v0", Short), ("Blind-v0", Blind)):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=made)
    task = ["--task", "data_prep.environments.two_rooms.task:TwoRoomsTask"]
    data = ["--data", episodes, "--goals", "later", "--goal-steps", "10"]
    cases = [
        (["--env", "Nothing-v0", *task], "Nothing-v0: unknown environment"),
        (["--env", "Short-v0"], "no goal can be set, because its task is not known (there is one for TwoRooms-v0"),
        (["--env", "Blind-v0", *task], "renders no rgb_array (its render modes: human)"),
        (["--env", "Short-v0", *task], "its states cannot be set, so no episode can begin at a chosen start"),
        ([], "--data is missing"),
        (["--model", "made", "--executed", "9"], "--executed 9 is more than a plan has: 8 actions"),
        (["--policies", "luck"], "--policies luck: there are nothing, random"),
    ]
    for number, (more, message) in enumerate(cases):
        arguments = [*more] if message.startswith("--data is") else [*data, *more]
        assert plan(*arguments, "--out", tmp_path / str(number)) == 2
        error = capfd.readouterr().err
        assert message in error
        assert "Traceback" not in error
    wide = type("Wide", (PositionModel,), {"action_size": 6, "actions_per_step": 2})
    monkeypatch.setattr(plan_run, "open_models", lambda *_: [NamedModel("wide", wide(), "0" * 16, 1, str(episodes))])
    assert plan(*data, "--model", "wide", "--out", tmp_path / "wide") == 2
    assert "was trained with actions of 3 numbers, and TwoRooms-v0 has 2" in capfd.readouterr().err


class Early(Short):
    """Stands at any state, and ends after its first step."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)

    def reset(self, *, seed=None, options=None):
        self.state = np.asarray(options["state"] if options else [10.0, 10.0, 32.0, 20.0])
        return self.state, {}

    def step(self, action):
        return self.state, 0.0, True, False, {}


class Stubborn(Early):
    """Knows no states."""

    def reset(self, *, seed=None, options=None):
        if options:
            raise KeyError("no such option")
        return super().reset(seed=seed)


def test_episodes_that_end_early_are_counted_and_a_goal_that_cannot_be_set_is_one_line(plan, episodes, tmp_path, capfd):
    for name, made in (("Early-v0", Early), ("Stubborn-v0", Stubborn)):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=made)
    arguments = ["--task", "data_prep.environments.two_rooms.task:TwoRoomsTask", "--data", episodes, "--goals", "later"]
    arguments += ["--goal-steps", "10", "--count", "2", "--seeds", "1", "--policies", "nothing"]
    assert plan("--env", "Early-v0", *arguments, "--out", tmp_path / "early") == 0
    notes = json.loads((tmp_path / "early" / "plan.json").read_text())["notes"]
    assert notes == ["do nothing: 2 episodes ended before the budget; their last state counts"]
    capfd.readouterr()
    assert plan("--env", "Stubborn-v0", *arguments, "--out", tmp_path / "stubborn") == 2
    error = capfd.readouterr().err
    assert "Stubborn-v0: the goal cannot be set (KeyError: 'no such option')" in error
    assert "Traceback" not in error


class Strict(Early):
    """Takes single precision within its bounds alone, like many environments, and does not end."""

    action_space = gymnasium.spaces.Box(np.float32(-0.1), np.float32(0.1), (2,), np.float32)

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.state, 0.0, False, False, {}

    def render(self):
        return np.full((8, 8, 3), 100, np.uint8)


class BreaksInStep(Strict):
    def step(self, action):
        raise RuntimeError("the simulation\nexploded")


class BreaksInRender(Strict):
    def render(self):
        if getattr(self, "moved", False):
            raise RuntimeError("no display")
        return super().render()

    def step(self, action):
        self.moved = True
        return super().step(action)


def test_environments_get_actions_of_their_own_type_within_their_bounds_and_their_errors_are_one_line(
    plan, episodes, tmp_path, capfd
):
    for name, made in (("Strict-v0", Strict), ("BreaksInStep-v0", BreaksInStep), ("BreaksInRender-v0", BreaksInRender)):
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=made)
    arguments = ["--task", "data_prep.environments.two_rooms.task:TwoRoomsTask", "--data", episodes, "--goals", "later"]
    arguments += ["--goal-steps", "10", "--count", "2", "--seeds", "1", "--no-offline", "--model", "made"]
    policies = ["--policies", "model,random,straight"]  # the straight line has longer steps than the bounds allow
    assert plan("--env", "Strict-v0", *arguments, *policies, "--out", tmp_path / "strict") == 0
    capfd.readouterr()
    for name, message in (
        ("BreaksInStep-v0", "BreaksInStep-v0: step failed (RuntimeError: the simulation exploded)"),
        ("BreaksInRender-v0", "BreaksInRender-v0: render failed (RuntimeError: no display)"),
    ):
        assert plan("--env", name, *arguments, "--policies", "model", "--out", tmp_path / name) == 2
        error = capfd.readouterr().err
        assert message in error
        assert "Traceback" not in error


def test_actions_of_whole_numbers_are_rounded_within_the_bounds():
    space = gymnasium.spaces.Box(0, 255, (2,), np.uint8)
    found = allowed_action(space, np.array([-3.0, 254.6]))
    assert found.tolist() == [0, 255]
    assert space.contains(found)


def test_the_table_says_where_doing_nothing_is_the_middle_of_the_bounds(plan, episodes, tmp_path, monkeypatch):
    arguments = ["--data", episodes, "--goals", "later", "--goal-steps", "10", "--count", "2", "--seeds", "1"]
    note = "do nothing: the action in the middle of the bounds, because the task does not name one that keeps the state"
    assert plan(*arguments, "--policies", "nothing", "--out", tmp_path / "named") == 0
    assert note not in (tmp_path / "named" / "plan.md").read_text()
    monkeypatch.delattr(TwoRoomsTask, "still")
    assert plan(*arguments, "--policies", "nothing", "--out", tmp_path / "middle") == 0
    assert note in (tmp_path / "middle" / "plan.md").read_text()
