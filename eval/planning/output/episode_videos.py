"""Videos of episodes: what happened, the goal, another policy, and what the model imagined for its plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from data_prep.environments.making import make_environment
from data_prep.environments.tasks import measured
from eval.planning.episodes import Environments, Episodes, History, picture_of
from eval.planning.evaluation import Evaluation
from eval.planning.offline.recorded import Recorded
from eval.planning.planning_policy import observe, plan_at
from eval.report.player import Player, PlayerVideo
from eval.report.videos import MAX_BYTES, mp4_bytes_within
from worldmodel.models.decoder import Decoder

Frames = NDArray[np.uint8]
FPS = 10.0
MAX_VIDEOS, MAX_FAILURES = 12, 8
NEAREST_FRAMES = 4000  # recorded frames among which the nearest one is looked for, at most
NEAREST_BYTES = 256 << 20  # of these frames, about


@dataclass(frozen=True)
class Chosen:
    """An episode that is shown."""

    pair: int
    succeeded: bool


def choose(succeeded: NDArray[np.bool_]) -> list[Chosen]:
    """Failures first, then successes, in the order of pairs."""
    failures = np.flatnonzero(~succeeded)[:MAX_FAILURES].tolist()
    successes = np.flatnonzero(succeeded)[: MAX_VIDEOS - len(failures)].tolist()
    return [Chosen(pair, False) for pair in failures] + [Chosen(pair, True) for pair in successes]


def episode_player(
    evaluation: Evaluation,
    chosen: Chosen,
    main: tuple[str, Episodes],
    other: tuple[str, Episodes] | None,
    gallery: Gallery | None,
    criterion: str,
) -> Player:
    """A player of one episode. main, other: label of the policy and its episodes."""
    goal = evaluation.pairs.goals_array[chosen.pair]
    label, episodes = main
    frames = _draw_episode(evaluation, episodes, chosen.pair)
    budget = MAX_BYTES / MAX_VIDEOS / 4
    task, unit = evaluation.task, evaluation.task.unit
    main_criterion = task.criteria[0]
    distance = measured(task, main_criterion, episodes.states[chosen.pair], goal[None])[: len(frames)]
    drawn = [it for it in task.criteria[:2] if it.measure == main_criterion.measure]
    picture = _draw_states(evaluation, goal[None])[0]
    videos = [
        PlayerVideo(label, "unlabelled", mp4_bytes_within(frames, FPS, budget)),
        PlayerVideo("goal", "decoded", mp4_bytes_within(np.repeat(picture[None], len(frames), 0), FPS, budget)),
    ]
    if gallery is not None:
        imagined, captions = _imagined(evaluation, episodes, chosen.pair, frames, gallery)
        videos.append(PlayerVideo("imagined", "decoded", mp4_bytes_within(imagined, FPS, budget), captions=captions))
    if other is not None:
        shown = _draw_episode(evaluation, other[1], chosen.pair)
        missing = max(0, len(frames) - len(shown))
        shown = np.concatenate([shown, np.repeat(shown[-1:], missing, 0)])[: len(frames)]
        videos.append(PlayerVideo(other[0], "decoded", mp4_bytes_within(shown, FPS, budget)))
    way = float(task.to_go(episodes.states[chosen.pair, 0], goal))
    return Player(
        title=f"Pair {chosen.pair}",
        fps=FPS,
        frames=len(frames),
        videos=videos,
        curves={f"distance to the goal ({unit})": [((np.arange(len(frames)) / FPS).tolist(), distance.tolist())]},
        levels={f"distance to the goal ({unit})": [(it.tolerance, f"{it.name} tolerance") for it in drawn]},
        numbers={"way at the start": f"{way:.1f} {unit}", "distance at the end": f"{distance[-1]:.1f} {unit}"},
        tag=f"{criterion}: {'success' if chosen.succeeded else 'failure'}",
        quantity="over time:",
    )


def _draw_states(evaluation: Evaluation, states: NDArray[np.float64]) -> Frames:
    """Pictures of states: [T, S] -> [T, H, W, 3]."""
    made = make_environment(evaluation.environment_id, evaluation.options)
    try:
        return np.stack([picture_of(made, evaluation.environment_id, evaluation.task, state) for state in states])
    finally:
        made.close()


def _draw_episode(evaluation: Evaluation, episodes: Episodes, pair: int) -> Frames:
    return _draw_states(evaluation, episodes.states[pair, : int(episodes.length[pair]) + 1])


class Gallery:
    """Draws latents: by the decoder of the run, else as the recorded frame with the nearest latent."""

    def __init__(self, decoder: Decoder | None, recorded: Sequence[Recorded]) -> None:
        self._decoder = decoder
        latents: list[torch.Tensor] = []
        frames: list[Frames] = []
        for episode in recorded if decoder is None else []:
            room = NEAREST_FRAMES - sum(map(len, frames))
            if episode.frames is None or room < 1 or sum(some.nbytes for some in frames) > NEAREST_BYTES:
                break
            latents.append(episode.latents[:room])
            frames.append(episode.frames(range(len(latents[-1]))))
        self._latents = torch.cat(latents) if latents else None
        self._frames = np.concatenate(frames) if frames else None

    @property
    def how(self) -> str:
        """What a picture is, for the page; empty where nothing can be drawn."""
        if self._decoder is not None:
            return "drawn by the decoder of the run"
        return "the recorded held-out frame with the nearest latent" if self._frames is not None else ""

    @torch.no_grad()
    def draw(self, latents: torch.Tensor) -> Frames:
        """[M, N, D] -> [M, H, W, 3]"""
        if self._decoder is not None:
            decoded = self._decoder(latents[:, None])[:, -1]  # [M, 3, S, S], the last frame of a latent step
            picture: Frames = decoded.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
            return picture
        assert self._latents is not None
        assert self._frames is not None
        flat = self._latents.flatten(1).to(latents.device)
        nearest = torch.cdist(latents.flatten(1), flat).argmin(1).cpu().numpy()
        return self._frames[nearest]


@torch.no_grad()
def _imagined(
    evaluation: Evaluation, episodes: Episodes, pair: int, frames: Frames, gallery: Gallery
) -> tuple[Frames, list[tuple[float, str]]]:
    """What the model predicted for the executed part of each plan, in step with the frames of the episode."""
    model, planning = evaluation.model, evaluation.planning
    assert model is not None
    block, horizon = model.actions_per_step, planning.config.horizon
    needed = 1 + (planning.context - 1) * block
    found, captions = [gallery.draw(model.encode(torch.from_numpy(frames[:1, None]).to(evaluation.device))[:, -1])[0]], []
    actions = episodes.actions[pair]
    seen, before = _lead_in(evaluation, pair, actions.shape[-1])
    following = 0
    while following < len(frames) - 1:
        first = following
        pictures = [*seen, *(frame[None] for frame in frames[: first + 1])][-needed:]
        done = [*before, *(row[None] for row in actions[:first])]
        history = History(first, episodes.states[pair : pair + 1, first], pictures, done)
        context = observe(model, history, planning.context, evaluation.device)
        executed = plan_at(first, horizon, planning.executed, block, planning.shrinking)[1]
        following = first + executed
        steps = min(executed, len(frames) - 1 - first) // block
        if not steps:
            break
        plan = torch.from_numpy(actions[first : first + steps * block].reshape(1, 1, steps, -1)).float().to(evaluation.device)
        drawn = gallery.draw(model.imagine(context, plan)[0, 0])
        for step in range(steps):
            captions.append(((first + 1 + step * block) / FPS, f"{(step + 1) * block} steps ahead"))
            found += [drawn[step]] * block
    found += [found[-1]] * (len(frames) - len(found))
    return np.stack(found[: len(frames)]), captions


def _lead_in(evaluation: Evaluation, pair: int, action_size: int) -> tuple[list[Frames], list[NDArray[np.float64]]]:
    """What is seen before the first plan: pictures [1, H, W, 3], and actions [1, A]."""
    cases = evaluation.cases([pair])
    environments = Environments(evaluation.environment_id, evaluation.options, evaluation.task, cases, 0)
    try:
        return environments.watch(action_size, with_pictures=True)
    finally:
        environments.close()
