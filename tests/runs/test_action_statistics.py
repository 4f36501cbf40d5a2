"""How many recorded actions lie between two frames of a window."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from worldmodel.config import ConfigError
from worldmodel.data.reading import SignalSizes
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.recipe import Recipe
from worldmodel.runs.action_statistics import with_action_statistics
from worldmodel.signals import Channel, Signals, write_signals

ROWS = 20


def recorded(folder: Path, fps: float = 10, actions_per_s: float = 10) -> Path:
    """A manifest with one clip. Its video does not exist and is not needed."""
    numbers, channel = np.arange(ROWS, dtype=float), Channel(("a",), ("",))
    table = folder / "0.parquet"
    write_signals(table, Signals("", numbers / actions_per_s, numbers[:, None], numbers[:, None], channel, channel))
    size = (fps, ROWS, 8, 8, 0, "h264")
    clip = Clip("0", "v.mp4", None, 0.0, ROWS / actions_per_s, *size, "train", None, None, "t", "0", None, str(table))
    write_manifest(folder / "m.parquet", [clip], command="test", config={})
    return Manifest.open(folder / "m.parquet").path


def actions_per_step(manifest: Path, **window: float) -> int:
    values = {"model": {"kind": "causal", "condition": {}}, "data": {"manifest": str(manifest)}}
    recipe = Recipe.model_validate({**values, "augment": {"hflip_prob": 0}})
    recipe = recipe.model_copy(update={"window": WindowConfig(**window)})
    return with_action_statistics(recipe, None, print).model.condition.statistics.actions_per_step


@pytest.mark.parametrize(
    ("window", "count"), [({"fps": 5}, 2), ({"fps": 10}, 1), ({"fps": 3.333}, 3), ({"stride_frames": 4}, 4)]
)
def test_a_whole_number_of_actions(tmp_path: Path, window: dict, count: int):
    assert actions_per_step(recorded(tmp_path), **window) == count


@pytest.mark.parametrize(
    ("recording", "window", "message"),
    [
        ({}, {"fps": 4}, r"window\.fps 4: 2\.5 recorded actions lie between two frames .* such as 5 or 3\.333"),
        ({}, {"fps": 12}, r"window\.fps 12 is more than the 10 fps of .*v\.mp4; give at most 10"),
        ({"fps": 30}, {"fps": 30}, r"0\.3333 recorded actions lie between two frames .* such as 10"),
        ({"fps": 25}, {"stride_frames": 3}, r"window\.stride_frames 3: 1\.2 recorded actions .* such as 5"),
    ],
)
def test_any_other_rate_is_refused_with_the_ratio(tmp_path: Path, recording: dict, window: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        actions_per_step(recorded(tmp_path, **recording), **window)


def test_state_differences_have_the_statistics_and_names_of_the_state_between_two_frames(tmp_path: Path):
    """States 0, 1, 4, ... at 10 Hz and windows of 5 fps: the state changes by 4, 8, 12, ..., whatever the actions are."""
    table, numbers = tmp_path / "0.parquet", np.arange(ROWS, dtype=float)
    actions, state = np.full((ROWS, 1), np.nan), Channel(("x",), ("m",))
    recorded(tmp_path)
    write_signals(table, Signals("", numbers / 10, actions, numbers[:, None] ** 2, Channel(("a",), ("",)), state))
    values = {"model": {"kind": "causal", "condition": {"actions": "state_difference"}}, "augment": {"hflip_prob": 0}}
    recipe = Recipe.model_validate({**values, "data": {"manifest": str(tmp_path / "m.parquet")}, "window": {"fps": 5}})
    condition = with_action_statistics(recipe, None, print).model.condition
    expected = 4 + 4 * np.arange(ROWS - 2)
    assert condition.statistics.action_mean == pytest.approx([expected.mean()])
    assert condition.statistics.action_std == pytest.approx([expected.std()])
    assert (condition.statistics.action_names, condition.statistics.action_units) == (("x",), ("m",))
    assert condition.sizes == SignalSizes(1, 1, 1, differences=True)
    fast = recipe.model_copy(update={"window": WindowConfig(fps=12)})
    with pytest.raises(ConfigError, match=r"window\.fps 12 is more than the 10 fps"):
        with_action_statistics(fast, None, print)


@pytest.mark.parametrize(("before", "now"), [("recorded", "state_difference"), ("state_difference", "recorded")])
def test_a_resumed_run_with_other_actions_is_refused(tmp_path: Path, before: str, now: str):
    def recipe(actions: str) -> Recipe:
        values = {"model": {"kind": "causal", "condition": {"actions": actions}}, "augment": {"hflip_prob": 0}}
        return Recipe.model_validate({**values, "data": {"manifest": str(recorded(tmp_path))}, "window": {"fps": 10}})

    trained = with_action_statistics(recipe(before), None, print)
    last = SimpleNamespace(folder="run/checkpoints/00000001", state={"recipe": trained.model_dump(mode="json")})
    assert with_action_statistics(recipe(before), last, print) == trained
    with pytest.raises(ConfigError, match=rf"model\.condition\.actions {now}: run/.* was trained with {before}"):
        with_action_statistics(recipe(now), last, print)
