"""Quadruplets: two possible videos, and two impossible videos that are spliced from them.

A context (a or b) is how a video begins, and an outcome (u or v) is how it ends. The videos a-u and
b-v are possible, a-v and b-u are impossible.

Occluded templates: whatever differs between the two possible videos is hidden for a while, and
their frames are then equal pixel for pixel. The videos are spliced there. Every frame then occurs
in one possible and in one impossible video, so no scorer that looks at single frames can tell them
apart. A sample is valid only if the frames are indeed equal.

Visible templates: the impossible videos are rendered anew. The scenery of one possible scene is
combined with the motion of the bodies in the other one. These quadruplets are marked as not
spliced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.base_scene import BaseScene, sample_base_scene
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.rendering.video import RenderedVideo, concatenate, render_video
from data_prep.physics.scenes import Scene, VideoFormat
from data_prep.physics.world import Trajectory, simulate

CopyClass = Literal["easy", "neutral", "hard"]
"""Whether a scorer that copies what it saw prefers the possible video: yes, neither, or no."""
Visibility = Literal["occluded", "visible"]
MIN_HIDDEN_FRAMES = 3
MIN_WIDTH_PX_AT_64 = 10.0
MIN_COPY_COSINE = 0.2
SAME_POSITION_M = 1e-6
MAX_ATTEMPTS = 60


class InvalidSample(Exception):  # noqa: N818 - not an error: the next attempt follows
    """A sampled pair of scenes that does not meet the requirements. The message says which one."""


@dataclass(frozen=True)
class ScenePair:
    """Two possible scenes that differ only in what the property is about."""

    a: Scene
    b: Scene
    magnitude: float
    cut_s: float | None = None  # in visible templates: when the violation happens; None: when the scenes begin to differ


@dataclass(frozen=True)
class Template:
    """A function that samples pairs of scenes to test a property, and their copy class."""

    name: str
    sample: Callable[[BaseScene], ScenePair]
    copy_class: CopyClass
    visibility: Visibility = "occluded"


@dataclass(frozen=True)
class Property:
    """A physical property and the templates that test it.

    Templates are used in turn, so easy and hard ones balance.
    """

    name: str
    templates: tuple[Template, ...]


@dataclass(frozen=True)
class Quadruplet:
    """Four videos of one pair of scenes. Frame ranges are half-open."""

    property: str
    template: str
    visibility: Visibility
    level: int
    copy_class: CopyClass
    magnitude: float
    videos: dict[tuple[str, str], RenderedVideo]  # by (context, outcome)
    splice: int | None  # first frame of the outcome; None for visible templates
    occlusion: tuple[int, int] | None  # frames in which all differences are hidden; None for visible templates
    violation: int  # frame in which the violation happens
    reveal: int  # first frame in which it can be seen


def sample_quadruplet(
    property_: Property, template: Template, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. The number of the attempt becomes part of the key.

    Raises RuntimeError when no attempt is valid.
    """
    reasons: list[str] = []
    for attempt in range(MAX_ATTEMPTS):
        rng = KeyedRandom(*key, attempt)
        try:
            pair = template.sample(sample_base_scene(rng, video, level, unseen=unseen))
            return _render_quadruplet(property_, template, pair, video, level, swap=rng.bernoulli(0.5))
        except InvalidSample as error:
            reasons.append(str(error))
    raise RuntimeError(
        f"{property_.name}/{template.name}: no valid quadruplet in {MAX_ATTEMPTS} attempts "
        f"({'; '.join(sorted(set(reasons)))}) for videos of {video.frames} frames at {video.fps:g} fps; use more frames"
    )


def _render_quadruplet(
    property_: Property, template: Template, pair: ScenePair, video: VideoFormat, level: int, *, swap: bool
) -> Quadruplet:
    a, b = (pair.b, pair.a) if swap else (pair.a, pair.b)
    trajectory_a, trajectory_b = simulate(a, video), simulate(b, video)
    video_a, video_b = render_video(a, video, trajectory_a), render_video(b, video, trajectory_b)
    for rendered in (video_a, video_b):
        check_object_sizes(rendered, video)
    splice: int | None = None
    occlusion: tuple[int, int] | None = None
    if template.visibility == "occluded":
        start, reveal = occluded_interval(video_a, video_b)
        violation = splice_frame(video_a, video_b, start, reveal)
        splice, occlusion = violation, (start, reveal)
        impossible = concatenate(video_a, video_b, splice), concatenate(video_b, video_a, splice)
        copying = copy_class(video_a.frames, video_b.frames, start - 1, reveal)
        if copying != template.copy_class:
            raise InvalidSample(f"the copy class is {copying}, not {template.copy_class}")
    else:
        violation = _first_divergence(trajectory_a, trajectory_b, a) if pair.cut_s is None else round(pair.cut_s * video.fps)
        if not 3 <= violation <= video.frames - 3:
            raise InvalidSample("the scenes begin to differ too close to an end of the video")
        impossible = (
            concatenate(video_a, _with_motion_of(a, b, trajectory_b, video, violation), violation),
            concatenate(video_b, _with_motion_of(b, a, trajectory_a, video, violation), violation),
        )
        copying = copy_class(video_a.frames, video_b.frames, violation - 1, violation)
        reveal = _first_difference(impossible[0].frames, video_a.frames, violation)
    return Quadruplet(
        property=property_.name,
        template=template.name,
        visibility=template.visibility,
        level=level,
        copy_class=copying,
        magnitude=pair.magnitude,
        videos={("a", "u"): video_a, ("b", "v"): video_b, ("a", "v"): impossible[0], ("b", "u"): impossible[1]},
        splice=splice,
        occlusion=occlusion,
        violation=violation,
        reveal=reveal,
    )


