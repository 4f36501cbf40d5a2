"""Statistics of the train split, and clips with problems by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldmodel.manifest import Clip, Manifest, ManifestError, write_manifest
from worldmodel.signals import Channel, Signals, SignalStatistics, signal_statistics, write_signals

STATE = Channel(("s",), ("m",))


def add(folder: Path, number: int, actions: np.ndarray, split: str = "train", states: np.ndarray | None = None) -> Clip:
    """A clip with these actions [N, A], in the folder `signals`."""
    rows = len(actions)
    channel = Channel(tuple(f"a{i}" for i in range(actions.shape[1])), ("",) * actions.shape[1])
    path = folder / "signals" / f"{number}.parquet"
    path.parent.mkdir(exist_ok=True)
    states = np.arange(rows, dtype=float)[:, None] if states is None else states
    write_signals(path, Signals(str(path), np.arange(rows) / 10, actions, states, channel, STATE))
    size = (10.0, rows, 8, 8, 0, "h264")
    return Clip(str(number), "v.mp4", None, 0.0, rows / 10, *size, split, None, None, "t", str(number), None, str(path))


def opened(folder: Path, clips: list[Clip]) -> Manifest:
    write_manifest(folder / "m.parquet", clips, command="test", config={})
    return Manifest.open(folder / "m.parquet")


def test_statistics_are_those_of_all_train_rows(tmp_path: Path):
    rng = np.random.default_rng(0)
    actions = [rng.normal(5, 2, (rows, 2)) for rows in (7, 30, 3)]
    clips = [add(tmp_path, i, values) for i, values in enumerate(actions)]
    clips.append(add(tmp_path, 9, rng.normal(100, 2, (9, 2)), split="val"))
    statistics, problems = signal_statistics(opened(tmp_path, clips))
    together = np.concatenate(actions)
    np.testing.assert_allclose(statistics.action_mean, together.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.action_std, together.std(0), rtol=1e-12)
    assert (statistics.clips, problems, statistics.constant) == (3, [], ())
    normalised = statistics.normalise_actions(together)
    np.testing.assert_allclose(normalised.std(0), 1)
    np.testing.assert_allclose(statistics.restore_actions(normalised), together)


def test_statistics_survive_json(tmp_path: Path):
    statistics, _ = signal_statistics(opened(tmp_path, [add(tmp_path, 0, np.array([[1.0], [2.0], [4.0]]))]))
    assert SignalStatistics.from_json(json.loads(json.dumps(statistics.as_json()))) == statistics


def test_the_missing_last_action_does_not_count(tmp_path: Path):
    statistics, problems = signal_statistics(opened(tmp_path, [add(tmp_path, 0, np.array([[1.0], [3.0], [np.nan]]))]))
    assert (statistics.action_mean, statistics.action_std) == ((2.0,), (1.0,))
    assert problems == []


def test_clips_with_problems_are_named(tmp_path: Path):
    moving = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    with_nan, states = moving.copy(), np.array([[0.0], [np.nan], [1.0]])
    with_nan[1, 1] = np.nan
    clips = [
        add(tmp_path, 0, moving),
        add(tmp_path, 1, moving + 1),
        add(tmp_path, 2, with_nan),
        add(tmp_path, 3, moving[:, :1]),
        add(tmp_path, 4, np.zeros((3, 2))),
        add(tmp_path, 5, moving, states=states),
    ]
    no_table = add(tmp_path, 6, moving)
    Path(no_table.signals or "").unlink()
    clips += [no_table, Clip(**{**vars(clips[0]), "clip_id": "7", "signals": None})]
    statistics, problems = signal_statistics(opened(tmp_path, clips))
    found = {problem.clip_id: (problem.reason, problem.detail) for problem in problems}
    assert found == {
        "2": ("not a number", "action a1 is nan at 0.100 s"),
        "3": ("other size", "actions of 1 and states of 1 numbers; most clips have 2 and 1"),
        "4": ("constant", "all its 3 actions are equal"),
        "5": ("not a number", "state s is nan at 0.100 s"),
        "6": ("missing", "no such table of signals; the manifest names it for a clip"),
        "7": ("missing", "it has no signals"),
    }
    assert statistics.clips == 3


def test_a_number_that_never_changes_is_named_and_not_divided_by_0(tmp_path: Path):
    actions = np.array([[1.0, 7.0], [2.0, 7.0]])
    statistics, _ = signal_statistics(opened(tmp_path, [add(tmp_path, 0, actions)]))
    assert (statistics.action_std[1], statistics.constant) == (1.0, ("a1",))
    assert statistics.normalise_actions([[1.0, 7.0]]).tolist() == [[-1.0, 0.0]]


def test_only_the_time_range_of_a_clip_counts(tmp_path: Path):
    clip = add(tmp_path, 0, np.array([[1.0], [2.0], [3.0], [100.0]]))
    part = Clip(**{**vars(clip), "start_s": 0.0, "stop_s": 0.3, "frames": 3})
    statistics, _ = signal_statistics(opened(tmp_path, [part]))
    assert statistics.action_mean == (2.0,)


def test_no_signals_at_all_is_an_error(tmp_path: Path):
    clip = add(tmp_path, 0, np.ones((3, 1)))
    with pytest.raises(
        ManifestError, match=r"no clip of split 'train' has signals that can be used; the first problem: .*it has no"
    ):
        signal_statistics(opened(tmp_path, [Clip(**{**vars(clip), "signals": None})]))
