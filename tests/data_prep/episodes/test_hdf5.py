"""HDF5 episodes on miniatures in the layouts of stable-worldmodel, robomimic and LIBERO."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.episodes.hdf5 import HDF5Settings, check_state, write_hdf5_episode
from data_prep.errors import PrepError
from worldmodel.manifest import Manifest
from worldmodel.signals import action_blocks, read_signals, states_at
from worldmodel.video import read_frames

h5py = pytest.importorskip("h5py")
LENGTHS = (5, 3, 4)


def level(episode: int, step: int) -> int:
    """The grey level of a picture, which is also the first number of its action."""
    return 20 * (episode + 1) + 3 * step


def steps(episode: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, actions and states."""
    levels = np.array([level(episode, step) for step in range(LENGTHS[episode])])
    pictures = np.broadcast_to(levels[:, None, None, None], (len(levels), 16, 18, 3)).astype(np.uint8)
    states = np.stack([np.full(len(levels), episode), np.arange(len(levels))], 1).astype(np.float64)
    return pictures, np.stack([levels, -levels], 1).astype(np.float32), states


def make_swm(path: Path) -> Path:
    columns = [np.concatenate(parts) for parts in zip(*map(steps, range(3)), strict=True)]
    with h5py.File(path, "w") as file:
        for name, values in zip(("pixels", "action", "state"), columns, strict=True):
            file[name] = values
        file["ep_len"], file["ep_offset"] = LENGTHS, np.cumsum([0, *LENGTHS[:-1]])
    return path


def make_robomimic(path: Path, camera: str = "agentview_image") -> Path:
    """demo_10 is the third: names are ordered by number."""
    with h5py.File(path, "w") as file:
        for episode, name in enumerate(("demo_1", "demo_2", "demo_10")):
            pictures, actions, states = steps(episode)
            group = file.create_group(f"data/{name}")
            group.attrs["num_samples"] = len(actions)
            group[f"obs/{camera}"], group["obs/joint_states"] = pictures, states
            group["actions"], group["states"] = actions, states
            group["rewards"] = np.zeros(len(actions))
        file["mask/train"] = np.array([b"demo_1"])
    return path


def make_libero(path: Path) -> Path:
    return make_robomimic(path, camera="agentview_rgb")


def convert(root: Path, out: Path, *options: str) -> int:
    return main(["episodes", str(root), "--out", str(out), "--workers", "1", *options])


@pytest.mark.parametrize("make", [make_swm, make_robomimic, make_libero])
def test_every_picture_has_its_own_action_and_state(make, tmp_path: Path):
    assert convert(make(tmp_path / "a.hdf5"), tmp_path / "out", "--fps", "20") == 0
    manifest = Manifest.open(tmp_path / "out" / "episodes.parquet")
    clips = [manifest.clip(row) for row in range(len(manifest))]
    assert [clip.frames for clip in clips] == list(LENGTHS)
    for episode, clip in enumerate(clips):
        signals = read_signals(clip.signals)
        levels = [level(episode, step) for step in range(LENGTHS[episode])]
        assert read_frames(clip.path, times_s=signals.time_s)[:, 0, 0, 0].tolist() == levels
        assert action_blocks(signals, signals.time_s)[:, 0].tolist() == [[value, -value] for value in levels[:-1]]
        assert states_at(signals, signals.time_s)[:, 0].tolist() == [episode] * len(levels)
        assert (clip.fps, clip.source) == (20, "a")


def settings_with_state(root: Path, *keys: str) -> HDF5Settings:
    return HDF5Settings(str(root), "agentview_rgb", 20.0, "a", 0.1, 0.1, keys)