def occluded_interval(one: RenderedVideo, other: RenderedVideo) -> tuple[int, int]:
    """The longest range of frames [start, stop) in which two videos are equal.

    Raises InvalidSample if it has less than MIN_HIDDEN_FRAMES frames, or if the videos do not
    differ both before and after it.
    """
    same = np.array([np.array_equal(x, y) for x, y in zip(one.frames, other.frames, strict=True)])
    differ = np.nonzero(~same)[0]
    if len(differ) < 2:
        raise InvalidSample("the two possible videos do not differ both before and after")
    gaps = np.diff(differ) - 1
    longest = int(gaps.argmax())
    if gaps[longest] < MIN_HIDDEN_FRAMES:
        raise InvalidSample("the differences are hidden for too short a time")
    return int(differ[longest]) + 1, int(differ[longest + 1])


def splice_frame(one: RenderedVideo, other: RenderedVideo, start: int, stop: int) -> int:
    """The frame closest to the middle of [start, stop) with no visible difference in objects.

    Raises InvalidSample when there is none.
    """
    middle = (start + stop) // 2
    for frame in sorted(range(start + 1, stop), key=lambda frame: (abs(frame - middle), frame)):
        if not visible_differences(one, other, frame):
            return frame
    raise InvalidSample(f"{' and '.join(visible_differences(one, other, middle))} would visibly change at the splice")


def visible_differences(one: RenderedVideo, other: RenderedVideo, frame: int) -> list[str]:
    """Names of the objects that differ at a splice and are visible just before it or at it."""
    names = []
    for rendered, twin in ((one, other), (other, one)):
        for index, name in enumerate(rendered.names):
            if name in twin.names:
                twin_index = twin.names.index(name)
                distance = np.abs(rendered.position_m[frame, index] - twin.position_m[frame, twin_index]).max()
                if distance < SAME_POSITION_M and np.array_equal(rendered.colour_rgb[index], twin.colour_rgb[twin_index]):
                    continue
            if rendered.visible_px[frame - 1 : frame + 1, index].any():
                names.append(name)
    return names


def check_object_sizes(rendered: RenderedVideo, video: VideoFormat) -> None:
    """Raise InvalidSample if an object is too small in every frame that shows all of it."""
    whole = rendered.visible_px >= rendered.unoccluded_px
    for index, name in enumerate(rendered.names):
        in_view = (rendered.visible_px[:, index] > 0) & whole[:, index]
        largest = rendered.half_size_m[index].max() / rendered.half_size_m[index, 0]  # for a thin wall: its height
        if in_view.any() and rendered.width_px[in_view, index].max() * largest * 64 / video.size_px < MIN_WIDTH_PX_AT_64:
            raise InvalidSample(f"{name} is too small to be recognised")


def copy_class(one: NDArray[np.uint8], other: NDArray[np.uint8], before: int, after: int) -> CopyClass:
    """Compare the differences of two videos in the frames `before` and `after`, by their cosine.

    Similar differences are easy for a scorer that copies what it saw last, and opposite differences
    are hard for it.
    """
    difference_before = one[before].astype(np.float64) - other[before]
    difference_after = one[after].astype(np.float64) - other[after]
    scale = np.sqrt((difference_before**2).sum() * (difference_after**2).sum())
    cosine = (difference_before * difference_after).sum() / scale if scale else 0.0
    return "easy" if cosine > MIN_COPY_COSINE else "hard" if cosine < -MIN_COPY_COSINE else "neutral"


def _with_motion_of(scenery: Scene, other: Scene, trajectory: Trajectory, video: VideoFormat, start: int) -> RenderedVideo:
    """Render the scenery of one scene with the free bodies and the motion of another one."""
    scene = scenery.with_free_entities_of(other)
    return render_video(scene, video, trajectory.reordered(scene), start=start)


def _first_divergence(trajectory_a: Trajectory, trajectory_b: Trajectory, a: Scene) -> int:
    """The first frame in which a body that is in both scenes is at different positions."""
    for name in (entity.name for entity in a.entities if entity.motion == "free"):
        if name in trajectory_b.names:
            index_a, index_b = trajectory_a.names.index(name), trajectory_b.names.index(name)
            distance = np.abs(trajectory_a.position_m[:, index_a] - trajectory_b.position_m[:, index_b]).max(1)
            frames = np.nonzero(distance > 0.01)[0]
            if len(frames):
                return int(frames[0])
    raise InvalidSample("the bodies move equally in the two scenes")


def _first_difference(one: NDArray[np.uint8], other: NDArray[np.uint8], start: int) -> int:
    for frame in range(start, len(one)):
        if not np.array_equal(one[frame], other[frame]):
            return frame
    raise InvalidSample("the impossible video looks like the possible one")
