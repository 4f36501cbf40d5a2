"""The plan: counts, balance, and randomness with an address."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from data_prep.physics.base_scene import HUE_GAP, draw_stage, hue_gap
from data_prep.physics.keyed_random import Dice, opaque_name
from data_prep.physics.possible import ACTS, draw_lawful
from data_prep.physics.quadruplets import draw_quadruplet
from data_prep.physics.rendering.clip import shoot
from data_prep.physics.scenes import Format
from data_prep.physics.suite import BY_NAME, PROPERTIES, SIZES, suite_jobs, train_jobs
from eval.voe.oracle import violations
from eval.voe.pairs import FILMS, quadruplet_scores


def test_mini_is_what_the_specification_says():
    jobs = list(suite_jobs(SIZES["mini"], PROPERTIES, 0))
    for property_ in PROPERTIES:
        counts = Counter((job.split, job.visibility) for job in jobs if job.property == property_.name)
        assert counts == {("test", "occluded"): 100, ("test", "visible"): 20, ("val", "occluded"): 20}
    assert {job.level for job in jobs} == {1, 2}


def test_as_many_quadruplets_are_easy_as_are_hard():
    for property_ in PROPERTIES:
        jobs = [job for job in suite_jobs(SIZES["mini"], (property_,), 0) if job.visibility == "occluded"]
        for split in ("test", "val"):
            classes = Counter(property_.templates[job.template].copy_class for job in jobs if job.split == split)
            assert classes["easy"] == classes["hard"]


def test_every_job_has_randomness_of_its_own():
    jobs = [*suite_jobs(SIZES["full"], PROPERTIES, 0), *train_jobs(1000, 0)]
    names = {opaque_name(*job.key(), getattr(job, "visibility", "")) for job in jobs}
    assert len(names) == len(jobs)


def test_a_draw_more_for_geometry_moves_nothing_in_the_looks():
    one, other = Dice("a", 1), Dice("a", 1)
    other.uniform(0, 1)
    assert one.looks.random() == other.looks.random()
    assert Dice("a", 1).uniform(0, 1) != Dice("a", 2).uniform(0, 1)


def test_hues_keep_away_from_what_they_are_seen_against():
    for seed in range(50):
        stage = draw_stage(Dice("hue", seed), Format(), 1)
        first = stage.hue()
        second = stage.hue(first)
        assert hue_gap(first, second) >= 0.2
        assert min(hue_gap(hue, taken) for hue in (first, second) for taken in (stage.wall_hue, stage.screen_hue)) >= HUE_GAP


def test_held_out_films_show_other_shapes_textures_and_occluders():
    property_ = BY_NAME["shape"]
    pair = property_.templates[0].draw(draw_stage(Dice("ood"), Format(), 2, unseen=True))
    shapes = {thing.shape for thing in pair.a.things if thing.motion == "free"}
    assert shapes <= {"capsule", "ellipsoid"}
    assert {thing.shape for thing in pair.a.things if thing.occluder} == {"ellipsoid"}


@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda property_: property_.name)
def test_held_out_quadruplets_are_as_sound_as_the_others(property_):
    template = property_.templates[0]
    made = draw_quadruplet(property_, template, Format(), 2, "held out", property_.name, unseen=True)
    found = [len(violations(made.films[film].truth(), 12.0)) for film in FILMS]
    assert found[0] == found[1] == 0
    assert quadruplet_scores(np.array([found], float)) == 1.0


def test_films_to_learn_from_are_lawful_and_varied():
    acts = Counter(draw_lawful(Format(), 0, "train", index)[0] for index in range(400))
    assert set(acts) == {act.__name__ for act, _ in ACTS}
    film = Format(32, 24, 12.0)
    for index in range(24):
        act, scene = draw_lawful(film, 0, "train", index)
        found = [words for words in violations(shoot(scene, film).truth(), film.fps) if "changes its way" not in words]
        assert not found, (index, act, found)  # towers topple and drops bounce in ways too rich for that one rule


def test_every_act_is_drawn_with_and_without_what_it_is_about():
    hidden = Counter()
    for index in range(200):
        _, scene = draw_lawful(Format(), 0, "train", index)
        hidden[sum(thing.motion == "free" for thing in scene.things)] += 1
    assert {0, 1, 2} <= set(hidden)
    assert np.isclose(sum(weight for _, weight in ACTS), 1.0)
