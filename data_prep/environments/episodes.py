"""Record one episode of an environment: pictures, actions and states over time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.descriptions import Description
from data_prep.environments.making import description_of, find_policy, make_environment
from data_prep.episodes.storing import PicturedEpisode, digest_of, numbered_channel, store_episode
from data_prep.splits import split_of
from worldmodel.signals import Channel


@dataclass(frozen=True)
class EpisodeSettings:
    """What all episodes of a collection share. An episode is a function of these and its number."""

    environment: str
    options: tuple[tuple[str, Any], ...]  # keyword arguments of the environment
    policy: str
    seed: int
    fps: float
    max_steps: int
    split_by: tuple[str, ...]
    val: float
    test: float


@dataclass(frozen=True)
class Episode:
    """T frames, and the T - 1 actions between them."""

    frames: NDArray[np.uint8]  # [T, H, W, 3]
    actions: NDArray[np.float64]  # [T, A], NaN after the last step
    states: NDArray[np.float64]  # [T, S]; S is 0 where the environment tells no state


def episode_seed(settings: EpisodeSettings, number: int, stream: str) -> int:
    """A seed below 2^31 that depends on the number of the episode alone, not on the workers."""
    digest = hashlib.sha256(f"{settings.seed}|{number}|{stream}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def record_episode(number: int, settings: EpisodeSettings) -> Episode:
    """Run one episode until it ends, at most `max_steps` steps. Raises what the environment or the policy raises."""
    # made anew, so that nothing of an earlier episode of this process remains in it
    environment = make_environment(settings.environment, dict(settings.options))
    try:
        return _run(environment, number, settings)
    finally:
        environment.close()


def _run(environment: Any, number: int, settings: EpisodeSettings) -> Episode:
    description = description_of(settings.environment)
    observation, info = environment.reset(seed=episode_seed(settings, number, "reset"))
    rng = np.random.default_rng(episode_seed(settings, number, "policy"))
    act = find_policy(settings.policy, settings.environment)(environment, rng)
    frames, states = [_picture(environment)], [_state(observation)]
    actions: list[NDArray[np.float64]] = []
    ended = False
    while not ended and len(actions) < settings.max_steps:
        action = act(observation, info)
        observation, _, terminated, truncated, info = environment.step(action)
        actions.append(np.asarray(action, np.float64).reshape(-1))
        frames.append(_picture(environment))
        states.append(_state(observation))
        ended = terminated or truncated
    _check(actions, settings, description)
    return Episode(np.stack(frames), np.stack([*actions, np.full_like(actions[0], np.nan)]), np.stack(states))


def write_episode(number: int, folder: str, settings: EpisodeSettings) -> dict[str, Any]:
    """Record an episode and write its files. Returns its row of the manifest, with relative paths. Raises OutputError."""
    episode = record_episode(number, settings)
    description = description_of(settings.environment)
    origin = {
        "environment": settings.environment,
        "options": dict(settings.options),
        "policy": settings.policy,
        "reset": {"seed": episode_seed(settings, number, "reset")},
        "resets_to_state": description.resets_to_state,
    }
    state = _channel("state", description.state_names, description.state_units, episode.states.shape[1])
    pictured = PicturedEpisode(
        number=number,
        frames=episode.frames,
        fps=settings.fps,
        actions=episode.actions,
        states=episode.states,
        action=_channel("action", description.action_names, description.action_units, episode.actions.shape[1]),
        state=state,
        origin=origin,
        source=settings.environment,
        split=split_of(_start_digest(episode, state, settings.split_by), settings.val, settings.test),
    )
    return vars(store_episode(Path(folder), pictured))


def _start_digest(episode: Episode, state: Channel, split_by: tuple[str, ...]) -> str:
    """Digest of where an episode starts, so that episodes from one initial state have one split.

    Of the first state, or of some of its numbers; of the first picture where there is no state.
    """
    if not state.names:
        return hashlib.sha256(episode.frames[0].tobytes()).hexdigest()
    return _state_digest(episode.states[0], state.names, split_by)


def split_of_state(state: NDArray[np.float64], names: Sequence[str], split_by: Sequence[str], val: float, test: float) -> str:
    """The split of an episode that starts in a state [S], as `collect` assigns it."""
    return split_of(_state_digest(state, names, split_by), val, test)


def _state_digest(state: NDArray[np.float64], names: Sequence[str], split_by: Sequence[str]) -> str:
    return digest_of(state[[list(names).index(name) for name in split_by or names]])


def _picture(environment: Any) -> NDArray[np.uint8]:
    return np.array(environment.render())


def _state(observation: Any) -> NDArray[np.float64]:
    """The observation where it is a vector of numbers; else no numbers."""
    values = np.asarray(observation) if not isinstance(observation, dict | tuple | str) else np.zeros((0, 0))
    is_vector = values.ndim == 1 and values.dtype.kind in "fiub"
    return values.astype(np.float64) if is_vector else np.zeros(0)


def _channel(kind: str, names: tuple[str, ...], units: tuple[str, ...], size: int) -> Channel:
    return Channel(names, units) if len(names) == size else numbered_channel(kind, size)


def _check(actions: list[NDArray[np.float64]], settings: EpisodeSettings, description: Description) -> None:
    sizes = {len(action) for action in actions}
    if len(sizes) > 1:
        raise ValueError(f"the policy gave actions of {min(sizes)} to {max(sizes)} numbers; expected one size")
    if not all(np.isfinite(action).all() for action in actions):
        raise ValueError("the policy gave an action that is not a finite number")
    if unknown := set(settings.split_by) - set(description.state_names):
        raise ValueError(f"--split-by names {', '.join(sorted(unknown))}, which the state does not have")
