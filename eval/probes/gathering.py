"""Films of the physics world and what networks make of them: the first step of every probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from data_prep.progress import bar
from eval.errors import EvalError
from eval.probes.clips import alike, choose, open_lawful, read_clips, shown_frames
from eval.probes.evaluation import SEEN_STEPS, Cohort
from eval.probes.ground_truth import read_truth
from eval.probes.recordings import Recording, join, record, record_pixels
from eval.subject import Subject, untrained
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

FILMS_AT_ONCE = 16
MODEL, UNTRAINED, PIXELS = "model", "untrained", "pixels"
CUTS = 6  # context lengths that forecasts are made after, about


@dataclass(frozen=True)
class Films:
    """The films of one data set that are probed, all cut to the same length."""

    clips: Sequence[Clip]
    frames: int  # at the model's rate
    cohort: Cohort


def networks(subject: Subject, device: torch.device) -> dict[str, WorldModel]:
    """The model, and its architecture as it is born unless it is that already. Raises EvalError for a blind scorer."""
    if subject.model is None:
        raise EvalError(f"{subject.spec} has no latents to probe; --model takes RUN, hf:FOLDER or untrained:RECIPE.yaml")
    found = {MODEL: subject.model}
    if not subject.spec.startswith("untrained:"):
        found[UNTRAINED] = untrained(subject.model, 0, device)
    return found


def open_films(path: str, split: str, limit: int | None, model: WorldModel, least_steps: int, folds: int) -> Films:
    """Raises EvalError where films have no truth, are too short or too few, ManifestError where the manifest is none."""
    if folds < 2:
        raise EvalError(f"--folds {folds}: at least 2, so that films are read by a probe that was fitted on others")
    clips, steps = alike(choose(open_lawful(path), split, limit), model, least_steps)
    if len(clips) < 2 * folds:
        raise EvalError(f"{path} has {len(clips)} {split} films, too few for {folds} folds of at least two; lower --folds")
    return film_cohort(clips, steps, model, folds)


def film_cohort(clips: Sequence[Clip], steps: int, model: WorldModel, folds: int) -> Films:
    """Clips of so many latent steps, with their truth. Raises EvalError where one has none."""
    f = model.tubelet_size
    truths = [read_truth(clip) for clip in clips]
    shown = [shown_frames(steps * f, model.fps, clip)[f - 1 :: f] for clip in clips]
    shown = [frames.clip(max=truth.frames - 1) for frames, truth in zip(shown, truths, strict=True)]
    return Films(clips, steps * f, Cohort(truths, shown, f / model.fps, folds))


def gather(
    what: str,
    nets: Mapping[str, WorldModel],
    groups: Sequence[tuple[Sequence[Clip], Mapping[int, int]]],
    frames: int,
    device: torch.device,
) -> list[dict[str, Recording]]:
    """Of each group of films: what each network, and raw pixels, make of them. A group is films, and how many steps to
    forecast of them, by cut."""
    model, found = nets[MODEL], []
    with bar(what, sum(len(clips) for clips, _ in groups)) as progress:
        for clips, reach in groups:
            parts: dict[str, list[Recording]] = {name: [] for name in (*nets, PIXELS)}
            for first in range(0, len(clips), FILMS_AT_ONCE):
                some = clips[first : first + FILMS_AT_ONCE]
                films = torch.from_numpy(read_clips(some, model.fps, model.size_px, frames, [0] * len(some))).to(device)
                for name, net in nets.items():
                    parts[name].append(record(net, films, reach))
                parts[PIXELS].append(record_pixels(films, model.tubelet_size, list(reach)))
                progress.step(len(some))
            found.append({name: join(some) for name, some in parts.items()})
    return found


def first_cut(model: WorldModel, context_s: float | None) -> int:
    """Steps of the shortest context: as asked, else a third of the model's window, but enough of them to know a body's way
    by. Raises EvalError beyond the model."""
    f = model.tubelet_size
    if context_s is None:
        return max(1, min(max(model.max_context // 3, SEEN_STEPS * f), model.max_context) // f)
    frames = round(context_s * model.fps)
    if frames > model.max_context or frames < f:
        raise EvalError(
            f"--context-s {context_s:g} is {frames} frames at {model.fps:g} fps; the model sees {f} to {model.max_context}"
        )
    return frames // f


def cuts_from(first: int, steps: int) -> list[int]:
    """About CUTS context lengths from the first on, evenly spaced."""
    return list(range(first, steps, max(1, -(-(steps - first) // CUTS))))


def horizons_of(text: str, step_s: float, most: int) -> dict[str, int]:
    """Seconds as they are named -> steps. Raises EvalError for those beyond what films leave."""
    found = {}
    for part in text.split(","):
        steps = round(float(part) / step_s)
        if not 1 <= steps <= most:
            raise EvalError(
                f"--horizons {part}: after the shortest context films leave {step_s:.3g} to {most * step_s:.3g} s to forecast"
            )
        found[f"{steps * step_s:.3g}"] = steps
    return found
