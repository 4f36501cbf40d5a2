"""`python -m data_prep collect`: the same bytes however the work is done, exact replay, and errors in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.environments import collection
from worldmodel.manifest import Manifest
from worldmodel.signals import action_blocks, read_signals, states_at
from worldmodel.video import read_frames
from worldmodel.video.packet_index.index_file import PacketIndex, packet_index_path

gymnasium = pytest.importorskip("gymnasium")
from data_prep.environments.two_rooms.environment import TwoRooms  # noqa: E402  needs gymnasium

TWO_ROOMS = "TwoRooms-v0"
MODULE = '''
"""Environments and policies of the tests below."""
import gymnasium, numpy as np
from gymnasium import spaces

class Plain(gymnasium.Env):
    """Counts to 3; its observation is a dict, so that it has no state."""
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    action_space, observation_space = spaces.Discrete(3), spaces.Dict({})
    def __init__(self, render_mode=None, start=0): self.start = start
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed); self.count = self.start; return {}, {}
    def step(self, action): self.count += 1; return {}, 0.0, self.count == 3, False, {}
    def render(self): return np.full((16, 24, 3), 40 * self.count, np.uint8)

class Blind(Plain):
    metadata = {"render_modes": ["human"], "render_fps": 5}

class NoRate(Plain):
    metadata = {"render_modes": ["rgb_array"]}

class Words(Plain):
    action_space = spaces.Text(5)

class Broken(Plain):
    def step(self, action): raise RuntimeError("the simulation\\nexploded")

for kind in (Plain, Blind, NoRate, Words, Broken):
    if f"{kind.__name__}-v0" not in gymnasium.registry:
        gymnasium.register(f"{kind.__name__}-v0", entry_point=kind, max_episode_steps=50)
if "Endless-v0" not in gymnasium.registry:
    gymnasium.register("Endless-v0", entry_point=Plain)

def ones(environment, rng): return lambda observation, info: 1
def nans(environment, rng): return lambda observation, info: np.array([np.nan, 0.0])
number = 3
'''


def collect(folder: Path, *options: str, env: str = TWO_ROOMS, episodes: int = 6, steps: int | None = 12) -> int:
    limit = ["--steps", str(steps)] if steps else []
    return main(
        ["collect", "--env", env, "--episodes", str(episodes), *limit, "--out", str(folder), "--workers", "1", *options]
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*/*")}


def clips_of(folder: Path) -> list:
    manifest = Manifest.open(folder / "episodes.parquet")
    return [manifest.clip(row) for row in range(len(manifest))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "episodes"
    assert collect(folder) == 0
    return folder


@pytest.fixture
def module(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "made_for_test.py").write_text(MODULE)
    (tmp_path / "with_a_bad_import.py").write_text("from gymnasium import no_such_thing\n")
    (tmp_path / "with_a_bad_attribute.py").write_text("import gymnasium\ngymnasium.no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "made_for_test"


def test_any_number_of_workers_records_the_same_bytes(whole, tmp_path):
    assert collect(tmp_path / "two", "--workers", "2") == 0
    assert contents(tmp_path / "two") == contents(whole)
    assert len(contents(whole)) == 12
    assert [vars(clip)["clip_id"] for clip in clips_of(tmp_path / "two")] == [clip.clip_id for clip in clips_of(whole)]


def test_an_index_of_packets_is_written_and_grows_with_the_collection(whole, tmp_path):
    folder = tmp_path / "indexed"
    for episodes in (2, 3):
        assert collect(folder, "--packets", episodes=episodes) == 0
        assert len(PacketIndex(packet_index_path(folder / "episodes.parquet"))) == episodes
    assert contents(folder).items() <= contents(whole).items()


def test_an_interrupted_collection_resumes_and_may_be_made_longer(whole, tmp_path, monkeypatch):
    folder, real, done = tmp_path / "cut", collection.write_episode, []

    def stopped(number, **settings):
        if number == 2 and not done:
            done.append(number)
            raise KeyboardInterrupt
        return real(number, **settings)

    monkeypatch.setattr(collection, "write_episode", stopped)
    assert collect(folder) == 130
    (folder / "collect.jsonl").open("a").write('{"path": "clips/000/0000')  # a line that was cut short
    assert collect(folder, episodes=4) == 0
    assert len(clips_of(folder)) == 4
    assert collect(folder) == 0
    assert contents(folder) == contents(whole)
    assert [clip.split for clip in clips_of(folder)] == [clip.split for clip in clips_of(whole)]


def test_files_that_were_lost_or_damaged_are_recorded_again(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "out")
    before = contents(tmp_path / "out")
    (tmp_path / "out/clips/000/000001.mp4").unlink()
    (tmp_path / "out/signals/000/000003.parquet").unlink()
    (tmp_path / "out/clips/000/000004.mp4").write_bytes(before["clips/000/000004.mp4"][:-200])
    assert collect(tmp_path / "out") == 0
    assert contents(tmp_path / "out") == before
    journal = tmp_path / "out" / "collect.jsonl"
    journal.write_text(journal.read_text().replace('"frames": 13', '"frames": 12', 1))
    (tmp_path / "out/clips/000/000000.mp4").unlink()
    assert collect(tmp_path / "out") == 1
    assert "the files of episode 0 were lost, and recording it again gives another one" in capsys.readouterr().err


def test_videos_show_the_recorded_states_and_reset_stands_there_again(whole):
    for clip in clips_of(whole)[:2]:
        signals = read_signals(clip.signals)
        frames = read_frames(clip.path, times_s=signals.time_s)
        assert frames.shape == (13, 65, 65, 3)
        assert signals.state.names == ("x", "y", "wall_x", "door_y")
        environment = TwoRooms()
        for number in (0, 7, 12):
            environment.reset(options={"state": signals.states[number].tolist()})
            assert np.array_equal(environment.render(), frames[number])


def test_seed_and_recorded_actions_replay_the_episode(whole):
    for clip in clips_of(whole)[:2]:
        signals, environment = read_signals(clip.signals), TwoRooms()
        state, _ = environment.reset(seed=signals.origin["reset"]["seed"])
        states = [state, *(environment.step(action)[0] for action in signals.actions[:-1])]
        np.testing.assert_array_equal(states, signals.states)
        assert np.isnan(signals.actions[-1]).all()


def test_blocks_of_actions_lead_from_frame_to_frame(whole):
    """Every third frame: without contact, the three displacements between two frames sum to their difference."""
    signals = read_signals(clips_of(whole)[0].signals)
    times = signals.time_s[::3]
    blocks, states = action_blocks(signals, times), states_at(signals, times)
    assert blocks.shape == (4, 3, 2)
    difference = np.abs(blocks.sum(1) - np.diff(states[:, :2], axis=0)).max(1)
    assert (difference < 1e-9).sum() >= 2


def test_episodes_with_the_same_wall_have_the_same_split(tmp_path):
    assert collect(tmp_path / "many", "--split-by", "wall_x", "--val", "0.5", episodes=40, steps=1) == 0
    splits: dict[float, set[str]] = {}
    for clip in clips_of(tmp_path / "many"):
        splits.setdefault(float(read_signals(clip.signals).states[0, 2]), set()).add(clip.split)
    assert len(splits) < 40
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) > 1


def test_an_environment_without_state_that_ends_early(module, tmp_path):
    folder = tmp_path / "plain"
    assert collect(folder, "--policy", "made_for_test:ones", env=f"{module}:Plain-v0", episodes=2, steps=None) == 0
    one, other = clips_of(folder)
    assert (one.frames, one.width, one.height, one.fps) == (4, 24, 16, 5)
    assert one.split == other.split  # the first pictures are equal
    signals = read_signals(one.signals)
    assert signals.states.shape == (4, 0)
    assert signals.actions[:-1].tolist() == [[1], [1], [1]]
    assert read_frames(one.path, indices=range(4))[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert collect(tmp_path / "late", "--env-options", '{"start": 1}', env=f"{module}:Plain-v0", episodes=1, steps=None) == 0
    assert clips_of(tmp_path / "late")[0].frames == 3


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("NoSuchThing-v0", [], "NoSuchThing-v0: unknown environment"),
        ("no_such_module:A-v0", [], "no_such_module:A-v0: cannot be made (ModuleNotFoundError: "),
        ("made_for_test:Blind-v0", [], "renders no rgb_array (its render modes: human)"),
        ("made_for_test:NoRate-v0", [], "does not say how many steps a second has (render_fps); give --fps"),
        ("made_for_test:Words-v0", [], "actions are Text; expected Box, Discrete"),
        ("made_for_test:Endless-v0", [], "its episodes have no limit; give --steps"),
        ("made_for_test:Broken-v0", [], "failed: RuntimeError: the simulation exploded; the same command resumes here"),
        ("made_for_test:Plain-v0", ["--env-options", '{"colour": 1}'], "cannot be made (TypeError: "),
        ("made_for_test:Plain-v0", ["--policy", "scripted"], "has no scripted policy (there is one for TwoRooms-v0"),
        ("made_for_test:Plain-v0", ["--policy", "made_for_test:none"], "the module made_for_test has no none"),
        ("made_for_test:Plain-v0", ["--policy", "made_for_test:number"], "is a int; expected a callable (environment, rng)"),
        ("made_for_test:Plain-v0", ["--policy", "nothing_here:a"], "no module 'nothing_here' on Python's path"),
        (
            TWO_ROOMS,
            ["--policy", "with_a_bad_import:a"],
            "with_a_bad_import cannot be imported (ImportError: cannot import",
        ),
        (TWO_ROOMS, ["--policy", "with_a_bad_attribute:a"], "with_a_bad_attribute cannot be imported (AttributeError: module"),
        ("made_for_test:Plain-v0", ["--policy", "best"], "expected random, scripted or module:callable"),
        ("made_for_test:Plain-v0", ["--split-by", "x"], "x is no name of the state of made_for_test:Plain-v0"),
        (TWO_ROOMS, ["--policy", "made_for_test:nans"], "action is array([nan, 0.]); expected 2 finite numbers"),
        (TWO_ROOMS, ["--val", "0.6", "--test", "0.4"], "expected fractions from 0 with a sum below 1"),
    ],
)
def test_errors_are_one_line(module, tmp_path, capfd, env, options, message):
    assert collect(tmp_path / "out", *options, env=env, steps=None) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("data_prep collect: ")]
    assert len(lines) == 1
    assert message in lines[0]


def test_other_settings_and_foreign_files_are_refused(whole, tmp_path, capfd):
    assert collect(whole, "--seed", "1") == 1
    assert "these episodes have other settings (seed is 0 there and 1 now)" in capfd.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "episodes.parquet").write_bytes(b"mine")
    assert collect(tmp_path / "mine") == 1
    assert "exists and was not made by this command" in capfd.readouterr().err
    (tmp_path / "file").write_bytes(b"")
    assert collect(tmp_path / "file") == 1
    assert "is a file; --out must be a folder" in capfd.readouterr().err


def test_a_damaged_journal_is_named(tmp_path, capfd):
    assert collect(tmp_path / "out", episodes=3, steps=1) == 0
    journal = tmp_path / "out" / "collect.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"garbage\n" + lines[2])
    assert collect(tmp_path / "out", episodes=3, steps=1) == 1
    assert "lines are missing or damaged; delete the file" in capfd.readouterr().err


def test_without_gymnasium_the_command_says_how_to_install_it(monkeypatch, tmp_path, capfd):
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    assert collect(tmp_path / "out") == 1
    assert 'environments need gymnasium: pip install "gymnasium>=1.0"' in capfd.readouterr().err
