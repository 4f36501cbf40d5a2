"""One job made: a scene or a quadruplet filmed, its films and truths on disk, and the rows that will list them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.content_hash import content_hash
from data_prep.physics.keyed_random import opaque_name
from data_prep.physics.possible import draw_lawful
from data_prep.physics.quadruplets import draw_quadruplet
from data_prep.physics.rendering.clip import Take, shoot
from data_prep.physics.scenes import Format
from data_prep.physics.suite import BY_NAME, LawfulJob, QuadrupletJob
from worldmodel.files.atomic import write_arrays
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, clip_id
from worldmodel.video import write_video

SOURCE = "physics"
POSSIBLE = {("a", "u"), ("b", "v")}


@dataclass(frozen=True)
class Made:
    """What a job left: rows for the manifest, and rows for the table of quadruplets (none for a lawful film)."""

    clips: list[dict[str, Any]]
    quads: list[dict[str, Any]]


def make(job: LawfulJob | QuadrupletJob, folder: str, film: Format) -> Made:
    """Do a job. The same job gives the same bytes anywhere; files appear whole or not at all. Raises OutputError."""
    return _lawful(job, Path(folder), film) if isinstance(job, LawfulJob) else _quadruplet(job, Path(folder), film)


def _lawful(job: LawfulJob, folder: Path, film: Format) -> Made:
    act, scene = draw_lawful(film, *job.key(), levels=job.levels)
    clip = _write(shoot(scene, film), folder, opaque_name(*job.key(), film), film, job.split, act)
    return Made([asdict(clip)], [])


def _quadruplet(job: QuadrupletJob, folder: Path, film: Format) -> Made:
    property_ = BY_NAME[job.property]
    template = property_.templates[job.template]
    made = draw_quadruplet(property_, template, film, job.level, *job.key(), unseen=job.split == "ood")
    clips, quads = [], []
    for pair, take in made.films.items():
        label = "possible" if pair in POSSIBLE else "impossible"
        clip = _write(take, folder, opaque_name(*job.key(), job.visibility, film, *pair), film, job.split, label)
        clips.append(asdict(clip))
        start, stop = made.occlusion or (None, None)
        quads.append(
            {
                "quad_id": f"{job.property}-{job.visibility}-{job.split}-{job.index:04d}",
                "clip_id": clip.clip_id,
                "context_id": pair[0],
                "outcome_id": pair[1],
                "possible": pair in POSSIBLE,
                "property": made.property,
                "template": made.template,
                "visibility": made.visibility,
                "spliced": made.splice is not None,
                "level": made.level,
                "copy_class": made.copy_class,
                "magnitude": made.magnitude,
                "split": job.split,
                "fps": film.fps,
                "splice": made.splice,
                "occlusion_start": start,
                "occlusion_stop": stop,
                "violation": made.violation,
                "reveal": made.reveal,
                "seed": job.seed,
            }
        )
    return Made(clips, quads)


def _write(take: Take, folder: Path, name: str, film: Format, split: str, label: str) -> Clip:
    video = folder / "clips" / name[:2] / f"{name}.mp4"
    truth = folder / "truth" / name[:2] / f"{name}.npz"
    for path in (video, truth):
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(truth, take.truth(), compressed=True)
    write_video(video, take.frames, film.fps, lossless=True)
    digest = content_hash(str(video), None)
    return Clip(
        clip_id=clip_id(digest, 0.0, film.duration_s),
        path=str(video.relative_to(folder)),
        member=None,
        start_s=0.0,
        stop_s=film.duration_s,
        fps=film.fps,
        frames=film.frames,
        width=film.size_px,
        height=film.size_px,
        rotation=0,
        codec="h264",
        split=split,
        label=label,
        truth=str(truth.relative_to(folder)),
        source=SOURCE,
        content_hash=digest,
        timing="packets",
    )
