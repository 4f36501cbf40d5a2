"""Jobs of a spliced suite: make one quadruplet, or the possible videos of one for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from data_prep.content_hash import content_hash
from data_prep.physics.keyed_random import opaque_name
from data_prep.physics.quad_table import QuadRow
from data_prep.pool import Failed
from data_prep.splicing.config import SplicingConfig
from data_prep.splicing.held_out import Pools
from data_prep.splicing.sampling import NoQuadrupletError, Sample, Visibility, sample_quadruplet
from data_prep.splicing.splices import SPLICES, Frames
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, clip_id
from worldmodel.storage.errors import StorageError
from worldmodel.video import write_video

QUADRUPLET = (("a", "u"), ("b", "v"), ("a", "v"), ("b", "u"))
"""(context, outcome) of the four videos. The first two are possible."""
POSSIBLE = QUADRUPLET[:2]
LOST = "lost object"
"""Reason of a job that failed because an object is missing, changed or damaged while its store answers."""
VISIBILITIES: tuple[Visibility, ...] = ("occluded", "visible")
MAX_FAILURES = 3  # after so many consecutive jobs of a cell that could not be made, the others of the cell are not tried


@dataclass(frozen=True)
class SpliceJob:
    """A quadruplet to make. For calibration, only its two possible videos are written."""

    kind: Literal["test", "val", "calibration"]
    splice: str
    visibility: Visibility
    index: int
    given_up: bool = False  # jobs of its cell before it could not be made, so it is not tried

    @property
    def cell(self) -> tuple[str, Visibility]:
        """Jobs of one property and visibility form a cell."""
        return self.splice, self.visibility

    @property
    def name(self) -> str:
        return f"{self.splice}-{self.visibility}-{self.kind}-{self.index:04d}"


@dataclass(frozen=True)
class SpliceResult:
    """Rows of a finished job. `problem` says why there are none."""

    clips: list[dict[str, Any]]
    quads: list[QuadRow]
    problem: str = ""


GIVEN_UP = SpliceResult([], [], f"not tried, because {MAX_FAILURES} in a row could not be made")


def all_jobs(config: SplicingConfig, pools: Pools) -> Iterator[SpliceJob]:
    """All jobs, in the order of the tables. Without clips for calibration, nothing is made of them."""
    for name in config.properties:
        for visibility in VISIBILITIES:
            for index in range(config.test):
                yield SpliceJob("test", name, visibility, index)
            for index in range(config.validation if pools.calibration else 0):
                yield SpliceJob("val", name, visibility, index)
    cells = [(name, visibility) for name in config.properties for visibility in VISIBILITIES]
    for index in range((config.calibration + 1) // 2 if pools.calibration else 0):
        name, visibility = cells[index % len(cells)]
        yield SpliceJob("calibration", name, visibility, index)


def run_job(job: SpliceJob, folder: str, config: SplicingConfig, pools: Pools) -> SpliceResult | Failed:
    """Make the videos of a job. The same job gives the same bytes on every run. An object that cannot be read gives Failed.

    Raises OutputError.
    """
    if job.given_up:
        return GIVEN_UP
    clips = pools.test if job.kind == "test" else pools.calibration
    key = (config.splicing, config.seed, job.kind, job.splice, job.visibility, job.index)
    try:
        sample = sample_quadruplet(clips, SPLICES[job.splice], job.visibility, config, *key)
    except NoQuadrupletError as error:
        return SpliceResult([], [], str(error))
    except StorageError as error:
        return Failed("storage" if error.unreachable else LOST, str(error.strerror))
    names = {pair: opaque_name("spliced", *key, config.source, config.size_px, config.fps, *pair) for pair in QUADRUPLET}
    if job.kind == "calibration":
        written = [
            _write(sample.parts.video(*pair, sample.layout), Path(folder), names[pair], config, "val", "possible")
            for pair in POSSIBLE
        ]
        return SpliceResult([asdict(clip) for clip in written], [])
    clips_made, quads = [], []
    for pair in QUADRUPLET:
        label = "possible" if pair in POSSIBLE else "impossible"
        clip = _write(sample.parts.video(*pair, sample.layout), Path(folder), names[pair], config, job.kind, label)
        clips_made.append(asdict(clip))
        quads.append(_row(job, clip, pair, sample, config))
    return SpliceResult(clips_made, quads)


def _row(job: SpliceJob, clip: Clip, pair: tuple[str, str], sample: Sample, config: SplicingConfig) -> QuadRow:
    layout = sample.layout
    return {
        "quad_id": job.name,
        "clip_id": clip.clip_id,
        "context_id": pair[0],
        "outcome_id": pair[1],
        "possible": pair in POSSIBLE,
        "property": job.splice,
        "template": job.splice,
        "visibility": job.visibility,
        "spliced": True,
        "level": 1,
        "copy_class": sample.copy_class,
        "magnitude": sample.parts.magnitude,
        "split": job.kind,
        "fps": config.fps,
        "splice": layout.context + layout.hidden // 2,
        "occlusion_start": layout.context if layout.hidden else None,
        "occlusion_stop": layout.outcome_start if layout.hidden else None,
        "violation": layout.context + layout.hidden // 2,
        "reveal": layout.outcome_start,
        "seed": config.seed,
    }


def _write(frames: Frames, folder: Path, name: str, config: SplicingConfig, split: str, label: str) -> Clip:
    """Write a video without loss. Returns the row of the manifest, with a relative path."""
    path = folder / "clips" / name[:2] / f"{name}.mp4"
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, config.fps, lossless=True)
    digest = content_hash(str(path), None)
    return Clip(
        # the name makes ids unique: two quadruplets may hold equal videos, such as still pictures
        clip_id=clip_id(f"{digest} {name}", 0.0, config.duration_s),
        path=str(path.relative_to(folder)),
        member=None,
        start_s=0.0,
        stop_s=config.duration_s,
        fps=config.fps,
        frames=config.frames,
        width=config.size_px,
        height=config.size_px,
        rotation=0,
        codec="h264",
        split=split,
        label=label,
        truth=None,
        source="spliced",
        content_hash=digest,
        timing="packets",
    )
