"""Quadruplets of the built-in world.

Occluded templates are spliced. Visible templates: the impossible videos are rendered anew. The
scenery of one possible scene is combined with the motion of the bodies in the other one. These
quadruplets are marked as not spliced.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import (
    InvalidSample,
    Property,
    Quadruplet,
    ScenePair,
    Template,
    TooShortSample,
    check_object_sizes,
    copy_class,
    first_difference,
    first_valid,
    spliced_quadruplet,
)
from data_prep.physics.rendered_video import RenderedVideo, concatenate
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.base_scene import BaseScene, sample_base_scene
from data_prep.physics.worlds.builtin.rendering.video import render_video
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.simulation import Trajectory, simulate

BuiltinTemplate: TypeAlias = Template[BaseScene, Scene]
BuiltinProperty: TypeAlias = Property[BaseScene, Scene]


def sample_quadruplet(
    property_: BuiltinProperty, template: BuiltinTemplate, video: VideoFormat, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid quadruplet of this key. Raises NoValidSampleError when no attempt is valid."""

    def attempt(rng: KeyedRandom) -> Quadruplet:
        pair = template.sample(sample_base_scene(rng, video, level, unseen=unseen))
        scenes = pair.ordered(swap=rng.bernoulli(0.5))
        if template.visibility == "visible":
            return _visible_quadruplet(property_, template, pair, scenes, video, level)
        video_a, video_b = (render_video(scene, video) for scene in scenes)
        return spliced_quadruplet(property_.name, template, level, pair.magnitude, video_a, video_b)

    return first_valid(attempt, f"{property_.name}/{template.name}", video, *key)


def _visible_quadruplet(
    property_: BuiltinProperty,
    template: BuiltinTemplate,
    pair: ScenePair[Scene],
    scenes: tuple[Scene, Scene],
    video: VideoFormat,
    level: int,
) -> Quadruplet:
    a, b = scenes
    trajectory_a, trajectory_b = simulate(a, video), simulate(b, video)
    video_a, video_b = render_video(a, video, trajectory_a), render_video(b, video, trajectory_b)
    for rendered in (video_a, video_b):
        check_object_sizes(rendered)
    violation = _first_divergence(trajectory_a, trajectory_b, a) if pair.cut_s is None else round(pair.cut_s * video.fps)
    if not 3 <= violation <= video.frames - 3:
        raise TooShortSample("the scenes begin to differ too close to an end of the video")
    impossible = (
        concatenate(video_a, _with_motion_of(a, b, trajectory_b, video, violation), violation),
        concatenate(video_b, _with_motion_of(b, a, trajectory_a, video, violation), violation),
    )
    return Quadruplet(
        property=property_.name,
        template=template.name,
        visibility=template.visibility,
        level=level,
        copy_class=copy_class(video_a.frames, video_b.frames, violation - 1, violation),
        magnitude=pair.magnitude,
        videos={("a", "u"): video_a, ("b", "v"): video_b, ("a", "v"): impossible[0], ("b", "u"): impossible[1]},
        splice=None,
        occlusion=None,
        violation=violation,
        reveal=first_difference(impossible[0].frames, video_a.frames, violation),
    )


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
