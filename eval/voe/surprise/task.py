"""One evaluation: films in pieces, each judged by one rank and left as a file."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from eval.cache.cache_folder import cache_folder
from eval.cache.cache_lock import cache_lock
from eval.cache.sealed import LEFT_OUT, UNREAD, discard
from eval.errors import EvalError
from eval.result_folder import read_result
from eval.subject import Subject, untrained, weights_hash
from eval.voe.suites import Suite
from eval.voe.surprise.calibration import Line, Usual, fit_all, load_lines, save_line
from eval.voe.surprise.forecasting import BOTH_EVERYWHERE, EVERYWHERE, MODEL_ALONE, WHERE_LOCKED, WITH_AND_WITHOUT_MEMORY, Scope
from eval.voe.surprise.scoring import Judge, Shot, blind_traces
from eval.voe.surprise.stored_calibration import CalibrationFolder
from eval.voe.surprise.traces import Block, write_traces
from eval.voe.surprise.whitening import ErrorMoments, load_moments, save_moments
from eval.voe.surprise.windows import Window, WindowPlan
from eval.voe.trials import Film, Trial, read_film
from eval.workload import discard_damaged, share
from worldmodel.files.atomic import replacing, write_arrays, write_json
from worldmodel.files.file_names import file_name_for
from worldmodel.files.outputs import sha256_of
from worldmodel.video import VideoError
from worldmodel.video.square import Square

UNTRAINED_FORMAT = 2  # results of format 1 do not tell which videos they lack
TRIALS_AT_ONCE = 8
LAWFUL_AT_ONCE = 25
TRACES = 4  # raise it where the same model would leave other traces: what was kept or begun before is then not used
FOR_THE_LINE = 100  # lawful films are enough for one number


@dataclass(frozen=True)
class Task:
    """Who is judged on what, and how films are cut."""

    subject: Subject
    suite: Suite
    plan: WindowPlan
    scope: Scope
    size_px: int
    device: torch.device
    ranks: PartialState
    square: Square = "squeeze"  # how frames are made square
    calibrations: CalibrationFolder | None = None  # of the run, where it is calibrated on its own val split

    @property
    def pieces(self) -> list[Sequence[Trial]]:
        return in_pieces(self.suite.trials)

    @property
    def has_places(self) -> bool:
        """Whether surprise can be drawn over a picture: latents of several places that are a square."""
        places = 1 if self.subject.model is None else self.subject.model.latent_shape[0]
        return places > 1 and math.isqrt(places) ** 2 == places

    @property
    def has_locked(self) -> bool:
        return any(trial.locked for trial in self.suite.trials)

    def key(self, lawful: Sequence[Film]) -> str:
        """Of everything that determines the traces: 16 hex digits."""
        said = {"subject": self.subject.hash, "spec": self.subject.spec, **self._conditions(lawful)}
        return _digest(said)

    def _conditions(self, lawful: Sequence[Film]) -> dict[str, Any]:
        return {
            "traces": TRACES,
            "plan": asdict(self.plan),
            "scope": self.scope,
            "size_px": self.size_px,
            "square": self.square,
            "suite": [asdict(trial) for trial in self.suite.trials],
            "lawful": [asdict(film) for film in lawful],
            "torch": torch.__version__,
        }

    # --- judging -----------------------------------------------------------------------------------------------------
    def judge(self, parts: Path, lawful: Sequence[Film], ablation: Sequence[int] = ()) -> tuple[list[Path], Usual]:
        """Traces of the subject in PARTS, a file a piece, and what is usual for it on lawful films.

        `ablation`: the model's errors are whitened by so many films too, and place by place.
        """
        parts.mkdir(parents=True, exist_ok=True)
        model, files = self.subject.model, [parts / f"{index:05d}.parquet" for index in range(len(self.pieces))]
        if self.ranks.is_main_process:
            self._discard_outdated(parts, files, lawful)
        self.ranks.wait_for_everyone()
        if model is None:
            return share("films", self.pieces, lambda i: files[i], self._load, self._score_blind, self.ranks), Usual()
        judge = Judge(
            model, self.plan, self.device, self.scope, WHERE_LOCKED if self.has_locked else EVERYWHERE, bool(ablation)
        )
        everywhere = replace(judge, asked=EVERYWHERE)  # so that each forecaster has errors at every horizon
        usual = self._usual("lawful films", everywhere, parts, lawful, ablation)

        def work(reel: Reel, file: Path) -> None:
            blocks: list[Block] = []
            for shots in reel.groups:
                blocks += [*judge.traces(shots, usual), *blind_traces(shots, self.plan), *judge.paths(shots)]
            reel.note_unread(file)
            write_traces(file, blocks)

        return share("films", self.pieces, lambda i: files[i], self._load, work, self.ranks), usual

    def judge_untrained(self, seed: int, lawful: Sequence[Film], parts: Path) -> list[Path]:
        """Traces of the same architecture, untrained: copies in PARTS of those that the cache holds for other evaluations.

        Another evaluation may replace the files of the cache as soon as the lock on them is released, but not the copies.
        """
        like = self.subject.model
        assert like is not None
        judge = Judge(untrained(like, seed, self.device), self.plan, self.device, self.scope, WITH_AND_WITHOUT_MEMORY)
        everywhere = replace(judge, asked=BOTH_EVERYWHERE)  # so that both have errors at every horizon
        if self._only_stored and self._stored(everywhere, lawful, ()) is None:
            lawful = ()
        said = {**like.architecture, **self._conditions(lawful), "untrained": UNTRAINED_FORMAT}
        folder = cache_folder() / "untrained" / _digest(said) / str(seed)
        what = f"untrained network {seed}"
        copies = [parts / f"untrained_{seed}_{index:05d}.parquet" for index in range(len(self.pieces))]
        with cache_lock(folder, what, self.ranks):
            files = self._judge_untrained(judge, everywhere, folder, what, seed, lawful)
            if self.ranks.is_main_process:
                for file, copy in zip(files, copies, strict=True):
                    with replacing(copy) as part:
                        shutil.copyfile(file, part)
        return copies

    def _judge_untrained(
        self, judge: Judge, everywhere: Judge, folder: Path, what: str, seed: int, lawful: Sequence[Film]
    ) -> list[Path]:
        """In FOLDER, which no other process writes to meanwhile."""
        files = [folder / f"{index:05d}.parquet" for index in range(len(self.pieces))]
        if self.ranks.is_main_process:
            self._discard_outdated(folder, files, lawful)
        self.ranks.wait_for_everyone()
        made = all(file.exists() for file in files)
        usual = Usual() if made else self._usual(f"{what}, lawful films", everywhere, folder, lawful, ())
        names = {"distance": f"untrained {seed}", **{it: f"untrained {seed}, {it}" for it in ("whitened", "adjusted")}}

        def work(reel: Reel, file: Path) -> None:
            blocks = [block for shots in reel.groups for block in judge.traces(shots, usual) if block.scorer in names]
            reel.note_unread(file)
            write_traces(file, [Block(**{**vars(block), "scorer": names[block.scorer]}) for block in blocks])

        return share(what, self.pieces, lambda i: files[i], self._load, work, self.ranks)

    def _discard_outdated(self, folder: Path, files: Sequence[Path], lawful: Sequence[Film]) -> None:
        """Remove results that were damaged, or made while a video could not be read that can be read now.

        All results depend on the possible videos; each piece depends on its own videos, too.
        """
        discard_damaged([*files, *folder.glob("lawful_*.npz"), *folder.glob("line_*.json")])
        left_out = [film for path in folder.glob(f"lawful_*{LEFT_OUT}") for film in read_result(path)]
        by_id = {film.film_id: film for film in lawful}
        if self._any_is_readable([(by_id[name], self.plan.of_lawful) for name in left_out if name in by_id]):
            for path in (*files, *folder.glob("lawful_*.npz"), *folder.glob("line_*.json"), *folder.glob("maps_*.json")):
                discard(path)
        for file, trials in zip(files, self.pieces, strict=True):
            if (note := file.with_suffix(UNREAD)).exists():
                unread = read_result(note)
                if self._any_is_readable([it for it in self._films_of(trials) if it[0].film_id in unread]):
                    discard(file)

    def _any_is_readable(self, films: Sequence[tuple[Film, Callable[[int], list[Window]]]]) -> bool:
        return any(not self._shoot([film]).unread for film in films)

    def draw_maps(self, folder: Path, parts: Path, trials: Sequence[Trial], usual: Usual) -> None:
        """Surprise by place of each film of these trials: a file in FOLDER with the arrays of `Judge.maps`."""
        model = self.subject.model
        assert model is not None
        folder.mkdir(exist_ok=True)
        judge = Judge(model, self.plan, self.device, self.scope, MODEL_ALONE)
        pieces = in_pieces(trials)
        files = [parts / f"maps_{_digest([trial.group_id for trial in piece])}.json" for piece in pieces]
        if self.ranks.is_main_process:
            self._discard_without_maps(files, pieces, folder)
        self.ranks.wait_for_everyone()

        def work(reel: Reel, file: Path) -> None:
            written: dict[str, str] = {}
            for shots in reel.groups:
                for film_id, arrays in judge.maps(shots, usual).items():
                    path = folder / file_name_for(film_id, ".npz")
                    write_arrays(path, arrays)
                    written[path.name] = sha256_of(path)
            write_json(file, written)

        share("heat maps", pieces, lambda i: files[i], self._load, work, self.ranks)

    def _discard_without_maps(self, files: Sequence[Path], pieces: Sequence[Sequence[Trial]], folder: Path) -> None:
        """Remove notes about maps that must be drawn again.

        Either a map is no longer in FOLDER as it was written, or a video without a map can be read now.
        """
        discard_damaged(files)
        for file, trials in zip(files, pieces, strict=True):
            if not file.exists():
                continue
            noted = read_result(file)
            changed = any(not (folder / name).is_file() or sha256_of(folder / name) != digest for name, digest in noted.items())
            without = [it for it in self._films_of(trials) if file_name_for(it[0].film_id, ".npz") not in noted]
            if changed or self._any_is_readable(without):
                discard(file)

    # --- inside ------------------------------------------------------------------------------------------------------
    def _usual(self, what: str, judge: Judge, parts: Path, lawful: Sequence[Film], ablation: Sequence[int]) -> Usual:
        """The calibration of a judge on possible videos; that of a run's own val split is stored in its folder, from where it
        is taken where those videos are missing. Raises EvalError where those that can be read are too short for the horizon."""
        if len(lawful) < 2:
            return Usual()
        if self._only_stored:
            return self._stored(judge, lawful, ablation) or Usual()
        usual = self._calibrated(what, judge, parts, lawful, ablation)
        if self.calibrations is not None and self.ranks.is_main_process:
            self.calibrations.store(self._asked(judge, lawful, ablation), usual)
        return usual

    @property
    def _only_stored(self) -> bool:
        return self.calibrations is not None and self.calibrations.instead

    def _stored(self, judge: Judge, lawful: Sequence[Film], ablation: Sequence[int]) -> Usual | None:
        return None if self.calibrations is None else self.calibrations.find(self._asked(judge, lawful, ablation))

    def _asked(self, judge: Judge, lawful: Sequence[Film], ablation: Sequence[int]) -> dict[str, Any]:
        """Everything that determines a calibration."""
        assert isinstance(judge.model, torch.nn.Module)
        return {
            "weights": weights_hash(judge.model),
            "plan": asdict(self.plan),
            "scope": self.scope,
            "size_px": self.size_px,
            "square": self.square,
            "locked": self.has_locked,
            "forecasters": {kind: list(names) for kind, names in judge.asked.items()},
            "ablation": list(ablation),
            "lawful": [asdict(film) for film in lawful],
        }

    def _calibrated(self, what: str, judge: Judge, parts: Path, lawful: Sequence[Film], ablation: Sequence[int]) -> Usual:
        """Films in order, so that the first n of them are the same on any number of ranks."""
        chunks = [tuple(lawful[first : first + LAWFUL_AT_ONCE]) for first in range(0, len(lawful), LAWFUL_AT_ONCE)]

        def load(films: Sequence[Film]) -> Reel:
            return self._shoot([(film, self.plan.of_lawful) for film in films])

        def work(reel: Reel, file: Path) -> None:
            found: dict[str, ErrorMoments] = {}
            for shots in reel.groups:
                for name, moments in judge.moments(shots).items():
                    found.setdefault(name, moments.like()).merge(moments)
            write_json(file.with_suffix(LEFT_OUT), reel.unread)
            save_moments(file, found)

        files = share(what, chunks, lambda i: parts / f"lawful_{i:05d}.npz", load, work, self.ranks)
        notes = left_out_note([file.with_suffix(LEFT_OUT) for file in files], len(lawful))
        total: dict[str, ErrorMoments] = {}
        fewer: dict[str, ErrorMoments] = {}
        for file in files:
            for name, moments in load_moments(file).items():
                total.setdefault(name, moments.like()).merge(moments)
            for kind in ("locked", "free"):
                if (own := total.get(f"{kind}/model")) is not None and own.films in ablation:
                    fewer[f"{kind}/model, {own.films} films"] = deepcopy(own)
        if all(moments.films < 2 for moments in total.values()):
            return Usual(notes=notes)
        try:
            usual = Usual(fit_all(total | fewer), notes=notes)
        except ValueError as error:
            raise EvalError(
                f"{' '.join(notes)} {error}; give others with --lawful MANIFEST, or a shorter --horizon and --fresh".strip()
            ) from None
        if not self.has_locked:
            return usual

        def line(reel: Reel, file: Path) -> None:
            save_line(file, sum((together.line(shots, usual) for shots in reel.groups), Line()))

        together = replace(judge, asked=WITH_AND_WITHOUT_MEMORY)
        some = chunks[: -(-FOR_THE_LINE // LAWFUL_AT_ONCE)]
        lines = share(f"{what}, once more", some, lambda i: parts / f"line_{i:05d}.json", load, line, self.ranks)
        return replace(usual, foretold=load_lines(lines).slope)

    def _films_of(self, trials: Sequence[Trial]) -> list[tuple[Film, Callable[[int], list[Window]]]]:
        """Films, each with a function from its number of frames to its windows."""
        return [(film, partial(self.plan.of, trial, film.fps)) for trial in trials for film in trial.films]

    def _load(self, trials: Sequence[Trial]) -> Reel:
        return self._shoot(self._films_of(trials))

    def _shoot(self, films: Sequence[tuple[Film, Callable[[int], list[Window]]]]) -> Reel:
        by_length: dict[int, list[Shot]] = defaultdict(list)
        unread = {}
        for film, windows_of in films:
            try:
                frames = read_film(film, self.plan.fps, self.size_px, self.square)
            except (VideoError, OSError) as error:
                unread[film.film_id] = str(error)
                continue
            if windows := windows_of(len(frames)):
                by_length[len(frames)].append(Shot(film.film_id, frames, windows))
            else:
                unread[film.film_id] = f"{len(frames)} frames at {self.plan.fps:g} fps are too few for any window"
        return Reel(list(by_length.values()), unread)

    def _score_blind(self, reel: Reel, file: Path) -> None:
        reel.note_unread(file)
        write_traces(file, [block for shots in reel.groups for block in blind_traces(shots, self.plan)])


@dataclass(frozen=True)
class Reel:
    """Films of one piece of work: grouped by length, and those that could not be read, with the reason."""

    groups: list[list[Shot]]
    unread: dict[str, str]

    def note_unread(self, file: Path) -> None:
        if self.unread:
            write_json(file.with_suffix(UNREAD), self.unread)


def in_pieces(trials: Sequence[Trial]) -> list[Sequence[Trial]]:
    """Trials that are locked at the same frames together: a window is forecast for all films of its piece."""
    alike = sorted(trials, key=lambda trial: trial.locked or (0, 0))
    return [alike[first : first + TRIALS_AT_ONCE] for first in range(0, len(alike), TRIALS_AT_ONCE)]


def unread_films(parts: Path) -> dict[str, str]:
    """Films that could not be judged, with the reason."""
    found = [read_result(path) for path in sorted(parts.glob(f"*{UNREAD}"))]
    return {film: reason for some in found for film, reason in some.items()}


def left_out_note(files: Sequence[Path], count: int) -> tuple[str, ...]:
    """A sentence on the possible videos that could not be used, of so many; none where all could."""
    left_out: dict[str, str] = {}
    for file in files:
        if file.exists():  # an untrained network's folder may be older than this file
            left_out |= read_result(file)
    if not left_out:
        return ()
    name, reason = next(iter(left_out.items()))
    return (f"{len(left_out)} of {count} possible videos were left out of the calibration, such as {name}: {reason}.",)


def _digest(said: Mapping[str, Any] | Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]
