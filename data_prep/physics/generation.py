"""Generation of many videos: in parallel, in shards, and resumable.

The configuration of a set of videos is first written as JSON beside its table, so that a folder
never mixes two configurations. Every finished job appends a line to a journal, in the order of the
plan. The same command resumes after the last line of which all files exist: a killed run resumes
where it stopped, and videos that were deleted since are generated again. The table is written at
the end, from the journals of all shards.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_absent, check_no_link, claim_folder
from data_prep.parallel.workers import Workers
from data_prep.physics.job_plan import PossibleJob, QuadrupletJob, SuiteSize, calibration_jobs, suite_jobs, train_jobs
from data_prep.physics.jobs import JobResult, run_job
from data_prep.physics.quad_table import write_quads
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.pool import Failed
from data_prep.progress import bar
from worldmodel.config import Config
from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.output_errors import output_errors
from worldmodel.files.output_mark import mark_folder
from worldmodel.manifest import Clip, write_manifest
from worldmodel.process.terminal import print_escaped

Job = PossibleJob | QuadrupletJob
TIMEOUT_S = 600.0
COMMAND = "data_prep synthesize"


class GenerationConfig(Config):
    """Everything that determines a set of videos."""

    kind: Literal["train", "calibration", "suite"]
    world: str = "builtin"
    seed: int
    size_px: int
    frames: int
    fps: float
    videos: int = 0
    """Number of videos for training or calibration."""
    occluded: int = 0
    """Number of occluded quadruplets per property for the test."""
    visible: int = 0
    """Number of visible quadruplets per property for the test."""
    validation: int = 0
    """Number of occluded quadruplets per property to choose a scorer."""
    unseen: int = 0
    """Number of occluded quadruplets per property with held-out shapes, textures and occluders."""
    levels: tuple[int, ...] = (1, 2)
    """Levels of quadruplets and of calibration videos. Those at which the world has no quadruplets are left out."""
    properties: tuple[str, ...] = ()
    randomised_looks: float = 0.0
    """Fraction of the videos for training that are painted anew. Left out of the files where it is 0."""
    generator: str
    """Version of the world."""
    mujoco: str = ""
    """Version of MuJoCo, where the world uses it. Equal versions give equal pixels."""
    numpy: str = ""

    @field_validator("levels")
    @classmethod
    def _levels_of_the_world(cls, levels: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        return WORLDS[info.data["world"]].levels_among(levels)

    @property
    def format(self) -> VideoFormat:
        return VideoFormat(self.size_px, self.frames, self.fps)

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of the tables that are written at the end."""
        return (f"{self.kind}.parquet", *(["quads.parquet"] if self.kind == "suite" else []))

    def as_json(self) -> dict[str, Any]:
        """The configuration as it is written beside the videos and into their tables."""
        return self.model_dump(mode="json", exclude=None if self.randomised_looks else {"randomised_looks"})

    def jobs(self) -> Iterator[Job]:
        """All jobs, in the order of the table."""
        if self.kind == "train":
            return train_jobs(self.videos, self.seed, self.world, self.randomised_looks)
        if self.kind == "calibration":
            return calibration_jobs(self.videos, self.seed, self.levels, self.world)
        size = SuiteSize(
            self.occluded, self.visible, self.validation, self.unseen, self.levels, self.size_px, self.frames, self.videos
        )
        return suite_jobs(size, self.properties, self.seed, self.world)


def generator_versions(world: str) -> dict[str, str]:
    """Fields of a configuration that say which code made the videos."""
    return {"generator": WORLDS[world].version, **{name: version(name) for name in WORLDS[world].libraries}}


