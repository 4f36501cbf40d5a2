"""Quadruplets: two possible videos, and two impossible videos that are spliced from them.

A context (a or b) is how a video begins, and an outcome (u or v) is how it ends. The videos a-u and
b-v are possible, a-v and b-u are impossible.

Spliced templates: whatever differs between the two possible videos cannot be seen for a while, and
their frames are then equal pixel for pixel. The videos are spliced there. Every frame then occurs
in one possible and in one impossible video, so no scorer that looks at single frames can tell them
apart. A sample is valid only if the frames are indeed equal.

All worlds (data_prep.physics.worlds) share this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from data_prep.errors import PrepError
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.rendered_video import RenderedVideo, concatenate
from data_prep.physics.video_format import MAX_SLOWDOWN, VideoFormat

CopyClass = Literal["easy", "neutral", "hard"]
"""Whether a scorer that copies what it saw prefers the possible video: yes, neither, or no."""
Visibility = Literal["occluded", "visible"]
MIN_HIDDEN_FRAMES = 3
MIN_WIDTH_PX_AT_64 = 10.0
MIN_COPY_COSINE = 0.2
SAME_POSITION_M = 1e-6
MAX_ATTEMPTS = 60

BaseT = TypeVar("BaseT")
"""What a world gives to a template: a scene under construction with its random numbers."""
SceneT = TypeVar("SceneT")
"""A scene of a world."""


class InvalidSample(Exception):  # noqa: N818 - not an error: the next attempt follows
    """A sampled pair of scenes that does not meet the requirements. The message says which one."""


class TooShortSample(InvalidSample):
    """A sampled pair of scenes whose events do not fit into the video. More frames can help."""


class TooBrieflyHidden(InvalidSample):
    """A sampled pair of scenes whose differences are hidden for too few frames."""


class NoValidSampleError(PrepError, RuntimeError):
    """No attempt gave a valid quadruplet. The message lists the requirements that were not met."""


@dataclass(frozen=True)
class ScenePair(Generic[SceneT]):
    """Two possible scenes that differ only in what the property is about."""

    a: SceneT
    b: SceneT
    magnitude: float
    cut_s: float | None = None  # in visible templates: when the violation happens; None: when the scenes begin to differ

    def ordered(self, swap: bool) -> tuple[SceneT, SceneT]:
        """The scenes of contexts a and b; with `swap`, the other way round."""
        return (self.b, self.a) if swap else (self.a, self.b)


@dataclass(frozen=True)
class Template(Generic[BaseT, SceneT]):
    """A function that samples pairs of scenes to test a property, and their copy class."""

    name: str
    sample: Callable[[BaseT], ScenePair[SceneT]]
    copy_class: CopyClass
    visibility: Visibility = "occluded"
    min_duration_s: float = 0.0  # of a video; shorter ones have no valid sample
    min_fps: float = 0.0  # of a video; at lower rates the motion does not fit into the picture


@dataclass(frozen=True)
class Property(Generic[BaseT, SceneT]):
    """A physical property and the templates that test it.

    Templates are used in turn, so easy and hard ones balance.
    """

    name: str
    templates: tuple[Template[BaseT, SceneT], ...]


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


def first_valid(sample: Callable[[KeyedRandom], Quadruplet], name: str, video: VideoFormat, *key: object) -> Quadruplet:
    """The first valid quadruplet of this key. The number of the attempt becomes part of the key.

    sample: raises InvalidSample for an attempt that is not valid. Raises NoValidSampleError when no
    attempt is valid.
    """
    reasons: list[InvalidSample] = []
    for attempt in range(MAX_ATTEMPTS):
        try:
            return sample(KeyedRandom(*key, attempt))
        except InvalidSample as error:
            reasons.append(error)
    raise NoValidSampleError(
        f"{name}: no valid quadruplet in {MAX_ATTEMPTS} attempts ({'; '.join(sorted(set(map(str, reasons))))}) "
        f"for videos of {video.frames} frames at {video.fps:g} fps{_advice(reasons, video)}"
    )


def _advice(reasons: list[InvalidSample], video: VideoFormat) -> str:
    """What to change in the format of the videos, where that can help."""
    if any(isinstance(reason, TooShortSample) for reason in reasons):
        return "; use more frames"
    if any(isinstance(reason, TooBrieflyHidden) for reason in reasons):
        # bodies move more slowly in longer videos, up to MAX_SLOWDOWN
        return "; use more frames" if video.slowdown < MAX_SLOWDOWN else "; use a higher frame rate"
    return ""


def check_frame_rate(property_name: str, template: Template[BaseT, SceneT], fps: float) -> None:
    """Raise PrepError at a frame rate at which a template has no valid sample."""
    if fps < template.min_fps:
        raise PrepError(
            f"{property_name}: {fps:g} fps are too few, because its motion does not fit into the picture then; "
            f"give --fps {template.min_fps:g} or more, or --properties without {property_name}"
        )


def spliced_quadruplet(
    property_name: str,
    template: Template[BaseT, SceneT],
    level: int,
    magnitude: float,
    video_a: RenderedVideo,
    video_b: RenderedVideo,
    unseen_frames: tuple[int, int] | None = None,
    copying: CopyClass | None = None,
) -> Quadruplet:
    """Splice two possible videos where they are equal.

    unseen_frames: [start, stop) in which nothing can be seen. None: the longest range of equal
    frames. copying: the copy class; by default that of a copy of the last frame. Raises
    InvalidSample if the two videos do not meet the requirements.
    """
    for rendered in (video_a, video_b):
        check_object_sizes(rendered)
    start, reveal = occluded_interval(video_a, video_b, unseen_frames)
    splice = splice_frame(video_a, video_b, start, reveal)
    if copying is None:
        copying = copy_class(video_a.frames, video_b.frames, start - 1, reveal)
    if copying != template.copy_class:
        raise InvalidSample(f"the copy class is {copying}, not {template.copy_class}")
    return Quadruplet(
        property=property_name,
        template=template.name,
        visibility=template.visibility,
        level=level,
        copy_class=copying,
        magnitude=magnitude,
        videos={
            ("a", "u"): video_a,
            ("b", "v"): video_b,
            ("a", "v"): concatenate(video_a, video_b, splice),
            ("b", "u"): concatenate(video_b, video_a, splice),
        },
        splice=splice,
        occlusion=(start, reveal),
        violation=splice,
        reveal=reveal,
    )


def occluded_interval(
    one: RenderedVideo, other: RenderedVideo, unseen_frames: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The longest range of frames [start, stop) in which two videos are equal.

    unseen_frames: a range to which the result is limited. Raises InvalidSample if the result has
    less than MIN_HIDDEN_FRAMES frames, or if the videos do not differ both before and after it.
    """
    same = np.array([np.array_equal(x, y) for x, y in zip(one.frames, other.frames, strict=True)])
    differ = np.nonzero(~same)[0]
    if len(differ) < 2:
        raise TooShortSample("the two possible videos do not differ both before and after")
    gaps = np.diff(differ) - 1
    longest = int(gaps.argmax())
    start, stop = int(differ[longest]) + 1, int(differ[longest + 1])
    if unseen_frames is not None:
        start, stop = max(start, unseen_frames[0]), min(stop, unseen_frames[1])
    if stop - start < MIN_HIDDEN_FRAMES:
        raise TooBrieflyHidden("the differences are hidden for too short a time")
    return start, stop


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


def check_object_sizes(rendered: RenderedVideo) -> None:
    """Raise InvalidSample if an object is too small in every frame that shows all of it."""
    size_px = rendered.frames.shape[1]
    whole = rendered.visible_px >= rendered.unoccluded_px
    for index, name in enumerate(rendered.names):
        in_view = (rendered.visible_px[:, index] > 0) & whole[:, index]
        largest = rendered.half_size_m[index].max() / rendered.half_size_m[index, 0]  # for a thin wall: its height
        if in_view.any() and rendered.width_px[in_view, index].max() * largest * 64 / size_px < MIN_WIDTH_PX_AT_64:
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


def first_difference(one: NDArray[np.uint8], other: NDArray[np.uint8], start: int) -> int:
    """The first frame from `start` on that differs. Raises InvalidSample where none does."""
    for frame in range(start, len(one)):
        if not np.array_equal(one[frame], other[frame]):
            return frame
    raise InvalidSample("the impossible video looks like the possible one")
