"""Pairs whose episodes a model was trained on are left out, and environments are evaluated with the options of the episodes."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from data_prep.__main__ import main as data_prep
from data_prep.environments.making import make_environment
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.__main__ import main
from eval.errors import EvalError
from eval.planning import run as plan_run
from eval.planning.held_out import without_trained_on
from eval.planning.models import NamedModel
from eval.planning.pairs import Pair, PairSet, choose_pairs
from tests.support.made_action_model import PositionModel
from worldmodel.manifest import Manifest, write_manifest
from worldmodel.signals import read_signals

SMALL = ["--samples", "4", "--elites", "2", "--iterations", "1", "--horizon", "4", "--executed", "4", "--budget", "4"]
OPTIONS = {"speed": 1.5}


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("episodes")
    arguments = ["--env", "TwoRooms-v0", "--episodes", "16", "--steps", "20", "--val", "0.2", "--test", "0.4"]
    arguments += ["--env-options", json.dumps(OPTIONS)]
    assert data_prep(["collect", *arguments, "--workers", "1", "--out", str(folder)]) == 0
    return folder / "episodes.parquet"


def with_splits_exchanged(path, to):
    """The same episodes; those of train are of test and the other way round. Clip ids of a transcoded copy would differ."""
    manifest = Manifest.open(path)
    clips = [manifest.clip(row) for row in range(len(manifest))]
    exchanged = {"train": "test", "test": "train", "val": "val"}
    clips = [replace(clip, split=exchanged[clip.split], clip_id=f"{number:016x}") for number, clip in enumerate(clips)]
    write_manifest(to, clips, command="test", config={})
    return to


def pairs_of(path, goals, split="test"):
    made = make_environment("TwoRooms-v0", OPTIONS)
    found = choose_pairs(str(path), split, made, "TwoRooms-v0", TwoRoomsTask(**OPTIONS), 3, goals, 10, 0)
    made.close()
    return found


@pytest.mark.parametrize("goals", ["own", "later"])
def test_pairs_of_training_episodes_are_found_by_clip_or_by_state(episodes, tmp_path, goals):
    manifest, other = Manifest.open(episodes), with_splits_exchanged(episodes, tmp_path / "other.parquet")
    held_out, trained = pairs_of(episodes, goals), pairs_of(episodes, goals, split="train")
    assert without_trained_on(held_out, [manifest]) == held_out
    for pairs in (trained, pairs_of(other, goals)):  # the other one has other clip ids
        with pytest.raises(EvalError, match=r"pairs are from episodes that a model was trained on \(split train of "):
            without_trained_on(pairs, [manifest])
    both = replace(held_out, pairs=(*held_out.pairs, *trained.pairs))
    found = without_trained_on(both, [manifest])
    assert found.pairs == held_out.pairs
    assert found.removed_trained_on == len(trained.pairs)
    assert without_trained_on(both, []) == both


def test_a_pair_that_the_environment_draws_is_compared_by_its_start(episodes):
    manifest = Manifest.open(episodes)
    start = read_signals(manifest.clip(int(manifest.rows("train")[0])).signals).states[0]
    goal = start + np.array([10.0, 10.0, 0.0, 0.0])  # no state of that episode
    drawn = [Pair(tuple(some.tolist()), tuple(goal.tolist()), "", 0) for some in (start, start + 1e-3)]
    pairs = PairSet("TwoRooms-v0", "m", "test", "own", None, 0, 0, tuple(drawn))
    assert without_trained_on(pairs, [manifest]).pairs == pairs.pairs[1:]
    later = replace(pairs, goals="later")
    assert without_trained_on(later, [manifest]) == later  # start and goal are not of one episode


def test_a_matched_pair_is_left_out_as_a_whole(episodes):
    manifest = Manifest.open(episodes)
    trained, held_out = (manifest.clip(int(manifest.rows(split)[0])).clip_id for split in ("train", "test"))
    pairs = [Pair((float(number),), (0.0,), name, 0) for number, name in enumerate([trained, held_out, held_out, held_out])]
    found = without_trained_on(PairSet("E", "m", "test", "own", None, 0, 0, tuple(pairs), 2), [manifest])
    assert (found.pairs, found.removed_trained_on) == (tuple(pairs[2:]), 2)


@pytest.fixture
def plan(monkeypatch, episodes):
    """Run the command with the made model, which was trained on `episodes`."""

    def models(specs, device):
        return [NamedModel(spec, PositionModel(), "0" * 16, 1, str(episodes)) for spec in specs]

    monkeypatch.setattr(plan_run, "open_models", models)
    shared = ["--model", "made", "--env", "TwoRooms-v0", *SMALL, "--seeds", "1", "--policies", "model", "--no-offline"]
    return lambda *more: main(["plan", *shared, *map(str, more)])


def test_the_command_counts_pairs_of_training_episodes_and_refuses_if_none_is_left(plan, episodes, tmp_path, capfd):
    other = with_splits_exchanged(episodes, tmp_path / "other.parquet")
    later = ["--goals", "later", "--goal-steps", "10", "--count", "3"]
    assert plan("--data", other, *later, "--out", tmp_path / "none") == 2
    error = capfd.readouterr().err
    assert "pairs are from episodes that a model was trained on" in error
    assert "Traceback" not in error
    train, test = (pairs_of(episodes, "later", split) for split in ("train", "test"))
    content = {"format": 1, **vars(replace(test, pairs=()))}
    content["pairs"] = [vars(pair) for pair in (*train.pairs, *test.pairs)]
    (tmp_path / "pairs.json").write_text(json.dumps(content))
    assert plan("--pairs", tmp_path / "pairs.json", "--out", tmp_path / "some") == 0
    found = json.loads((tmp_path / "some" / "plan.json").read_text())
    assert (found["pairs"]["count"], found["pairs"]["removed_trained_on"]) == (len(test.pairs), len(train.pairs))
    note = f"{len(train.pairs)} pairs are not used, because a model was trained on their episodes"
    for text in (capfd.readouterr().out, (tmp_path / "some" / "plan.md").read_text(), found["notes"]):
        assert note in text


def test_environments_have_the_options_of_the_episodes_unless_others_are_given(plan, tmp_path, capfd):
    later = ["--goals", "later", "--goal-steps", "10", "--count", "2"]
    assert plan(*later, "--out", tmp_path / "recorded") == 0
    found = json.loads((tmp_path / "recorded" / "plan.json").read_text())
    assert found["environment"]["options"] == OPTIONS
    assert 'the options of the environment are those of the recorded episodes: {"speed": 1.5}' in found["notes"]
    capfd.readouterr()
    assert plan(*later, "--env-options", '{"speed": 2.0}', "--out", tmp_path / "given") == 0
    assert json.loads((tmp_path / "given" / "plan.json").read_text())["environment"]["options"] == {"speed": 2.0}
    shown = capfd.readouterr().out
    assert '--env-options {"speed": 2.0} differ from those of the recorded episodes, {"speed": 1.5}' in shown
    assert plan(*later, "--env-options", "{}", "--out", tmp_path / "default") == 0
    assert json.loads((tmp_path / "default" / "plan.json").read_text())["environment"]["options"] == {}