def test_the_state_is_that_of_the_named_arrays_one_after_another(tmp_path: Path):
    root = make_libero(tmp_path / "a.hdf5")
    with h5py.File(root, "r+") as file:
        for episode, name in enumerate(("demo_1", "demo_2", "demo_10")):
            steps = np.arange(LENGTHS[episode], dtype=np.float64)
            file[f"data/{name}/obs/ee_pos"] = np.stack([steps, steps + 10, steps + 20], 1)
            file[f"data/{name}/obs/gripper"] = steps + 100 * episode  # a number per step
    check_state(root, ("ee_pos", "obs/gripper"))
    row = write_hdf5_episode(1, str(tmp_path / "out"), settings_with_state(root, "ee_pos", "obs/gripper"))
    signals = read_signals(tmp_path / "out" / row["signals"])
    assert signals.state.names == ("ee_pos[0]", "ee_pos[1]", "ee_pos[2]", "gripper[0]")
    assert signals.states[2].tolist() == [2, 12, 22, 102]


def test_states_that_are_missing_or_of_another_length_are_named(tmp_path: Path):
    root = make_libero(tmp_path / "a.hdf5")
    with pytest.raises(PrepError, match=r"no numbers ee_pos to use as state; there are actions, joint_states, rewards, states"):
        check_state(root, ("joint_states", "ee_pos"))
    with h5py.File(root, "r+") as file:
        file["data/demo_2/obs/ee_pos"] = np.zeros((2, 3))
    for number, problem in ((0, "ee_pos is missing; expected 5 steps"), (1, "ee_pos has 2 steps; expected 3 steps")):
        with pytest.raises(ValueError, match=problem):
            write_hdf5_episode(number, str(tmp_path / "out"), settings_with_state(root, "ee_pos"))


def test_the_command_takes_names_of_states_and_refuses_others_in_one_line(tmp_path: Path, capsys):
    root = make_libero(tmp_path / "a.hdf5")
    assert convert(root, tmp_path / "out", "--fps", "20", "--state", "joint_states,states") == 0
    manifest = Manifest.open(tmp_path / "out" / "episodes.parquet")
    names = read_signals(manifest.clip(0).signals).state.names
    assert names == ("joint_states[0]", "joint_states[1]", "states[0]", "states[1]")
    assert manifest.metadata["config"]["state"] == ["joint_states", "states"]
    assert convert(root, tmp_path / "other", "--fps", "20", "--state", "ee_pos") == 1
    assert "has no numbers ee_pos to use as state; there are actions, joint_states" in one_line(capsys)


def test_columns_of_stable_worldmodel_may_be_states_too(tmp_path: Path):
    root = make_swm(tmp_path / "a.h5")
    settings = replace(settings_with_state(root, "state", "action"), camera="pixels")
    check_state(root, settings.state)
    signals = read_signals(tmp_path / "out" / write_hdf5_episode(2, str(tmp_path / "out"), settings)["signals"])
    assert signals.states[1].tolist() == [2, 1, level(2, 1), -level(2, 1)]


def test_broken_episodes_are_named_and_the_others_are_used(tmp_path: Path, capsys):
    root = make_robomimic(tmp_path / "a.hdf5")
    with h5py.File(root, "r+") as file:
        del file["data/demo_2/actions"]
        file["data/demo_2/actions"] = np.zeros((2, 2))
    assert convert(root, tmp_path / "out", "--fps", "20") == 0
    shown = capsys.readouterr().out
    assert "2 of 3 episodes" in shown
    assert "episode 1: ValueError: demo_2: 3 pictures, 2 actions and 3 states; expected equal numbers from 2" in shown


def test_steps_beyond_the_arrays_are_named(tmp_path: Path, capsys):
    root = make_swm(tmp_path / "a.h5")
    with h5py.File(root, "r+") as file:
        file["ep_len"][2] = 40
    assert convert(root, tmp_path / "out", "--fps", "20") == 0
    assert "episode 2: ValueError: ep_offset and ep_len give steps 8 to 48; pixels has 12" in capsys.readouterr().out


