"""Every command and code block of docs/robot_data.md runs, in order, on a miniature of a LeRobotDataset, with few steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from documents import ROOT, all_blocks, commands_of
from forked import run as run_module
from made_lerobot import MadeEpisode, write_v3

from data_prep.__main__ import main as data_prep
from worldmodel.manifest import Manifest

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs/robot_data.md"
FPS, SECONDS, NAMES = 10, 3, ("pan", "lift")
SHORT = ["train.max_steps=4", "optim.warmup_steps=1", "health.every=4", "health.windows=4", "checkpoint.every=4"]
SHORT += ["decoder.max_steps=2", "decoder.windows=2", "data.batch_size=4", "data.workers=0", "train.precision=fp32"]
SHORTER = {"transcode": ["--workers", "1"], "episodes": ["--workers", "1"]}


@dataclass(frozen=True)
class Followed:
    """What following the page left: its working directory, what it printed, and the names of its Python session."""

    folder: Path
    episodes: list[MadeEpisode]
    splits: list[str]
    names: dict[str, Any]


def reaching_arm(seed: int) -> MadeEpisode:
    """A square that moves to the position that the action names, at most 3 px a step; the picture is wide, as of a camera."""
    rng, steps = np.random.default_rng(seed), FPS * SECONDS
    position = target = rng.uniform(20, 70, 2)
    frames, actions, states = np.full((steps, 90, 120, 3), 30, np.uint8), [], []
    for step in range(steps):
        if step % 8 == 0:
            target = rng.uniform(20, 70, 2)
        x, y = np.round(position + np.array([15, 0])).astype(int)
        frames[step, y - 8 : y + 8, x - 8 : x + 8] = (200, 120, 40)
        states.append(position)
        position = position + np.clip(target - position, -3, 3)
        actions.append(position)
    return MadeEpisode(frames, np.array(actions), np.array(states))


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Followed:
    """Follow the page from its first block to its last one."""
    folder, names = tmp_path_factory.mktemp("robot"), {}
    made = [reaching_arm(seed) for seed in range(20)]
    files = [number // 8 for number in range(20)]
    write_v3(folder / "datasets/my_robot", made, FPS, NAMES, data_files=files, video_files=files)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for language, code in all_blocks(PAGE):
            if language == "yaml":
                Path("my_robot.yaml").write_text(code, encoding="utf-8")
            elif language == "python":
                exec(compile(code, str(PAGE), "exec"), names)
            elif language == "bash":
                for command in commands_of(code):
                    follow(command)
    splits = pq.read_table(folder / "data/my_robot/episodes.parquet")["split"].to_pylist()
    return Followed(folder, made, splits, names)


def follow(command: list[str]) -> None:
    """Run a command of the page with fewer steps and workers. Fails for a command that is not known here."""
    if command[:3] == ["python", "-m", "data_prep"]:
        assert data_prep([*command[3:], *SHORTER.get(command[3], [])]) == 0, command
        return
    if command[:3] == ["accelerate", "launch", "worldmodel/train.py"]:
        done = run_module("worldmodel.train", [*command[3:], *SHORT])
    else:
        assert command[:3] == ["python", "-m", "worldmodel.rollout"], command
        done = run_module("worldmodel.rollout", command[3:])
    assert done.returncode == 0, done.stderr


def test_the_run_has_the_statistics_of_the_train_split(followed):
    """Of the actions that were put into the data set, and not of those of val and test."""
    recipe = yaml.safe_load((followed.folder / "runs/my_robot/recipe.yaml").read_text(encoding="utf-8"))
    found = recipe["model"]["condition"]["statistics"]
    train = np.concatenate(
        [it.actions for it, split in zip(followed.episodes, followed.splits, strict=True) if split == "train"]
    )
    everything = np.concatenate([it.actions for it in followed.episodes])
    np.testing.assert_allclose(found["action_mean"], train.mean(0))
    np.testing.assert_allclose(found["action_std"], train.std(0))
    assert not np.allclose(train.mean(0), everything.mean(0))
    assert (found["actions_per_step"], tuple(found["action_names"])) == (2, NAMES)
    assert found["clips"] == followed.splits.count("train")


def test_copies_keep_splits_and_signals(followed):
    """The grey level changes where the square is: it is at the state of the episode, also in the small copy."""
    manifest = Manifest.open(followed.folder / "data/my_robot_small/manifest.parquet")
    assert [manifest.clip(row).split for row in range(20)] == followed.splits
    assert {"train", "val", "test"} <= set(followed.splits)
    read = followed.names
    for row in (0, 9, 19):  # of three files
        clip, states = manifest.clip(row), followed.episodes[row].states
        signals = read["read_signals"](clip.signals)
        np.testing.assert_allclose(signals.states, states)
        frame = read["read_frames"](clip.path, times_s=[signals.time_s[13]], timing=clip.timing)[0]
        y, x = np.nonzero(frame[..., 0] > 120)
        scale = 90 / frame.shape[0]
        np.testing.assert_allclose([x.mean() * scale - 15, y.mean() * scale], states[13], atol=1.5)


def test_the_plan_is_a_sequence_of_actions_of_the_robot(followed):
    """Two actions for each of four planned steps, within the extremes of the train split, which pixels or latents are not."""
    actions = followed.names["actions"]
    train = np.concatenate(
        [it.actions for it, split in zip(followed.episodes, followed.splits, strict=True) if split == "train"]
    )
    assert actions.shape == (8, 2)
    assert (actions >= train.min(0) - 1e-4).all()
    assert (actions <= train.max(0) + 1e-4).all()
    assert actions.std(0).min() > 0


def test_a_path_leads_straight_from_the_last_action_through_the_waypoints(followed):
    """With two actions per planned step."""
    torch, path_through = followed.names["torch"], followed.names["path_through"]
    found = path_through(torch.tensor([[[[4.0, 1.0], [4.0, 5.0]]]]), torch.tensor([2.0, 1.0]))
    assert found.tolist() == [[[[3, 1, 4, 1], [4, 3, 4, 5]]]]


def test_the_plan_begins_at_the_last_action_and_does_not_jump(followed):
    """With two actions per planned step, the first is half way from the last action, within the bounds, to the second."""
    it = followed.names
    _, signals = next(it["episodes"]("test"))
    last = np.clip(signals.actions[:1], it["low"].numpy(), it["high"].numpy())
    actions = np.concatenate([last, it["actions"]])
    np.testing.assert_allclose(actions[1::2], (actions[:-1:2] + actions[2::2]) / 2, rtol=1e-5)


def test_the_plan_costs_less_than_holding_still(followed):
    """By the model's own cost; the held-out start and goal are those of the page."""
    it = followed.names
    clip, signals = next(it["episodes"]("test"))
    steps = [1, 1 + it["k"] * it["horizon"]]
    pictures = it["read_frames"](clip.path, times_s=signals.time_s[steps], timing=clip.timing)
    planned = it["plan_to"](*pictures, signals.actions[0])
    both = np.stack([planned, np.broadcast_to(signals.actions[0], planned.shape)])
    costs = it["cost_to"](*pictures)(it["torch"].tensor(both).float().reshape(1, 2, it["horizon"], -1))[0]
    assert costs[0] < costs[1]


def test_every_start_of_the_test_split_was_ranked(followed):
    """Three starts per episode of 30 actions: 0, 8 and 16."""
    ranks = followed.names["ranks"]
    assert len(ranks) == 3 * followed.splits.count("test")
    assert 0 <= min(ranks) <= max(ranks) <= 1
    assert len(set(ranks)) > 1


def test_rollouts_show_the_actions(followed):
    rollouts = followed.folder / "runs/my_robot/rollouts"
    page = (rollouts / "gallery.html").read_text(encoding="utf-8")
    assert "pan" in page
    errors = json.loads((rollouts / "horizon.json").read_text(encoding="utf-8"))["error"]
    assert errors["rollout"] != errors["other actions"]


def test_the_data_set_is_not_changed(followed):
    fresh = followed.folder / "fresh"
    files = [number // 8 for number in range(20)]
    write_v3(fresh, followed.episodes, FPS, NAMES, data_files=files, video_files=files)
    before, after = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (fresh, followed.folder / "datasets/my_robot")
    )
    assert before == after
