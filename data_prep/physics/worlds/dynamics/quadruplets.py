"""Quadruplets of the dynamics world. The two contexts hold the same frames in another order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import ceil, floor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import InvalidSample, Property, Quadruplet, Template, first_valid, spliced_quadruplet
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, closed_form_trajectory

DynamicsTemplate: TypeAlias = Template[DynamicsBase, LookAwayScene]
DynamicsProperty: TypeAlias = Property[DynamicsBase, LookAwayScene]
DIGITS = 9  # positions are rounded, so that the same position at another time gives the same pixels


def sample_quadruplet(
    property_: DynamicsProperty, template: DynamicsTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. Raises RuntimeError when no attempt is valid."""

    def attempt(rng: KeyedRandom) -> Quadruplet:
        base = DynamicsBase(sample_base_scene(rng, video, level, unseen=unseen))
        pair = template.sample(base)
        video_a, video_b = (render(scene, video) for scene in pair.ordered(swap=rng.bernoulli(0.5)))
        hidden = frames_behind_screen(pair.a, video)
        found = spliced_quadruplet(property_.name, template, level, pair.magnitude, video_a, video_b, hidden)
        assert found.occlusion is not None
        if not same_frames(video_a.frames, video_b.frames, found.occlusion[0]):
            raise InvalidSample("the contexts do not hold the same frames")
        return found

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)


def frames_behind_screen(scene: LookAwayScene, video: VideoFormat) -> tuple[int, int] | None:
    """The frames [start, stop) in which the screen is up; None without a screen."""
    for entity in scene.scene.entities:
        if entity.motion == "scripted":
            _, (up_s, _), (down_s, _), _ = entity.path
            return ceil(up_s * video.fps), floor(down_s * video.fps) + 1
    return None


def render(scene: LookAwayScene, video: VideoFormat) -> RenderedVideo:
    """Move and render a scene."""
    exact = closed_form_trajectory(scene, video)
    rounded = replace(exact, position_m=np.round(exact.position_m, DIGITS), quaternion=np.round(exact.quaternion, DIGITS))
    return render_video(scene.scene, video, rounded)


def same_frames(one: NDArray[np.uint8], other: NDArray[np.uint8], stop: int) -> bool:
    """Whether two videos hold the same frames before `stop`, in any order."""
    counts = [Counter(frame.tobytes() for frame in frames[:stop]) for frames in (one, other)]
    return counts[0] == counts[1]
