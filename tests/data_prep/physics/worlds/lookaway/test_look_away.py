"""Looking away: nothing is seen meanwhile, and a scorer that assumes that the world stood still knows nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.quadruplets import Template
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase, sample_base_scene, to_and_fro, uniform
from data_prep.physics.worlds.lookaway.properties import PROPERTIES
from data_prep.physics.worlds.lookaway.quadruplets import sample_quadruplet
from data_prep.physics.worlds.lookaway.scenes import LookAway, render, turn_frames
from eval.voe.pairs import QUADRUPLET, quadruplet_scores

VIDEO = VideoFormat()
LIGHT, CAMERA = LookAway("light", 9, 18, 1), LookAway("camera", 9, 18, 1)
TEMPLATES = {(property_.name, template.name): template for property_ in PROPERTIES for template in property_.templates}


def base_with(look_away: LookAway, *key: object) -> LookAwayBase:
    base = sample_base_scene(KeyedRandom("look away", *key), VIDEO, 1)
    return LookAwayBase(base.builtin, look_away)


def still_video(look_away: LookAway) -> np.ndarray:
    return render(base_with(look_away).finished(), VIDEO).frames


def test_frames_are_black_while_the_light_is_out_and_nothing_counts_as_visible():
    base = base_with(LIGHT)
    appearance_pair = TEMPLATES["continuity", "backwards"].sample(base)
    rendered = render(appearance_pair.a, VIDEO)
    assert not rendered.frames[9:18].any()
    assert rendered.frames[[8, 18]].any((1, 2, 3)).all()
    assert not rendered.visible_px[9:18].any()
    assert rendered.unoccluded_px[9:18].all()  # it is still in the picture


def test_the_camera_turns_back_through_the_frames_of_turning_away():
    frames = still_video(CAMERA)
    for step in range(9):
        assert np.array_equal(frames[9 + step], frames[17 - step])
    assert np.array_equal(frames[8], frames[18])
    assert len({frame.tobytes() for frame in frames}) == 1 + turn_frames(VIDEO) + 1


def frozen_world(frames: np.ndarray, away: LookAway) -> float:
    """Error of a forecast in which the world stood still while the video looked away, and does so afterwards."""
    wide = frames.astype(np.int64)
    error = np.abs(wide[away.stop :] - wide[away.start - 1]).sum()
    for step in range(turn_frames(VIDEO) if away.cause == "camera" else 0):
        error += np.abs(wide[away.stop - 1 - step] - wide[away.start + step]).sum()
    return float(error)


@pytest.mark.parametrize("cause", ["light", "camera"])
@pytest.mark.parametrize("name", TEMPLATES, ids="-".join)
def test_a_frozen_world_scorer_is_at_one_half_exactly(name, cause, monkeypatch):
    property_ = next(property_ for property_ in PROPERTIES if property_.name == name[0])
    asked = []

    def sample(base: LookAwayBase):
        asked.append(TEMPLATES[name].sample(LookAwayBase(base.builtin, LIGHT if cause == "light" else CAMERA)))
        return asked[-1]

    template = Template(name[1], sample, TEMPLATES[name].copy_class)
    quadruplet = sample_quadruplet(property_, template, VIDEO, 1, "frozen", *name, cause)
    away = asked[-1].a.look_away
    scores = [frozen_world(quadruplet.videos[pair].frames, away) for pair in QUADRUPLET]
    assert quadruplet_scores(np.array([scores])) == 0.5


@pytest.mark.parametrize(
    "name", [("continuity", "backwards"), ("continuity", "stood_still"), ("inertia", "pace")], ids="-".join
)
def test_templates_about_motion_look_the_same_in_the_last_frame(name):
    pair = TEMPLATES[name].sample(base_with(LIGHT, *name))
    a, b = render(pair.a, VIDEO).frames, render(pair.b, VIDEO).frames
    assert np.array_equal(a[8], b[8])
    assert not np.array_equal(a[7], b[7])


def test_in_the_impossible_outcome_the_world_stood_still():
    """Its first frame after the darkness is the one that would have come when the light went out."""
    pair = TEMPLATES["continuity", "stood_still"].sample(base_with(LIGHT, "still"))
    a, b = render(pair.a, VIDEO), render(pair.b, VIDEO)
    one = a.names.index("one")
    assert b.position_m[18:, one] == pytest.approx(a.position_m[9:15, one], abs=1e-9)
    assert b.velocity_m_s[18:, one] == pytest.approx(a.velocity_m_s[9:15, one], abs=1e-9)


def test_a_body_moves_to_and_fro_between_two_walls():
    path = to_and_fro(1.2, 0.7, 0.5, 2.0, ("left", "right"))
    hits = [(segment.hits, round(segment.position_m[0], 9)) for segment in path[1:]]
    assert set(hits) == {("left", -0.5), ("right", 0.5)}
    assert all(one != other for one, other in pairwise(hits))
    times = np.diff([segment.start_s for segment in path[1:]])
    assert times == pytest.approx(1.0 / 1.2)
    speeds = [abs(segment.velocity_m_s[0]) for segment in path]
    assert speeds == pytest.approx([1.2] * len(path))
    assert uniform(1.2, 0.7)[0].position_m[0] == pytest.approx(-0.84)