def replace_array(file, name: str, values) -> None:
    del file[name]
    file[name] = values


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.__delitem__("data/demo_1/obs"), "demo_1: has no actions, or no obs/agentview_image"),
        (lambda file: replace_array(file, "data/demo_1", np.zeros(3)), "demo_1: has no actions, or no obs/agentview_image"),
        (lambda file: file.__delitem__("data/demo_1/obs/agentview_image"), "demo_1: has no actions, or no obs/agentview_image"),
        (lambda file: replace_array(file, "data/demo_1/actions", 5.0), "demo_1: actions is missing, or is no array of numbers"),
        (lambda file: replace_array(file, "data/demo_1/actions", [b"a"] * 5), "demo_1: actions is missing, or is no array"),
    ],
)
def test_one_incomplete_episode_does_not_refuse_the_others(tmp_path: Path, capsys, damage, message):
    root = make_robomimic(tmp_path / "a.hdf5")
    with h5py.File(root, "r+") as file:
        damage(file)
    options = ["--fps", "20", "--camera", "agentview_image"]
    assert convert(root, tmp_path / "out", *options) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 episodes" in shown
    assert f"episode 0: ValueError: {message}" in shown


@pytest.mark.parametrize(
    "layout",
    [
        {"data": np.zeros((3, 2))},
        {"data/demo_0": np.zeros((3, 2))},
        {"data/demo_0/obs": np.zeros((3, 2)), "data/demo_0/actions": np.zeros((3, 2))},
        {"ep_len": 3, "ep_offset": 0, "pixels": np.zeros((3, 8, 8, 3), np.uint8)},
        {"ep_len/x": [3], "ep_offset": [0]},
    ],
)
def test_another_layout_is_one_line(tmp_path: Path, capsys, layout):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in layout.items():
            file[name] = values
    assert convert(tmp_path / "a.h5", tmp_path / "out", "--fps", "20") == 1
    assert "expected ep_len, ep_offset and action (stable-worldmodel), or data/demo_N" in one_line(capsys)


@pytest.mark.parametrize("fps", ["4", "5"])
def test_few_steps_per_second_keep_pictures_and_actions_together(tmp_path: Path, fps):
    """A file at 4.995 instead of 5 frames per second shows nearly every picture one step late."""
    levels = np.arange(60, dtype=np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pixels"] = np.broadcast_to(levels[:, None, None, None], (60, 16, 16, 3))
        file["action"], file["ep_len"], file["ep_offset"] = levels[:, None].astype(float), [60], [0]
    assert convert(tmp_path / "a.h5", tmp_path / "out", "--fps", fps) == 0
    clip = Manifest.open(tmp_path / "out" / "episodes.parquet").clip(0)
    assert read_frames(clip.path, times_s=read_signals(clip.signals).time_s)[:, 0, 0, 0].tolist() == levels.tolist()


def one_line(capsys) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("data_prep episodes: ")]
    return line


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, capsys, monkeypatch):
    root, out = make_swm(tmp_path / "a.h5"), tmp_path / "out"
    assert convert(root, out) == 1
    assert "does not say how many steps a second has; give --fps" in one_line(capsys)
    assert convert(root, out, "--fps", "20", "--camera", "wrist") == 1
    assert "has no pictures wrist; there are pixels" in one_line(capsys)
    with h5py.File(root, "r+") as file:
        file["goal"] = file["pixels"][:]
    assert convert(root, out, "--fps", "20") == 1
    assert "has 2 arrays of pictures (goal, pixels); give --camera" in one_line(capsys)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    assert convert(tmp_path / "other.h5", out, "--fps", "20") == 1
    assert "expected ep_len, ep_offset and action (stable-worldmodel), or data/demo_N" in one_line(capsys)
    (tmp_path / "text.h5").write_text("no")
    assert convert(tmp_path / "text.h5", out, "--fps", "20") == 1
    assert "not an HDF5 file, or damaged" in one_line(capsys)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert convert(root, out, "--fps", "20") == 1
    assert "HDF5 files need h5py: pip install h5py" in one_line(capsys)
    assert not out.exists()
