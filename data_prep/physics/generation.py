"""Making many films: in parallel, in shards, and again from where it stopped.

Beside its table each set of films has a JSON of its exact configuration, written first: a folder is never filled by two
configurations. Every finished job leaves a line in a journal, in the order of the plan; a run that was killed reads how
many lines stand and goes on after them. The table itself is written at the very end, from the journals of all shards.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.errors import PrepError
from data_prep.existing import check_absent, check_no_link, claim_folder
from data_prep.physics import VERSION
from data_prep.physics.jobs import Made, make
from data_prep.physics.scenes import Format
from data_prep.physics.suite import BY_NAME, LawfulJob, QuadrupletJob, Size, lawful_jobs, suite_jobs, train_jobs
from data_prep.pool import Failed, run_each
from data_prep.progress import bar
from worldmodel.config import Config
from worldmodel.files.atomic import replacing, write_text
from worldmodel.files.json_files import parsed, read_object
from worldmodel.files.output_errors import output_errors
from worldmodel.files.output_mark import write_mark
from worldmodel.manifest import Clip, write_manifest

Job = LawfulJob | QuadrupletJob
TIMEOUT_S = 600.0
COMMAND = "data_prep synthesize"
QUAD_SCHEMA = pa.schema(
    [
        ("quad_id", pa.string()),
        ("clip_id", pa.string()),
        ("context_id", pa.string()),
        ("outcome_id", pa.string()),
        ("possible", pa.bool_()),
        ("property", pa.string()),
        ("template", pa.string()),
        ("visibility", pa.string()),
        ("spliced", pa.bool_()),
        ("level", pa.int64()),
        ("copy_class", pa.string()),
        ("magnitude", pa.float64()),
        ("split", pa.string()),
        ("fps", pa.float64()),
        ("splice", pa.int64()),
        ("occlusion_start", pa.int64()),
        ("occlusion_stop", pa.int64()),
        ("violation", pa.int64()),
        ("reveal", pa.int64()),
        ("seed", pa.int64()),
    ]
)


class Production(Config):
    """Everything that determines a set of films."""

    kind: Literal["train", "lawful", "suite"]
    seed: int
    size_px: int
    frames: int
    fps: float
    films: int = 0  # of lawful ones
    occluded: int = 0  # quadruplets a property
    visible: int = 0
    validation: int = 0
    unseen: int = 0
    levels: tuple[int, ...] = (1, 2)
    properties: tuple[str, ...] = ()
    generator: str = VERSION
    mujoco: str = ""  # pixels are the same for the same versions
    numpy: str = ""

    @property
    def format(self) -> Format:
        return Format(self.size_px, self.frames, self.fps)

    def jobs(self) -> Iterator[Job]:
        """The plan, in order."""
        size = Size(
            self.occluded, self.visible, self.validation, self.unseen, self.levels, self.size_px, self.frames, self.films
        )
        if self.kind == "train":
            return train_jobs(self.films, self.seed)
        if self.kind == "lawful":
            return lawful_jobs(size, self.seed)
        return suite_jobs(size, tuple(BY_NAME[name] for name in self.properties), self.seed)


def versions() -> dict[str, str]:
    return {"mujoco": version("mujoco"), "numpy": np.__version__}


class Shard:
    """This process's part of a production: every world-th job."""

    def __init__(self, folder: Path, production: Production, rank: int, world: int) -> None:
        self._folder, self._production, self._world = folder, production, world
        self._rank = rank
        making = folder / ".making"
        with output_errors(making):
            making.mkdir(parents=True, exist_ok=True)
        self._journals = [making / f"{production.kind}.{r}-of-{world}.jsonl" for r in range(world)]

    def run(self, workers: int) -> None:
        """Do what is left of this shard."""
        journal = self._journals[self._rank]
        done = _keep_whole_lines(journal)
        total = sum(1 for _ in self._jobs())
        if done >= total:
            return
        production = self._production
        work = partial(make, folder=str(self._folder), film=production.format)
        each = 4 if production.kind == "suite" else 1
        with open(journal, "ab") as lines, bar(f"{production.kind} films", total * each) as progress:
            progress.step(done * each)
            for job, made in _results(work, itertools.islice(self._jobs(), done, None), workers):
                if isinstance(made, Failed):
                    raise PrepError(f"{_named(job)} could not be made: {made.detail}; the same command again goes on from here")
                with output_errors(journal):
                    lines.write(json.dumps(asdict(made)).encode() + b"\n")
                    lines.flush()
                progress.step(each)

    def complete(self) -> bool:
        """Whether all shards have done their jobs."""
        total = sum(1 for _ in self._production.jobs())
        return total == sum(_lines(journal) for journal in self._journals if journal.exists())

    def publish(self, name: str, command: str) -> int:
        """Write OUT/name.parquet, and quads.parquet with a suite; returns the number of films."""
        config = self._production.model_dump(mode="json")
        if self._production.kind == "suite":
            _write_quads(self._folder / "quads.parquet", (row for made in self._all() for row in made.quads), config)
        clips = (Clip(**clip) for made in self._all() for clip in made.clips)
        # paths in the journal are relative to the folder, as in the manifest
        return write_manifest(self._folder / f"{name}.parquet", clips, command=command, config=config)

    def _jobs(self) -> Iterator[Job]:
        return itertools.islice(self._production.jobs(), self._rank, None, self._world)

    def _all(self) -> Iterator[Made]:
        """Everything made, in the order of the plan: a line of each journal in turn."""
        files = [open(journal, encoding="utf-8") for journal in self._journals]  # noqa: SIM115  closed below
        try:
            for file in itertools.cycle(files):
                line = file.readline()
                if not line:
                    return
                yield _made(line, file.name)
        finally:
            for file in files:
                file.close()


