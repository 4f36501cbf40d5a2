"""Mean and standard deviation of actions and states over the train split, and clips that have none to use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldmodel.manifest import Clip, Manifest, ManifestError
from worldmodel.signals.align import with_state_differences, without_actions
from worldmodel.signals.table import SignalError, Signals, read_signals
from worldmodel.storage.members import split_member
from worldmodel.storage.objects import prefetch

Array = NDArray[np.float64]
_FETCHED_AHEAD = 256  # clips whose tables are fetched together from object storage


@dataclass(frozen=True)
class ClipProblem:
    """A clip whose signals cannot be used, or should be looked at: all its actions are equal."""

    clip_id: str
    path: str  # of the table; of the video where there is no table
    reason: str
    detail: str


@dataclass(frozen=True)
class SignalStatistics:
    """Means and standard deviations per number, [A] and [S]. A number that never changes has the deviation 1."""

    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_names: tuple[str, ...]
    state_names: tuple[str, ...]
    clips: int
    constant: tuple[str, ...]  # names of numbers that never change
    action_units: tuple[str, ...] = ()  # of older runs not known
    state_units: tuple[str, ...] = ()

    def normalise_actions(self, actions: ArrayLike) -> Array:
        """[..., A] -> [..., A], with mean 0 and variance 1 over the train split."""
        return (np.asarray(actions, np.float64) - self.action_mean) / self.action_std

    def restore_actions(self, normalised: ArrayLike) -> Array:
        """The inverse of `normalise_actions`: what an environment executes."""
        return np.asarray(normalised, np.float64) * self.action_std + self.action_mean

    def normalise_states(self, states: ArrayLike) -> Array:
        """[..., S] -> [..., S]"""
        return (np.asarray(states, np.float64) - self.state_mean) / self.state_std

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SignalStatistics:
        lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**lists)


def signal_statistics(
    manifest: Manifest,
    split: str = "train",
    between_s: Callable[[Clip], float] | None = None,
    check: Callable[[Clip, Signals], None] | None = None,
) -> tuple[SignalStatistics, list[ClipProblem]]:
    """Statistics over all rows within the clips of a split, and the clips with problems, which are left out.

    Clips with constant actions are named too, but they count. Actions and states must have the sizes that
    most clips have. Raises ManifestError if no clip of the split can be used.

    between_s: the time between two frames of a clip; the actions are then the differences of states over this time.
    check: raises SignalError for a clip that is left out.
    """
    problems: list[ClipProblem] = []
    by_size: dict[tuple[int, int], _SameSize] = {}
    for clip, found in _usable(manifest, split, problems, between_s, check):
        size = found.actions.shape[1], found.states.shape[1]
        by_size.setdefault(size, _SameSize(found)).add(clip, found, problems)
    if not by_size:
        more = f"; the first problem: {problems[0].path}: {problems[0].detail}" if problems else ""
        raise ManifestError(f"{manifest.path}: no clip of split {split!r} has signals that can be used{more}")
    most = max(by_size.values(), key=lambda same: len(same.tables))  # the first of several
    for (actions, states), other in by_size.items():
        if other is not most:
            expected = f"most clips have {len(most.names.action.names)} and {len(most.names.state.names)}"
            detail = f"actions of {actions} and states of {states} numbers; {expected}"
            problems += [ClipProblem(clip_id, path, "other size", detail) for clip_id, path in other.tables]
    return most.statistics(), problems


class _SameSize:
    """Moments of the clips whose actions and states have equal sizes."""

    def __init__(self, first: Signals) -> None:
        self.names = first
        self.tables: list[tuple[str, str]] = []  # clip id, path
        self._action, self._state = _Moments(first.actions.shape[1]), _Moments(first.states.shape[1])

    def add(self, clip: Clip, found: Signals, problems: list[ClipProblem]) -> None:
        """Add a clip. Constant actions are added to the problems."""
        actions = found.actions[np.isfinite(found.actions).all(1)]  # without the missing last one
        if actions.size and np.ptp(actions, axis=0).max() == 0:
            problems.append(ClipProblem(clip.clip_id, found.path, "constant", f"all its {len(actions)} actions are equal"))
        self._action.add(actions)
        self._state.add(found.states)
        self.tables.append((clip.clip_id, found.path))

    def statistics(self) -> SignalStatistics:
        (action_std, action_still), (state_std, state_still) = self._action.std(), self._state.std()
        names, still = self.names.action.names + self.names.state.names, action_still + state_still
        return SignalStatistics(
            action_mean=tuple(self._action.mean.tolist()),
            action_std=action_std,
            state_mean=tuple(self._state.mean.tolist()),
            state_std=state_std,
            action_names=self.names.action.names,
            state_names=self.names.state.names,
            clips=len(self.tables),
            constant=tuple(name for name, flag in zip(names, still, strict=True) if flag),
            action_units=self.names.action.units,
            state_units=self.names.state.units,
        )


def _usable(
    manifest: Manifest,
    split: str,
    problems: list[ClipProblem],
    between_s: Callable[[Clip], float] | None,
    check: Callable[[Clip, Signals], None] | None,
) -> Iterator[tuple[Clip, Signals]]:
    """The clips of a split with their signals in the time range of the clip."""
    rows = manifest.rows(split)
    for number, row in enumerate(rows):
        if number % _FETCHED_AHEAD == 0:
            ahead = [manifest.clip(int(later)).signals for later in rows[number : number + _FETCHED_AHEAD]]
            prefetch([split_member(table) for table in ahead if table is not None])
        clip = manifest.clip(int(row))
        if clip.signals is None:
            problems.append(ClipProblem(clip.clip_id, clip.path, "missing", "it has no signals"))
            continue
        try:
            signals = read_signals(clip.signals)
            if check is not None:
                check(clip, signals)
            if between_s is None:
                yield clip, _within(clip, signals)
            else:
                yield clip, with_state_differences(_within(clip, without_actions(signals)), between_s(clip))
        except SignalError as error:
            problems.append(ClipProblem(clip.clip_id, error.path, error.reason, error.detail))


def _within(clip: Clip, signals: Signals) -> Signals:
    """The rows of a clip. Raises SignalError for numbers that are not finite; the last action may be missing."""
    rows = (signals.time_s >= clip.start_s - 1e-6) & (signals.time_s < clip.stop_s - 1e-6)
    if rows.sum() < 2:
        detail = f"{rows.sum()} rows within [{clip.start_s:.3f}, {clip.stop_s:.3f}) s; expected two or more"
        raise SignalError(signals.path, "not recorded", detail)
    actions, states = signals.actions[rows], signals.states[rows]
    for kind, values in (("action", actions[:-1]), ("state", states)):
        bad = ~np.isfinite(values)
        if bad.any():
            row, column = (int(index[0]) for index in np.nonzero(bad))
            name = (signals.action if kind == "action" else signals.state).names[column]
            at_s = signals.time_s[rows][row]
            raise SignalError(signals.path, "not a number", f"{kind} {name} is {values[row, column]} at {at_s:.3f} s")
    return Signals(signals.path, signals.time_s[rows], actions, states, signals.action, signals.state, signals.origin)


class _Moments:
    """Mean and variance of rows, joined clip by clip (Chan, Golub and LeVeque 1983)."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self._squares = 0, np.zeros(size), np.zeros(size)
        self._low, self._high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, rows: Array) -> None:
        """[N, size]"""
        if not rows.size:
            return
        mean, total = rows.mean(0), self.count + len(rows)
        self._squares += np.square(rows - mean).sum(0) + np.square(mean - self.mean) * self.count * len(rows) / total
        self.mean = self.mean + (mean - self.mean) * len(rows) / total
        self.count = total
        self._low, self._high = np.minimum(self._low, rows.min(0)), np.maximum(self._high, rows.max(0))

    def std(self) -> tuple[tuple[float, ...], tuple[bool, ...]]:
        """Standard deviations, 1 for numbers that never change, and which these are."""
        still = self._low >= self._high
        std = np.where(still, 1.0, np.sqrt(self._squares / max(self.count, 1)))
        return tuple(std.tolist()), tuple(still.tolist())
