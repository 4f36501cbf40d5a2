"""In the dynamics world, bodies pass beside each other and turn round at the plates, at many frame rates."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.errors import PrepError
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.builtin.simulation import Trajectory
from data_prep.physics.worlds.dynamics import quadruplets
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, closed_form_trajectory
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET

DYNAMICS = WORLDS["dynamics"]
FINE = VideoFormat(32, 2001, 1000.0)


def bodies(scene: LookAwayScene) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], Trajectory]:
    """Half sizes along x, y and z and the positions of the entities of a scene, by name, and its trajectory."""
    moved = closed_form_trajectory(scene, FINE)
    halves = {}
    for entity in scene.scene.entities:
        size = entity.size_m
        halves[entity.name] = {
            "sphere": np.repeat(size[:1], 3),
            "cylinder": np.array([size[0], size[0], size[-1]]),
            "capsule": np.array([sum(size), size[0], size[0]]),  # it lies along x
        }.get(entity.shape, np.array(size))
    return halves, {name: moved.position_m[:, index] for index, name in enumerate(moved.names)}, moved


def scenes(name: str, count: int = 12) -> list[LookAwayScene]:
    """Scenes of every template."""
    video, found = VideoFormat(), []
    for template in DYNAMICS.property(name).templates:
        for index in range(count):
            base = DynamicsBase(sample_base_scene(KeyedRandom(name, index), video, 1, unseen=index % 3 == 2))
            found.append(template.sample(base).a)
    return found


def test_bodies_that_cross_are_beside_each_other():
    for scene in scenes("crossing"):
        halves, positions, _ = bodies(scene)
        apart_m = np.abs(positions["one"] - positions["other"])[:, 1].min()
        assert apart_m == pytest.approx(halves["one"][1] + halves["other"][1] + 0.05)


@pytest.mark.parametrize("name", ["crossing", "direction"])
def test_bodies_turn_round_where_they_touch_a_plate(name):
    for scene in scenes(name):
        halves, positions, _ = bodies(scene)
        inner_m = positions["right plate"][0, 0] - halves["right plate"][0]
        front_m, back_m = (positions["right plate"][0, 1] + side * halves["right plate"][1] for side in (-1, 1))
        for body in {"one", "other"} & set(positions):
            x_m, y_m = positions[body][:, 0], positions[body][0, 1]
            assert np.abs(x_m).max() + halves[body][0] == pytest.approx(inner_m, abs=0.005)
            assert front_m - 1e-9 <= y_m - halves[body][1]
            assert y_m + halves[body][1] <= back_m + 1e-9


@pytest.mark.parametrize("fps", [8.0, 10.0, 12.0, 20.0])
@pytest.mark.parametrize("name", ["acceleration", "queue", "delay"])
def test_quadruplets_are_valid_at_rates_at_which_the_period_is_rounded(name, fps):
    video = VideoFormat(32, 48 if fps == 20 else 24, fps)
    property_ = DYNAMICS.property(name)
    found = DYNAMICS.sample_quadruplet(property_, property_.templates[0], video, 1, "rates", name)
    counts = [len(violations(found.videos[pair].ground_truth(), fps)) for pair in QUADRUPLET]
    assert counts[:2] == [0, 0]
    assert min(counts[2:]) > 0


@pytest.mark.parametrize("name", [property_.name for property_ in DYNAMICS.properties if property_.name != "acceleration"])
def test_all_other_properties_have_valid_quadruplets_at_5_fps(name):
    property_ = DYNAMICS.property(name)
    DYNAMICS.sample_quadruplet(property_, property_.templates[0], VideoFormat(32, 24, 5.0), 1, "rates", name)


def test_a_rate_at_which_a_ball_would_bounce_out_of_the_picture_is_refused_before_a_scene_is_sampled(monkeypatch):
    def sampled(*args, **kwargs):
        raise AssertionError("a scene was sampled")

    monkeypatch.setattr(quadruplets, "sample_base_scene", sampled)
    message = "acceleration: 5 fps are too few, because .* then; give --fps 8 or more, or --properties without acceleration"
    property_ = DYNAMICS.property("acceleration")
    with pytest.raises(PrepError, match=message):
        DYNAMICS.sample_quadruplet(property_, property_.templates[0], VideoFormat(32, 24, 5.0), 1, "rates")
    with pytest.raises(PrepError, match=message):
        DYNAMICS.check_frame_rate(5.0, ("direction", "acceleration"))
    DYNAMICS.check_frame_rate(8.0, ("direction", "acceleration"))
    DYNAMICS.check_frame_rate(5.0, ("direction", "queue"))


def test_possible_videos_show_no_bouncing_ball_at_a_rate_at_which_it_would_leave_the_picture():
    shown = {DYNAMICS.sample_possible_video(VideoFormat(8, 24, 5.0), "slow", i, levels=(1,))[0] for i in range(60)}
    assert {"direction", "crossing", "impact", "delay", "queue"} < shown
    assert "acceleration" not in shown
