"""Sampling of spliced quadruplets: which stretch of which clip, and whether it is usable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_prep.curation.cuts import find_cuts, find_static_cuts, measure_changes
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import CopyClass, copy_class
from data_prep.splicing.config import SplicingConfig
from data_prep.splicing.splices import Frames, Layout, Parts, Splice, visible_share
from worldmodel.manifest import Clip
from worldmodel.storage.errors import StorageError, causes
from worldmodel.video import VideoError
from worldmodel.video.geometry import read_square_frames

Visibility = Literal["occluded", "visible"]
MAX_ATTEMPTS = 200
MIN_STD = 4.0  # of the grey levels of a frame; below it the picture is black or plain
CONTEXT_SHARE = (0.4, 0.6)  # range of the length of a context, as a share of a video


class UnusableStretch(Exception):  # noqa: N818 - not an error: another stretch follows
    """A stretch that cannot be spliced. The message says why."""


class NoQuadrupletError(RuntimeError):
    """No usable stretch was found."""


@dataclass(frozen=True)
class Sample:
    """The parts of a quadruplet and where they come from."""

    parts: Parts
    layout: Layout
    copy_class: CopyClass
    clip: Clip
    start_s: float  # of the first frame that was read


def sample_quadruplet(
    clips: Sequence[Clip], splice: Splice, visibility: Visibility, config: SplicingConfig, *key: object
) -> Sample:
    """The first usable quadruplet of this key. Raises NoQuadrupletError where there is none.

    Raises StorageError for an object that cannot be read: the choice must not depend on the state of a store.
    """
    reasons: dict[str, int] = {}
    for attempt in range(MAX_ATTEMPTS):
        rng = KeyedRandom("spliced", *key, attempt).geometry
        try:
            return _attempt(clips, splice, visibility, config, rng)
        except (UnusableStretch, VideoError) as error:
            if (remote := next((cause for cause in causes(error) if isinstance(cause, StorageError)), None)) is not None:
                raise remote from None
            reasons[str(error)] = reasons.get(str(error), 0) + 1
    most = sorted(reasons, key=lambda reason: -reasons[reason])[:3]
    raise NoQuadrupletError(
        f"{splice.name}: no usable stretch in {MAX_ATTEMPTS} attempts ({'; '.join(most)}); "
        "give more or longer videos, or fewer --frames"
    )


def usable_clips(clips: Sequence[Clip], splice: Splice, layout: Layout, config: SplicingConfig) -> list[Clip]:
    """The clips that are long enough for this splice."""
    return [clip for clip in clips if _spare_s(clip, splice, layout, config, _min_shift(splice, config)) >= 0]


def _attempt(
    clips: Sequence[Clip], splice: Splice, visibility: Visibility, config: SplicingConfig, rng: np.random.Generator
) -> Sample:
    layout = _layout(visibility, config, rng)
    shift = _min_shift(splice, config)
    fitting = usable_clips(clips, splice, layout, config)
    if not fitting:
        raise UnusableStretch(f"no clip is as long as {_needed_s(splice, layout, config, shift):.1f} s")
    spare = np.array([_spare_s(clip, splice, layout, config, shift) for clip in fitting])
    weights = spare + 1 / config.fps  # in proportion to the number of stretches
    chosen = int(rng.choice(len(fitting), p=weights / weights.sum()))
    clip, spare_s = fitting[chosen], float(spare[chosen])
    if splice.uses_shift:
        most = min(int(config.max_distance_s * config.fps), shift + int(spare_s * config.fps))
        longer = int(rng.integers(0, most - shift + 1))
        shift, spare_s = shift + longer, spare_s - longer / config.fps
    start_s = clip.start_s + rng.random() * max(spare_s, 0.0)
    frames = _read(clip, start_s, *splice.reach(layout, shift), config, position=rng.random())
    _check_stretch(frames, config)
    parts = splice.join(frames, layout, shift, rng)
    if visible_share(parts.outcomes["u"], parts.outcomes["v"]) < config.min_visible_share:
        raise UnusableStretch("the two outcomes look alike")
    if visible_share(parts.contexts["a"], parts.contexts["b"]) < config.min_visible_share:
        raise UnusableStretch("the two contexts look alike")  # else the impossible videos look possible
    pair = [np.concatenate([parts.contexts[c][-1:], parts.outcomes[o][:1]]) for c, o in (("a", "u"), ("b", "v"))]
    if splice.uses_shift and parts.magnitude is not None:
        parts = Parts(parts.contexts, parts.outcomes, parts.magnitude / config.fps)
    return Sample(parts, layout, copy_class(pair[0], pair[1], 0, 1), clip, start_s)


def _layout(visibility: Visibility, config: SplicingConfig, rng: np.random.Generator) -> Layout:
    hidden = config.hidden_frames if visibility == "occluded" else 0
    low, high = (round(share * config.frames) for share in CONTEXT_SHARE)
    context = int(rng.integers(low, high + 1)) - hidden // 2
    return Layout(context, hidden, config.frames - context - hidden)


def _min_shift(splice: Splice, config: SplicingConfig) -> int:
    return max(1, round(config.min_distance_s * config.fps)) if splice.uses_shift else 0


def _needed_s(splice: Splice, layout: Layout, config: SplicingConfig, shift: int) -> float:
    """Time from the first to the last frame that the splice needs."""
    first, stop = splice.reach(layout, shift)
    return (stop - first - 1) / config.fps


def _spare_s(clip: Clip, splice: Splice, layout: Layout, config: SplicingConfig, shift: int) -> float:
    """By how much a clip is longer than needed. Half a frame of the file absorbs rounding of its times."""
    return clip.stop_s - clip.start_s - 0.5 / clip.fps - _needed_s(splice, layout, config, shift)


def _read(clip: Clip, start_s: float, first: int, stop: int, config: SplicingConfig, position: float) -> Frames:
    times = [start_s + index / config.fps for index in range(stop - first)]
    return read_square_frames(
        clip.path,
        config.size_px,
        "center_crop",
        times_s=times,
        position=position,
        member=clip.member,
        folder_fps=clip.fps,
        timing=clip.timing,
        rectangle=clip.rectangle,
    )


def _check_stretch(frames: Frames, config: SplicingConfig) -> None:
    """Raise UnusableStretch for a stretch with a camera cut or with a plain frame."""
    changes = measure_changes(frames)
    if find_cuts(changes.score, config.cuts) or find_static_cuts(changes.change, config.static_cuts):
        raise UnusableStretch("a camera cut")
    if frames.reshape(len(frames), -1).std(1).min() < MIN_STD:
        raise UnusableStretch("a black or plain frame")