class Shard:
    """The jobs of shard `rank` of `count`: every count-th job, from number `rank` on."""

    def __init__(self, folder: Path, config: GenerationConfig, rank: int = 0, count: int = 1) -> None:
        self._folder, self._config, self._rank, self._count = folder, config, rank, count
        journals = folder / ".making"
        with output_errors(journals):
            journals.mkdir(parents=True, exist_ok=True)
        self._journals = [journals / f"{config.kind}.{r}-of-{count}.jsonl" for r in range(count)]

    def run(self, workers: Workers) -> None:
        """Run the jobs of this shard that are not in its journal yet, or whose files are missing."""
        journal, config = self._journals[self._rank], self._config
        done = _drop_unfinished(journal, self._folder)
        total = sum(1 for _ in self._jobs())
        if done >= total:
            return
        work = partial(run_job, folder=str(self._folder), video=config.format)
        videos_per_job = 4 if config.kind == "suite" else 1
        with open(journal, "ab") as lines, bar(f"{config.kind} videos", total * videos_per_job) as progress:
            progress.step(done * videos_per_job)
            left = itertools.islice(self._jobs(), done, None)
            for job, result in workers.run_each(work, left, TIMEOUT_S, inline=True):
                if isinstance(result, Failed):
                    raise PrepError(f"{_job_name(job)} failed: {result.detail}; the same command resumes from here")
                with output_errors(journal):
                    lines.write(json.dumps(asdict(result)).encode() + b"\n")
                    lines.flush()
                progress.step(videos_per_job)

    def complete(self) -> bool:
        """Whether all shards have finished their jobs, and all files exist."""
        total = sum(1 for _ in self._config.jobs())
        return total == sum(len(_finished(journal, self._folder)) for journal in self._journals)

    def write_tables(self, command: str) -> int:
        """Write the manifest, and for a suite quads.parquet. Returns the number of videos."""
        config = self._config.as_json()
        if self._config.kind == "suite":
            rows = (row for result in self._all_results() for row in result.quads)
            write_quads(self._folder / "quads.parquet", rows, config)
        # paths in the journal are relative to the folder, as in the manifest
        clips = (Clip(**clip) for result in self._all_results() for clip in result.clips)
        return write_manifest(self._folder / self._config.tables[0], clips, command=command, config=config)

    def _jobs(self) -> Iterator[Job]:
        return itertools.islice(self._config.jobs(), self._rank, None, self._count)

    def _all_results(self) -> Iterator[JobResult]:
        """The results of all shards, which are complete, in the order of the plan: one line of each journal in turn."""
        files = [open(journal, encoding="utf-8") for journal in self._journals]  # noqa: SIM115  closed below
        try:
            for file in itertools.cycle(files):
                line = file.readline()
                if not line:
                    return
                yield JobResult(**parse_json(line))
        finally:
            for file in files:
                file.close()


def claim_output(folder: Path, config: GenerationConfig) -> None:
    """Create the folder and write the configuration, or compare it with the one that is there.

    Raises PrepError for another configuration, and for a folder with videos or tables that this
    command did not write.
    """
    path = folder / f"{config.kind}.json"
    wanted = config.model_dump(mode="json")
    if not path.exists():
        for name in (path.name, *config.tables):
            check_absent(folder / name, "choose another folder")
        claim_folder(folder, COMMAND)
        write_text(path, json.dumps(config.as_json(), indent=2) + "\n")
        return
    try:
        found = read_json_object(path, PrepError)
    except PrepError:
        found = {}
    if "generator" not in found:
        raise PrepError(f"{path}: not a configuration written by {COMMAND}; choose another folder")
    if "films" in found:  # the former name of the field
        found["videos"] = found.pop("films")
    found.setdefault("world", "builtin")  # earlier versions had no other world
    found.setdefault("randomised_looks", 0.0)
    differences = [
        f"{key} is {found.get(key)!r} there and {value!r} now" for key, value in wanted.items() if found.get(key) != value
    ]
    if differences:
        raise PrepError(
            f"{path}: these videos have another configuration ({'; '.join(differences)}); "
            "choose another folder, or delete this one"
        )
    for name in config.tables:
        check_no_link(folder / name, "choose another folder")
    mark_folder(folder, f"python -m {COMMAND}")


def _job_name(job: Job) -> str:
    if isinstance(job, PossibleJob):
        return f"{'calibration' if job.stream == 'lawful' else job.stream} video {job.index}"
    return f"{job.property} quadruplet {job.index} ({job.split}, {job.visibility})"


def _finished(journal: Path, folder: Path) -> list[bytes]:
    """The lines of a journal, up to one that is incomplete or damaged, or whose files are missing."""
    lines: list[bytes] = []
    if journal.exists():
        for line in journal.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                clips = JobResult(**parse_json(line)).clips
                if not all((folder / clip[name]).is_file() for clip in clips for name in ("path", "truth")):
                    break
            except (ValueError, TypeError, KeyError):
                break
            lines.append(line)
    return lines


def _drop_unfinished(journal: Path, folder: Path) -> int:
    """Cut a journal after its finished lines, so that the jobs after them run again. Returns the number of finished lines."""
    lines = _finished(journal, folder)
    if journal.exists():
        if again := journal.read_bytes().count(b"\n") - len(lines):
            problem = f"line {len(lines) + 1} is damaged, or its videos were deleted"
            print_escaped(f"{COMMAND}: {journal}: {problem}; {again} finished jobs run again", file=sys.stderr)
        with open(journal, "rb+") as file:
            file.truncate(sum(map(len, lines)))
    return len(lines)


def limit_threads() -> None:
    """Use one thread per process in numerical libraries, since the workers use all cores."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
