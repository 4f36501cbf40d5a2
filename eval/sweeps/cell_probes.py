"""Probes of the networks of a sweep, on the same videos and with the same method as `eval probe`,
so that scores are comparable.

A score is a mean over seeds. Its interval is over videos and does not include the variation between
trainings. A change is between trainings with the same seed on the same videos, so the common
difficulty of a video cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field, PositiveInt

from eval.errors import EvalError
from eval.probes.dataset import MODEL, PIXELS, UNTRAINED, ProbeData, collect_latents, open_probe_data, shortest_context
from eval.probes.evaluation import ProbeTask
from eval.probes.latents import ClipLatents
from eval.probes.metrics import Score, Statistic, difference, mean_statistic
from eval.probes.results import ScoreJson, score_json
from eval.probes.targets import PROBE_TARGETS
from eval.subject import untrained_copy
from eval.sweeps.grid import Cell
from worldmodel.checkpoint import CheckpointError, load_model
from worldmodel.config import Config
from worldmodel.models import build_model
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe


class ProbeDataConfig(Config):
    """The videos that are probed. They are not augmented."""

    manifest: str
    """possible videos with their ground truth"""
    split: str = "val"
    """split of the manifest"""
    max_videos: PositiveInt | None = None
    """number of videos at most, a random sample; null: all of the split"""
    folds: int = Field(5, ge=2)
    """folds of cross-validation"""


@dataclass(frozen=True)
class ProbeScore:
    """The score of one property for one network, and the same as a statistic that can be
    compared."""

    score: Score
    statistic: Statistic


class SeedScores(ScoreJson, total=False):
    """The mean score over seeds."""

    seeds: dict[str, ScoreJson]  # by seed
    change: Change | None  # since the weakest strength


class Change(ScoreJson, total=False):
    """Difference of two mean scores, over the seeds that both have."""

    seeds: dict[str, float]  # by seed


ScoresBySeed = Mapping[int, Mapping[str, ProbeScore]]
"""By seed, then property."""


@dataclass(frozen=True)
class CellProbes:
    """The videos and the properties that are probed."""

    data: ProbeData
    tasks: Mapping[str, ProbeTask]
    device: torch.device

    @classmethod
    def create(cls, config: ProbeDataConfig, recipe: Recipe, properties: Sequence[str], device: torch.device) -> CellProbes:
        """Raises EvalError and other user-facing errors where models of this recipe cannot be
        probed on the videos."""
        model = untrained_model(recipe, 0, device)
        min_steps = shortest_context(model, None) + 1
        data = open_probe_data(config.manifest, config.split, config.max_videos, model, min_steps, config.folds)
        return cls(data, {it: ProbeTask.create(data.truth, PROBE_TARGETS[it], "linear", device) for it in properties}, device)

    def baselines(self, cells: Sequence[Cell]) -> dict[str, ScoresBySeed]:
        """Scores of raw pixels, and of the untrained network of each seed."""
        recipes = {cell.seed: cell.recipe for cell in reversed(cells)}
        latents = {
            seed: self._encode(f"untrained {seed}", untrained_model(it, seed, self.device))
            for seed, it in sorted(recipes.items())
        }
        pixels = next(iter(latents.values()))[PIXELS]
        return {PIXELS: {0: self._probe(pixels)}, UNTRAINED: {seed: self._probe(it[MODEL]) for seed, it in latents.items()}}

    def of_cell(self, cell: Cell) -> Mapping[str, ProbeScore]:
        last = cell.checkpoint()
        if last is None:
            raise CheckpointError(f"{cell.recipe.run} has no complete checkpoint; remove it and run the same command again")
        model, _ = load_model(last.folder, self.device)
        return self._probe(self._encode(f"probing {cell.name}", model)[MODEL])

    def _encode(self, label: str, model: WorldModel) -> dict[str, ClipLatents]:
        return collect_latents(label, {MODEL: model}, [(self.data.clips, {})], self.data.frames, self.device)[0]

    def _probe(self, latents: ClipLatents) -> Mapping[str, ProbeScore]:
        """Score each property at every time step that has it, with cross-fitted probes."""
        found = {}
        for name, task in self.tasks.items():
            clip, step = task.target_rows()
            truth = task.targets(clip, step)
            try:
                probe = task.fit_probe(latents)
            except EvalError as error:
                raise EvalError(f"{name} cannot be probed: {error}") from None
            predicted = probe(latents.target_at(clip, step, task.input_steps), clip)
            found[name] = ProbeScore(task.score(truth, predicted, clip), task.statistic(truth, predicted, clip))
        return found


def untrained_model(recipe: Recipe, seed: int, device: torch.device) -> WorldModel:
    return untrained_copy(build_model(recipe.model, recipe.window), seed, device)


def mean_over_seeds(by_seed: ScoresBySeed, prop: str) -> SeedScores:
    """The mean score of a property, and the scores of the seeds."""
    own = {seed: scores[prop] for seed, scores in by_seed.items()}
    first = next(iter(own.values())).score
    interval = mean_statistic([it.statistic for it in own.values()]).interval()
    mean = Score(first.metric, *interval, first.n, first.rows, first.chance)
    seeds: SeedScores = {"seeds": {str(seed): score_json(it.score) for seed, it in own.items()}}
    return {**score_json(mean), **seeds}


def change_since(base: ScoresBySeed, by_seed: ScoresBySeed, prop: str) -> Change | None:
    """by_seed - base, over the seeds that both have; None where they have none in common."""
    both = sorted(base.keys() & by_seed.keys())
    if not both:
        return None
    changes = [difference(by_seed[seed][prop].statistic, base[seed][prop].statistic) for seed in both]
    value, low, high = mean_statistic(changes).interval()
    seeds = {str(seed): change.interval()[0] for seed, change in zip(both, changes, strict=True)}
    return {"value": value, "low": low, "high": high, "seeds": seeds}
