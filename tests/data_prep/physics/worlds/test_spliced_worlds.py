"""The proofs of the spliced worlds: one quadruplet of every template, and some possible videos."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from data_prep.physics.job_plan import SUITE_SIZES, suite_jobs, train_jobs
from data_prep.physics.keyed_random import opaque_name
from data_prep.physics.quadruplets import Quadruplet
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from eval.voe.leak_baselines import (
    each_frame_alone,
    l1_context_copy,
    l1_context_extrapolation,
    prefix_only,
    suffix_only,
)
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET, quadruplet_scores

VIDEO = VideoFormat()
SPLICED = ("flat", "lookaway", "dynamics", "memory")
TEMPLATES = [
    (world, property_.name, index)
    for world in SPLICED
    for property_ in WORLDS[world].properties
    for index, template in enumerate(property_.templates)
    if not template.name.endswith(("_for_1_s", "_for_2_s"))  # as those of half a second, which need fewer frames
]
QUADRUPLETS: dict[tuple[str, str, int], Quadruplet] = {}


@pytest.fixture(params=TEMPLATES, ids=lambda it: f"{it[0]}-{it[1]}-{it[2]}")
def quadruplet(request) -> Quadruplet:
    world, name, index = request.param
    if request.param not in QUADRUPLETS:
        property_ = WORLDS[world].property(name)
        unseen, level = index % 2 == 1, 1 + index % 2
        template = property_.templates[index]
        key = ("proof", world, name, index)
        QUADRUPLETS[request.param] = WORLDS[world].sample_quadruplet(property_, template, VIDEO, level, *key, unseen=unseen)
    return QUADRUPLETS[request.param]


def frames_of(quadruplet: Quadruplet) -> list[np.ndarray]:
    return [quadruplet.videos[pair].frames for pair in QUADRUPLET]


def score(quadruplet: Quadruplet, scorer) -> float:
    return float(quadruplet_scores(np.array([[scorer(frames) for frames in frames_of(quadruplet)]]))[0])


def test_videos_are_spliced_where_all_frames_are_equal(quadruplet):
    au, bv, av, bu = frames_of(quadruplet)
    k, (start, stop) = quadruplet.splice, quadruplet.occlusion
    assert start < k < stop
    assert np.array_equal(au[start:stop], bv[start:stop])
    assert np.array_equal(av, np.concatenate([au[:k], bv[k:]]))
    assert np.array_equal(bu, np.concatenate([bv[:k], au[k:]]))
    assert not np.array_equal(au[:k], bv[:k])
    assert not np.array_equal(au[k:], bv[k:])
    for pair in QUADRUPLET[2:]:
        assert Counter(frame.tobytes() for frame in np.concatenate([au, bv])) == Counter(
            frame.tobytes() for frame in np.concatenate([av, bu])
        ), pair


def test_blind_scorers_are_at_one_half_exactly_and_the_oracle_at_one(quadruplet):
    k, (start, stop) = quadruplet.splice, quadruplet.occlusion
    assert score(quadruplet, lambda frames: prefix_only(frames, k)) == 0.5
    assert score(quadruplet, lambda frames: suffix_only(frames, k)) == 0.5
    assert score(quadruplet, each_frame_alone) == 0.5
    for cut in range(start + 2, stop + 1):  # the contexts of locked windows
        assert score(quadruplet, lambda frames, cut=cut: l1_context_copy(frames, cut)) == 0.5
        assert score(quadruplet, lambda frames, cut=cut: l1_context_extrapolation(frames, cut)) == 0.5
    found = [violations(quadruplet.videos[pair].ground_truth(), VIDEO.fps) for pair in QUADRUPLET]
    assert found[0] == found[1] == []
    assert quadruplet_scores(np.array([[len(it) for it in found]], float)) == 1.0


NEUTRAL = [
    (world, name, index)
    for world, name, index in TEMPLATES
    if world == "flat" and WORLDS[world].property(name).templates[index].copy_class == "neutral"
]


@pytest.mark.parametrize("quadruplet", NEUTRAL, indirect=True, ids=lambda it: f"{it[1]}-{it[2]}")
def test_pixel_comparisons_gain_nothing_on_neutral_quadruplets_without_shadows_at_any_lag(quadruplet):
    au, bv = (frames.astype(np.int64) for frames in frames_of(quadruplet)[:2])
    before = (au[: quadruplet.splice] != bv[: quadruplet.splice]).any((0, 3))
    after = (au[quadruplet.splice :] != bv[quadruplet.splice :]).any((0, 3))
    assert not (before & after).any()


@pytest.mark.parametrize(("world", "count"), [("flat", 80), ("lookaway", 12), ("dynamics", 8), ("memory", 12)])
def test_training_videos_are_possible_and_repeatable(world, count):
    video = VideoFormat(32, 24, 12.0)
    for index in range(count):
        scenario, rendered = WORLDS[world].sample_possible_video(video, "possible", index, levels=(1, 2))
        # the rule does not hold for towers that topple
        found = [it for it in violations(rendered.ground_truth(), video.fps) if "changes velocity" not in it]
        assert not found, (index, scenario, found)
    again = WORLDS[world].sample_possible_video(video, "possible", count - 1, levels=(1, 2))[1]
    assert np.array_equal(again.frames, rendered.frames)


@pytest.mark.parametrize("world", SPLICED)
def test_a_world_has_as_many_easy_as_hard_quadruplets_and_keys_of_its_own(world):
    properties = [property_.name for property_ in WORLDS[world].properties]
    jobs = list(suite_jobs(SUITE_SIZES["mini"], properties, 0, world))
    for name in properties:
        own = [job for job in jobs if job.property == name]
        assert Counter((job.split, job.visibility) for job in own) == {("test", "occluded"): 100, ("val", "occluded"): 20}
        classes = Counter(WORLDS[world].property(name).templates[job.template].copy_class for job in own)
        assert classes["easy"] == classes["hard"]
    keys = {opaque_name(*job.key()) for job in [*jobs, *train_jobs(100, 0, world), *train_jobs(100, 0)]}
    assert len(keys) == len(jobs) + 200