def _made(line: str, journal: str) -> Made:
    try:
        return Made(**parsed(line))
    except (ValueError, TypeError) as error:
        raise PrepError(
            f"{journal}: a line of it is damaged ({error}); delete it, and the same command again makes it"
        ) from None


def claim(folder: Path, production: Production) -> None:
    """Make the folder, and write or compare its configuration: one folder, one configuration. Raises PrepError.

    A folder with videos or tables that this command did not make is refused, too.
    """
    path = folder / f"{production.kind}.json"
    wanted = production.model_dump(mode="json")
    if not path.exists():
        for name in (path.name, *_tables(production)):
            check_absent(folder / name, "choose another folder")
        claim_folder(folder, COMMAND)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    try:
        found = read_object(path, PrepError)
    except PrepError:
        found = {}
    if "generator" not in found:
        raise PrepError(f"{path}: not a configuration of films, {COMMAND} did not make it; choose another folder")
    other = [f"{key} {found.get(key)!r} there, {value!r} now" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise PrepError(
            f"{path}: these films are made otherwise ({'; '.join(other)}); choose another folder or delete this one"
        )
    for name in _tables(production):
        check_no_link(folder / name, "choose another folder")
    write_mark(folder, f"python -m {COMMAND}")


def _tables(production: Production) -> tuple[str, ...]:
    return (f"{production.kind}.parquet", *(["quads.parquet"] if production.kind == "suite" else []))


def _results(work: Callable[[Job], Made], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Made | Failed]]:
    if workers > 1:
        yield from run_each(work, jobs, workers, TIMEOUT_S)
        return
    for job in jobs:
        yield job, work(job)


def _named(job: Job) -> str:
    if isinstance(job, LawfulJob):
        return f"{job.stream} film {job.index}"
    return f"{job.property} quadruplet {job.index} ({job.split}, {job.visibility})"


def _keep_whole_lines(journal: Path) -> int:
    """How many lines stand in a journal; one that was cut short is cut off."""
    if not journal.exists():
        return 0
    count, length = 0, 0
    with open(journal, "rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            count, length = count + 1, length + len(line)
        file.truncate(length)
    return count


def _lines(journal: Path) -> int:
    with open(journal, "rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def _write_quads(path: Path, rows: Iterator[dict[str, Any]], config: dict[str, Any]) -> None:
    schema = QUAD_SCHEMA.with_metadata({"physics": json.dumps(config, sort_keys=True)})
    with replacing(path) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while group := list(itertools.islice(rows, 1024)):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def single_threaded() -> None:
    """One thread a process from here on: the workers are the parallelism."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
