"""Quadruplets of the dynamics world. The two contexts hold the same frames in another order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil, floor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import (
    InvalidSample,
    Property,
    Quadruplet,
    Template,
    check_frame_rate,
    first_difference,
    first_valid,
    spliced_quadruplet,
    visible_differences,
)
from data_prep.physics.rendered_video import RenderedVideo, concatenate
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, closed_form_trajectory

DynamicsTemplate: TypeAlias = Template[DynamicsBase, LookAwayScene]
DynamicsProperty: TypeAlias = Property[DynamicsBase, LookAwayScene]
LEVELS = (1, 2)
"""At level 3 the camera drifts, so no two frames are the same, and no two contexts can hold the same frames."""
DIGITS = 9  # positions are rounded, so that the same position at another time gives the same pixels


def sample_quadruplet(
    property_: DynamicsProperty, template: DynamicsTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key.

    Raises NoValidSampleError when no attempt is valid, ValueError for a level that is not in LEVELS, and
    PrepError for a frame rate at which the template has no valid sample.
    """
    if level not in LEVELS:
        raise ValueError(
            f"{property_.name}/{template.name}: level {level}; quadruplets of the world dynamics have level "
            f"{' or '.join(map(str, LEVELS))}, because no two frames are the same while the camera drifts"
        )

    check_frame_rate(property_.name, template, video.fps)

    def attempt(rng: KeyedRandom) -> Quadruplet:
        base = DynamicsBase(sample_base_scene(rng, video, level, unseen=unseen))
        pair = template.sample(base)
        video_a, video_b = (render(scene, video) for scene in pair.ordered(swap=rng.bernoulli(0.5)))
        hidden = frames_behind_screen(pair.a, video)
        found = spliced_quadruplet(property_.name, template, level, pair.magnitude, video_a, video_b, hidden)
        assert found.occlusion is not None
        if not same_frames(video_a.frames, video_b.frames, found.occlusion[0]):
            raise InvalidSample("the contexts do not hold the same frames")
        return found if hidden is None else spliced_at_a_jump(found)

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)


def frames_behind_screen(scene: LookAwayScene, video: VideoFormat) -> tuple[int, int] | None:
    """The frames [start, stop) in which the screen is up after bodies were seen; None without a screen."""
    for entity in scene.scene.entities:
        if entity.motion == "scripted":
            *_, (up_s, _), (down_s, _), _ = entity.path
            return ceil(up_s * video.fps), floor(down_s * video.fps) + 1
    return None


def spliced_at_a_jump(found: Quadruplet) -> Quadruplet:
    """The same quadruplet, spliced where bodies jump in the impossible videos.

    The two possible videos are in the same state after each half period. A splice there would be no
    jump, only a sudden turn. Of the hidden frames the splice is the one at which the states differ
    most, both in this frame and in the one before; of equal ones, that nearest to the middle. Where
    the first frame after the screen looks the same in both, the next one is the reveal.
    """
    assert found.occlusion is not None
    start, stop = found.occlusion
    video_a, video_b = found.videos["a", "u"], found.videos["b", "v"]
    apart = state_difference(video_a, video_b)
    frames = [frame for frame in range(start + 1, stop) if not visible_differences(video_a, video_b, frame)]
    jump = {frame: round(min(apart[frame - 1], apart[frame]), DIGITS) for frame in frames}
    splice = min(frames, key=lambda frame: (-jump[frame], abs(frame - (start + stop) // 2), frame))
    spliced = {
        ("a", "v"): concatenate(video_a, video_b, splice),
        ("b", "u"): concatenate(video_b, video_a, splice),
    }
    reveal = first_difference(video_a.frames, video_b.frames, stop)
    return replace(found, videos={**found.videos, **spliced}, splice=splice, violation=splice, reveal=reveal)


def state_difference(one: RenderedVideo, other: RenderedVideo) -> NDArray[np.float64]:
    """[T]: the largest distance between the positions of a body in two videos, in m.

    Where no body ever differs in its position: the largest angle between its orientations, in rad.
    """
    apart = np.linalg.norm(one.position_m - other.position_m, axis=2).max(1)
    if apart.any():
        return apart
    cosine = np.abs((one.quaternion * other.quaternion).sum(2))
    return 2 * np.arccos(np.clip(cosine, 0, 1)).max(1)


def render(scene: LookAwayScene, video: VideoFormat) -> RenderedVideo:
    """Move and render a scene."""
    exact = closed_form_trajectory(scene, video)
    rounded = replace(exact, position_m=np.round(exact.position_m, DIGITS), quaternion=np.round(exact.quaternion, DIGITS))
    return render_video(scene.scene, video, rounded)


def same_frames(one: NDArray[np.uint8], other: NDArray[np.uint8], stop: int) -> bool:
    """Whether two videos hold the same frames before `stop`, in any order."""
    counts = [Counter(frame.tobytes() for frame in frames[:stop]) for frames in (one, other)]
    return counts[0] == counts[1]
