"""The statistics of actions and states that a model with a condition needs: read from the train split, or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from worldmodel.checkpoint import Checkpoint
from worldmodel.config import ConfigError, parse_config
from worldmodel.data.reading import SignalSizes
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, Manifest
from worldmodel.models.condition import ActionStatistics, ConditionConfig
from worldmodel.recipe import Recipe
from worldmodel.signals import ClipProblem, SignalError, Signals, SignalStatistics, check_rate, read_signals, signal_statistics

_NAMED = 5  # clips with problems that are named
_RATIO_TOLERANCE = 0.05  # recorded actions; recorded times are rounded
_RATE_TOLERANCE = 1e-3  # relative; below the difference of 29.97 and 30 fps


def condition_of(recipe: Recipe) -> ConditionConfig | None:
    """The condition of a recipe's model; None where it takes no actions."""
    return getattr(recipe.model, "condition", None)


def signal_sizes(recipe: Recipe) -> SignalSizes | None:
    """Sizes of the actions and states that are read with the frames; None where the model takes none."""
    condition = condition_of(recipe)
    return None if condition is None else condition.sizes


def with_action_statistics(recipe: Recipe, last: Checkpoint | None, report: Callable[[str], None]) -> Recipe:
    """Return the recipe with `model.condition.statistics` filled in; recipes without a condition are not changed.

    They are read from the last checkpoint of the run, else from the first manifest's train split. `report` gets one line about
    clips whose signals cannot be used. Raises ManifestError where no clip has signals that can be used.
    """
    condition = condition_of(recipe)
    if condition is None or condition.statistics is not None:
        return recipe
    if last is not None:
        before = condition_of(parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json"))
        if before is None or before.statistics is None:
            raise ConfigError([f"model.condition: {last.folder} was trained without actions; start another run (run=FOLDER)"])
        if before.actions != condition.actions:
            raise ConfigError(
                [
                    f"model.condition.actions {condition.actions}: {last.folder} was trained with {before.actions}, and its "
                    "statistics are of those; start another run (run=FOLDER)"
                ]
            )
        statistics = before.statistics
    else:
        manifest = Manifest.open(recipe.data.manifests[0])
        measure = _of_differences if condition.actions == "state_difference" else _of_recorded
        statistics = measure(manifest, recipe.window, report)
    new = condition.model_copy(update={"statistics": statistics})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"condition": new})})


def _of_recorded(manifest: Manifest, window: WindowConfig, report: Callable[[str], None]) -> ActionStatistics:
    count = _actions_per_step(manifest, window)

    def check(clip: Clip, signals: Signals) -> None:
        check_rate(signals, max(1, round(_between_s(clip, window) / signals.step_s)), count)

    return _statistics(*signal_statistics(manifest, check=check), count, report)


def _of_differences(manifest: Manifest, window: WindowConfig, report: Callable[[str], None]) -> ActionStatistics:
    """Statistics of the change of the state from one frame of a window to the next."""
    found, problems = signal_statistics(manifest, between_s=partial(_between_s, window=window))
    if not found.state_names:
        raise ConfigError([f"model.condition.actions state_difference: the signals of {manifest.path} have no states"])
    _check_rate(manifest.clip(int(manifest.rows("train")[0])), window)
    return _statistics(found, problems, 1, report)


def _statistics(
    found: SignalStatistics, problems: Sequence[ClipProblem], actions_per_step: int, report: Callable[[str], None]
) -> ActionStatistics:
    if problems:
        named = "; ".join(f"{problem.path}: {problem.detail}" for problem in problems[:_NAMED])
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        report(f"signals of {len(problems)} clips cannot be used or are constant: {named}{more}")
    values = {name: value for name, value in found.as_json().items() if name in ActionStatistics.model_fields}
    return ActionStatistics(actions_per_step=actions_per_step, **values)


def _between_s(clip: Clip, window: WindowConfig) -> float:
    """The time between two frames of a window."""
    return 1 / window.fps if window.stride_frames is None else window.stride_frames / clip.fps


def _check_rate(clip: Clip, window: WindowConfig) -> None:
    """Raise ConfigError for windows of a higher rate: frames would be sampled twice, and nothing lies between equal frames."""
    if window.stride_frames is None and window.fps > clip.fps * (1 + _RATE_TOLERANCE):
        limit = f"{clip.fps:g} fps of {clip.path}"
        raise ConfigError([f"window.fps {window.fps:g} is more than the {limit}; give at most {clip.fps:g}"])


def _actions_per_step(manifest: Manifest, window: WindowConfig) -> int:
    """How many recorded actions lie between two frames of a window, from the first clip that can be read.

    Raises ConfigError where that is no whole number, or the window has a higher rate than the clip.
    """
    for row in manifest.rows("train"):
        clip = manifest.clip(int(row))
        try:
            step_s = read_signals(clip.signals or "").step_s
        except SignalError:
            continue
        _check_rate(clip, window)
        ratio = _between_s(clip, window) / step_s
        count = int(np.rint(ratio))
        if count < 1 or abs(ratio - count) > _RATIO_TOLERANCE:
            raise ConfigError([_ratio_problem(window, clip, ratio, step_s)])
        return count
    signal_statistics(manifest)  # raises ManifestError, which names the first problem
    raise ConfigError([f"{manifest.path}: no table of signals of the train split can be read"])


def _ratio_problem(window: WindowConfig, clip: Clip, ratio: float, step_s: float) -> str:
    """The message for a window whose frames are no whole number of recorded actions apart."""
    counts = [count for count in (int(ratio), int(ratio) + 1) if count]
    if window.stride_frames is None:
        name, value = "window.fps", f"{window.fps:g}"
        advice = "a rate with a whole number of recorded actions between two frames"
        rates = [1 / (count * step_s) for count in counts]
        fitting = [f"{rate:.4g}" for rate in rates if rate <= clip.fps * (1 + _RATE_TOLERANCE)]
    else:
        name, value = "window.stride_frames", str(window.stride_frames)
        advice = "a stride with a whole number of recorded actions between two frames"
        strides = [count * step_s * clip.fps for count in counts]
        fitting = [f"{stride:.0f}" for stride in strides if abs(stride - round(stride)) < _RATIO_TOLERANCE]
    such_as = f", such as {' or '.join(fitting)}" if fitting else ""
    return (
        f"{name} {value}: {ratio:.4g} recorded actions lie between two frames of {clip.path}, whose actions are recorded "
        f"{1 / step_s:.4g} times a second; give {advice}{such_as}"
    )
