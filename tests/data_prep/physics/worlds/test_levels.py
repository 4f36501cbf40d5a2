"""The levels of the worlds: a suite has those of its world alone, and a level without valid quadruplets is refused at once."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.physics.generation import GenerationConfig, generator_versions
from data_prep.physics.job_plan import SUITE_SIZES, QuadrupletJob, suite_jobs
from data_prep.physics.keyed_random import KeyedRandom
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.builtin.base_scene import sample_base_scene
from data_prep.physics.worlds.dynamics import quadruplets
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties import PROPERTIES
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET

LEVELS = {"builtin": (1, 2, 3), "flat": (1, 2, 3), "lookaway": (1, 2, 3), "dynamics": (1, 2), "memory": (1, 2, 3)}
FULL = SUITE_SIZES["full"]


def config_of(kind: str, world: str, levels: tuple[int, ...] = FULL.levels) -> GenerationConfig:
    """The configuration of a full suite, as the command makes it."""
    properties = tuple(property_.name for property_ in WORLDS[world].properties)
    numbers = {"videos": 9} if kind == "calibration" else {"occluded": FULL.occluded, "unseen": FULL.unseen}
    shared = {"seed": 0, "size_px": 32, "frames": 24, "fps": 12.0, **generator_versions(world)}
    return GenerationConfig(kind=kind, world=world, levels=levels, properties=properties, **numbers, **shared)


@pytest.mark.parametrize("world", WORLDS)
def test_a_full_suite_has_all_levels_of_its_world_and_no_other(world):
    assert WORLDS[world].levels == LEVELS[world]
    suite, calibration = (config_of(kind, world) for kind in ("suite", "calibration"))
    assert suite.as_json()["levels"] == calibration.as_json()["levels"] == list(LEVELS[world])
    planned = {(job.property, job.split, job.level) for job in suite.jobs() if isinstance(job, QuadrupletJob)}
    names = [property_.name for property_ in WORLDS[world].properties]
    assert planned == {(name, split, level) for name in names for split in ("test", "ood") for level in LEVELS[world]}
    assert {job.levels for job in calibration.jobs()} == {LEVELS[world]}


def test_a_suite_without_any_level_of_its_world_is_refused():
    with pytest.raises(ValueError, match="level 3: quadruplets of the world dynamics have level 1 or 2"):
        config_of("suite", "dynamics", levels=(3,))


@pytest.mark.parametrize("world", ["builtin", "flat", "lookaway", "memory"])
def test_levels_of_other_worlds_take_turns_as_before(world):
    name = WORLDS[world].properties[0].name
    jobs = [job for job in suite_jobs(FULL, (name,), 0, world) if job.split == "ood"]
    templates = len({job.template for job in jobs})
    assert [job.level for job in jobs] == [1 + index // templates % 3 for index in range(FULL.unseen)]


@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda it: it.name)
def test_the_dynamics_world_refuses_level_3_before_it_samples_a_scene(property_, monkeypatch):
    def sampled(*args, **kwargs):
        raise AssertionError("a scene was sampled")

    monkeypatch.setattr(quadruplets, "sample_base_scene", sampled)
    with pytest.raises(ValueError, match="level 3; quadruplets of the world dynamics have level 1 or 2, because"):
        WORLDS["dynamics"].sample_quadruplet(property_, property_.templates[0], VideoFormat(128, 48, 12.0), 3, "key")


def test_frames_of_periodic_motion_recur_only_where_the_camera_stands_still():
    video = VideoFormat(16, 24, 12.0)
    different = {}
    for level in (2, 3):
        base = DynamicsBase(sample_base_scene(KeyedRandom("drift"), video, level))
        scene = WORLDS["dynamics"].property("direction").templates[0].sample(base).a
        different[level] = len(np.unique(quadruplets.render(scene, video).frames.reshape(24, -1), axis=0))
    assert different[3] == 24
    assert different[2] < 12  # the screen, and a body that is in a few places only


@pytest.mark.slow
@pytest.mark.parametrize("world", [world for world, levels in LEVELS.items() if 3 in levels])
def test_every_property_has_a_valid_quadruplet_where_the_camera_drifts(world):
    video = VideoFormat(32, 24, 12.0)
    for property_ in WORLDS[world].properties:
        found = WORLDS[world].sample_quadruplet(property_, property_.templates[0], video, 3, "drift", property_.name)
        counts = [len(violations(found.videos[pair].ground_truth(), video.fps)) for pair in QUADRUPLET]
        assert counts[:2] == [0, 0], property_.name
        assert min(counts[2:]) > 0, property_.name
