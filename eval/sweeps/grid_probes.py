"""What can be read off each network of a grid, on the same films and by the same probes as `eval probe`, so that they compare.

A number is a mean over seeds. Its interval is over films, and says nothing of what another training would have given; a
change is of the same films and of pairs of trainings with the same seed, so that what is hard for both cancels.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from eval.errors import EvalError
from eval.probes.evaluation import Question, as_json
from eval.probes.gathering import MODEL, PIXELS, UNTRAINED, Films, first_cut, gather, open_films
from eval.probes.metrics import Score, Statistic, difference, mean
from eval.probes.recordings import Recording
from eval.probes.targets import PROPERTIES
from eval.subject import untrained
from eval.sweeps.grid import Cell
from worldmodel.checkpoint import CheckpointError, load_model
from worldmodel.models import build_model
from worldmodel.models.world_model import WorldModel
from worldmodel.process.arguments import count
from worldmodel.process.devices import add_device
from worldmodel.recipe import Recipe


@dataclass(frozen=True)
class Reading:
    """How well a property is read off one network, to be shown and to be compared."""

    score: Score
    statistic: Statistic


Readings = Mapping[str, Reading]  # by property
BySeed = Mapping[int, Readings]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="MANIFEST", help="lawful films with their truth, to be probed")
    parser.add_argument("--split", default="val", help="which of them (default val)")
    parser.add_argument("--films", type=count(1), metavar="N", help="at most so many, drawn at random (default: all)")
    parser.add_argument("--folds", type=count(2), default=5, help="parts that films are divided into (default 5)")
    add_device(parser, "what probing computes on")


@dataclass(frozen=True)
class Probes:
    """The films, not augmented, and what is asked of each moment."""

    films: Films
    questions: Mapping[str, Question]
    device: torch.device

    @classmethod
    def of(cls, args: argparse.Namespace, recipe: Recipe, properties: Sequence[str]) -> Probes:
        """Raises EvalError and its like where the films cannot be probed by models of this recipe."""
        device = torch.device(args.device)
        model = born(recipe, 0, device)
        films = open_films(args.data, args.split, args.films, model, first_cut(model, None) + 1, args.folds)
        return cls(films, {it: Question.of(films.cohort, PROPERTIES[it], "linear", device) for it in properties}, device)

    def references(self, cells: Sequence[Cell]) -> dict[str, BySeed]:
        """Raw pixels, and the network as it is born from each seed."""
        first = {cell.seed: cell.recipe for cell in reversed(cells)}
        recordings = {
            seed: self._record(f"untrained {seed}", born(it, seed, self.device)) for seed, it in sorted(first.items())
        }
        pixels = next(iter(recordings.values()))[PIXELS]
        return {PIXELS: {0: self._read(pixels)}, UNTRAINED: {seed: self._read(it[MODEL]) for seed, it in recordings.items()}}

    def of_cell(self, cell: Cell) -> Readings:
        last = cell.checkpoint()
        if last is None:
            raise CheckpointError(f"{cell.recipe.run} has no whole checkpoint; remove it, then the same command again")
        model, _ = load_model(last.folder, self.device)
        return self._read(self._record(f"probing {cell.name}", model)[MODEL])

    def _record(self, what: str, model: WorldModel) -> dict[str, Recording]:
        return gather(what, {MODEL: model}, [(self.films.clips, {})], self.films.frames, self.device)[0]

    def _read(self, recording: Recording) -> Readings:
        """Each property at every moment that has it, by probes that never saw the film."""
        found = {}
        for name, question in self.questions.items():
            film, step = question.encoded_rows()
            truth = question.targets(film, step)
            try:
                probe = question.probe(recording)
            except EvalError as error:
                raise EvalError(f"{name} cannot be probed: {error}") from None
            said = probe(recording.at(film, step, question.moments), film)
            found[name] = Reading(question.score(truth, said, film), question.statistic(truth, said, film))
        return found


def born(recipe: Recipe, seed: int, device: torch.device) -> WorldModel:
    return untrained(build_model(recipe.model, recipe.window), seed, device)


def mean_over_seeds(by_seed: BySeed, prop: str) -> dict[str, Any]:
    """One score, and those of the seeds."""
    mine = {seed: readings[prop] for seed, readings in by_seed.items()}
    first = next(iter(mine.values())).score
    whole = Score(first.metric, *mean([it.statistic for it in mine.values()]).interval(), first.n, first.rows, first.chance)
    return {**as_json(whole), "seeds": {str(seed): as_json(it.score) for seed, it in mine.items()}}


def change_since(base: BySeed, by_seed: BySeed, prop: str) -> dict[str, Any] | None:
    """by_seed - base, over the seeds that both have."""
    both = sorted(base.keys() & by_seed.keys())
    if not both:
        return None
    changes = [difference(by_seed[seed][prop].statistic, base[seed][prop].statistic) for seed in both]
    value, low, high = mean(changes).interval()
    alone = {str(seed): change.interval()[0] for seed, change in zip(both, changes, strict=True)}
    return {"value": value, "low": low, "high": high, "seeds": alone}
