"""Clips of the physics world with their ground truth, and their latents under the networks that are
probed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from data_prep.progress import bar
from eval.errors import EvalError
from eval.probes.aligned_truth import AlignedTruth
from eval.probes.clips import choose_clips, equally_long, open_possible, read_clips, source_frames
from eval.probes.constant_velocity import MIN_VISIBLE_STEPS
from eval.probes.ground_truth import read_ground_truth
from eval.probes.latents import ClipLatents, concatenate, encode_clips, pixel_latents
from eval.subject import Subject, untrained_copy
from worldmodel.manifest import Clip
from worldmodel.models.world_model import WorldModel

BATCH_CLIPS = 16
MODEL, UNTRAINED, PIXELS = "model", "untrained", "pixels"
CONTEXTS = 6  # approximate number of context lengths after which forecasts are made


@dataclass(frozen=True)
class ProbeData:
    """Clips that are probed together, all cut to the same length."""

    clips: Sequence[Clip]
    frames: int  # of each, at the model's rate
    truth: AlignedTruth


def networks(subject: Subject, device: torch.device) -> dict[str, WorldModel]:
    """The model and, unless it is untrained itself, the same architecture untrained.

    Raises EvalError for a baseline that has no latents.
    """
    if subject.model is None:
        raise EvalError(f"{subject.spec} has no latents to probe; --model takes RUN, hf:FOLDER or untrained:RECIPE.yaml")
    found = {MODEL: subject.model}
    if not subject.spec.startswith("untrained:"):
        found[UNTRAINED] = untrained_copy(subject.model, 0, device, subject.precision)
    return found


def open_probe_data(path: str, split: str, limit: int | None, model: WorldModel, min_steps: int, folds: int) -> ProbeData:
    """Open a manifest of possible videos and read the ground truth of a split.

    Raises EvalError where videos have no ground truth, are too short or too few; ManifestError if
    the file is not a manifest.
    """
    if folds < 2:
        raise EvalError(f"--folds {folds}: at least 2, so that each video is scored by a probe fitted on other videos")
    clips, steps = equally_long(choose_clips(open_possible(path), split, limit), model, min_steps)
    if len(clips) < 2 * folds:
        raise EvalError(f"{path} has {len(clips)} {split} videos, too few for {folds} folds of at least two; lower --folds")
    return with_ground_truth(clips, steps, model, folds)


def with_ground_truth(clips: Sequence[Clip], steps: int, model: WorldModel, folds: int) -> ProbeData:
    """Read the ground truth of clips of `steps` latent steps.

    Raises EvalError where a clip has none.
    """
    f = model.tubelet_size
    truths = [read_ground_truth(clip) for clip in clips]
    step_ends = [source_frames(steps * f, model.fps, clip)[f - 1 :: f] for clip in clips]
    step_ends = [frames.clip(max=truth.frames - 1) for frames, truth in zip(step_ends, truths, strict=True)]
    return ProbeData(clips, steps * f, AlignedTruth(truths, step_ends, f / model.fps, folds))


def collect_latents(
    label: str,
    nets: Mapping[str, WorldModel],
    groups: Sequence[tuple[Sequence[Clip], Mapping[int, int]]],
    frames: int,
    device: torch.device,
) -> list[dict[str, ClipLatents]]:
    """Latents of each group of clips by network, with raw pixels as one more network.

    A group is clips and the number of steps to forecast by context length. label: text of the
    progress bar.
    """
    model, found = nets[MODEL], []
    with bar(label, sum(len(clips) for clips, _ in groups)) as progress:
        for clips, forecast_steps in groups:
            parts: dict[str, list[ClipLatents]] = {name: [] for name in (*nets, PIXELS)}
            for first in range(0, len(clips), BATCH_CLIPS):
                batch = clips[first : first + BATCH_CLIPS]
                pixels = torch.from_numpy(read_clips(batch, model.fps, model.size_px, frames, [0] * len(batch))).to(device)
                for name, net in nets.items():
                    parts[name].append(encode_clips(net, pixels, forecast_steps))
                parts[PIXELS].append(pixel_latents(pixels, model.tubelet_size, list(forecast_steps)))
                progress.step(len(batch))
            found.append({name: concatenate(some) for name, some in parts.items()})
    return found


def shortest_context(model: WorldModel, context_s: float | None) -> int:
    """Latent steps of the shortest context: as given, else a third of the model's window, but long
    enough to show a body's velocity. Raises EvalError for a length that the model cannot take."""
    f = model.tubelet_size
    if context_s is None:
        return max(1, min(max(model.max_context // 3, MIN_VISIBLE_STEPS * f), model.max_context) // f)
    frames = round(context_s * model.fps)
    if frames > model.max_context or frames < f:
        raise EvalError(
            f"--context-s {context_s:g} is {frames} frames at {model.fps:g} fps; the model takes {f} to {model.max_context}"
        )
    return frames // f


def context_lengths(shortest: int, steps: int) -> list[int]:
    """About CONTEXTS evenly spaced context lengths, from the shortest one up to `steps`
    (exclusive)."""
    return list(range(shortest, steps, max(1, -(-(steps - shortest) // CONTEXTS))))


def parse_horizons(text: str, step_s: float, max_steps: int) -> dict[str, int]:
    """Parse "0.25,0.5": text of the rounded seconds -> latent steps.

    Raises EvalError for a horizon that the videos do not reach.
    """
    found = {}
    for part in text.split(","):
        steps = round(float(part) / step_s)
        if not 1 <= steps <= max_steps:
            raise EvalError(
                f"--horizons {part}: expected {step_s:.3g} to {max_steps * step_s:.3g} s, the time that the videos have after "
                "the shortest context"
            )
        found[f"{steps * step_s:.3g}"] = steps
    return found
