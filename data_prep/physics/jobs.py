"""Jobs: generate a possible video or a quadruplet, and return the rows of the tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.content_hash import content_hash
from data_prep.physics.job_plan import PossibleJob, QuadrupletJob
from data_prep.physics.keyed_random import KeyedRandom, opaque_name
from data_prep.physics.quad_table import QuadRow
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.repainting import repaint
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from worldmodel.files.atomic import write_arrays
from worldmodel.files.output_errors import output_errors
from worldmodel.manifest import Clip, clip_id
from worldmodel.video import write_video

SOURCE = "physics"
POSSIBLE = {("a", "u"), ("b", "v")}


@dataclass(frozen=True)
class JobResult:
    """Rows of a finished job for the manifest and for the table of quadruplets.

    The latter has none for possible videos.
    """

    clips: list[dict[str, Any]]
    quads: list[QuadRow]


def run_job(job: PossibleJob | QuadrupletJob, folder: str, video: VideoFormat) -> JobResult:
    """Generate the videos of a job. The same job gives the same bytes on every run.

    Every file appears complete or not at all. Raises OutputError.
    """
    return _possible(job, Path(folder), video) if isinstance(job, PossibleJob) else _quadruplet(job, Path(folder), video)


def _possible(job: PossibleJob, folder: Path, video: VideoFormat) -> JobResult:
    scenario, rendered = WORLDS[job.world].sample_possible_video(video, *job.key(), levels=job.levels)
    key: tuple[object, ...] = (*job.key(), video.key)
    looks = KeyedRandom(*key, "repainting").appearance
    if looks.random() < job.randomised_looks:  # never where it is 0
        rendered = replace(rendered, frames=repaint(rendered.frames, rendered.segmentation, looks))
        key = (*key, "repainted")
    clip = _write(rendered, folder, opaque_name(*key), video, job.split, scenario)
    return JobResult([asdict(clip)], [])


def _quadruplet(job: QuadrupletJob, folder: Path, video: VideoFormat) -> JobResult:
    world = WORLDS[job.world]
    property_ = world.property(job.property)
    template = property_.templates[job.template]
    quadruplet = world.sample_quadruplet(property_, template, video, job.level, *job.key(), unseen=job.split == "ood")
    clips: list[dict[str, Any]] = []
    quads: list[QuadRow] = []
    for pair, rendered in quadruplet.videos.items():
        label = "possible" if pair in POSSIBLE else "impossible"
        name = opaque_name(*job.key(), job.visibility, video.key, *pair)
        clip = _write(rendered, folder, name, video, job.split, label)
        clips.append(asdict(clip))
        start, stop = quadruplet.occlusion or (None, None)
        quads.append(
            {
                "quad_id": f"{job.property}-{job.visibility}-{job.split}-{job.index:04d}",
                "clip_id": clip.clip_id,
                "context_id": pair[0],
                "outcome_id": pair[1],
                "possible": pair in POSSIBLE,
                "property": quadruplet.property,
                "template": quadruplet.template,
                "visibility": quadruplet.visibility,
                "spliced": quadruplet.splice is not None,
                "level": quadruplet.level,
                "copy_class": quadruplet.copy_class,
                "magnitude": quadruplet.magnitude,
                "split": job.split,
                "fps": video.fps,
                "splice": quadruplet.splice,
                "occlusion_start": start,
                "occlusion_stop": stop,
                "violation": quadruplet.violation,
                "reveal": quadruplet.reveal,
                "seed": job.seed,
            }
        )
    return JobResult(clips, quads)


def _write(rendered: RenderedVideo, folder: Path, name: str, video: VideoFormat, split: str, label: str) -> Clip:
    """Write a video and its ground truth. Returns the row of the manifest, with relative paths."""
    video_path = folder / "clips" / name[:2] / f"{name}.mp4"
    truth_path = folder / "truth" / name[:2] / f"{name}.npz"
    for path in (video_path, truth_path):
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(truth_path, rendered.ground_truth(), compressed=True)
    write_video(video_path, rendered.frames, video.fps, lossless=True)
    digest = content_hash(str(video_path), None)
    return Clip(
        clip_id=clip_id(digest, 0.0, video.duration_s),
        path=str(video_path.relative_to(folder)),
        member=None,
        start_s=0.0,
        stop_s=video.duration_s,
        fps=video.fps,
        frames=video.frames,
        width=video.size_px,
        height=video.size_px,
        rotation=0,
        codec="h264",
        split=split,
        label=label,
        truth=str(truth_path.relative_to(folder)),
        source=SOURCE,
        content_hash=digest,
        timing="packets",
    )
