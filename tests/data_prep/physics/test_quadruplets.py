"""What matched films must be, on every property, after decoding from disk."""

from __future__ import annotations

from collections import Counter

import numpy as np

from data_prep.physics.jobs import draw_quadruplet
from data_prep.physics.quadruplets import copy_class
from data_prep.physics.scenes import Format
from data_prep.physics.suite import BY_NAME, PROPERTIES, SIZES, QuadrupletJob, suite_jobs
from eval.voe.baselines import (
    FrameClassifier,
    each_frame_alone,
    frame_features,
    pixel_copy,
    pixel_extrapolation,
    prefix_only,
    suffix_only,
)
from eval.voe.oracle import violations
from eval.voe.pairs import FILMS, pair_scores, quadruplet_scores


def test_every_property_has_spliced_and_visible_films(quads):
    for property_ in PROPERTIES:
        seen = Counter((quad.visibility, quad.split, quad.spliced) for quad in quads if quad.property == property_.name)
        assert seen == {("occluded", "test", True): 2, ("occluded", "val", True): 1, ("visible", "test", False): 1}


def test_possible_is_context_xor_outcome(quads):
    for quad in quads:
        assert [row["possible"] for row in quad.rows] == [True, True, False, False]


def test_prefixes_and_suffixes_are_the_same_bit_for_bit_after_decoding(spliced):
    for quad in spliced:
        au, bv, av, bu = quad.frames
        k = quad.splice
        assert np.array_equal(au[:k], av[:k])
        assert np.array_equal(bv[:k], bu[:k])
        assert np.array_equal(au[k:], bu[k:])
        assert np.array_equal(bv[k:], av[k:])
        assert not np.array_equal(au[:k], bv[:k])
        assert not np.array_equal(au[k:], bv[k:])


def test_each_frame_stands_in_as_many_possible_as_impossible_films(spliced):
    for quad in spliced:
        possible, impossible = (
            Counter(frame.tobytes() for frame in np.concatenate(films)) for films in (quad.frames[:2], quad.frames[2:])
        )
        assert possible == impossible


def test_what_comes_off_the_disk_is_what_was_rendered(spliced):
    quad = next(quad for quad in spliced if quad.property == "gravity" and quad.split == "test")
    job = next(
        job
        for job in suite_jobs(SIZES["nano"], (BY_NAME["gravity"],), quad.seed)
        if isinstance(job, QuadrupletJob) and job.split == "test" and quad.quad_id.endswith(f"{job.index:04d}")
    )
    template = BY_NAME["gravity"].templates[job.template]
    made = draw_quadruplet(BY_NAME["gravity"], template, Format(), job.level, *job.key())
    for film, frames in zip(FILMS, quad.frames, strict=True):
        assert np.array_equal(made.films[film].frames, frames)


def test_contexts_look_the_same_throughout_the_occlusion(spliced):
    for quad in spliced:
        au, bv = quad.frames[:2]
        start, stop = quad.occlusion_start, quad.occlusion_stop
        assert start < quad.splice < stop
        assert stop - start >= 3
        assert np.array_equal(au[start:stop], bv[start:stop])
        assert not np.array_equal(au[start - 1], bv[start - 1])
        assert not np.array_equal(au[stop], bv[stop])
        assert quad.reveal == stop


def test_hidden_changes_happen_only_at_full_occlusion(spliced):
    for quad in spliced:
        for truth in quad.truths[2:]:  # the impossible films, whose state jumps at the splice
            k = quad.splice
            changed = _changed(truth, k, quad.fps)
            assert changed.any() or quad.property in ("inertia", "continuity"), quad.quad_id
            assert not truth["visible_px"][k - 1 : k + 1, changed].any(), quad.quad_id


def _changed(truth, k, fps):
    """Objects that appear, go, or are elsewhere than their velocity took them."""
    flipped = truth["present"][k] != truth["present"][k - 1]
    step = truth["position_m"][k] - truth["position_m"][k - 1]
    expected = truth["velocity_m_s"][k - 1] / fps
    return flipped | (np.abs(step - expected).max(1) > 0.2)


def test_an_oracle_that_reads_the_truth_is_always_right_and_finds_nothing_in_lawful_films(quads):
    for quad in quads:
        found = [violations(truth, quad.fps) for truth in quad.truths]
        assert found[0] == found[1] == [], quad.quad_id
        scores = quadruplet_scores(np.array([[len(words) for words in found]], float))
        assert scores == 1.0, (quad.quad_id, quad.template)


def test_blind_scorers_are_at_exactly_one_half_where_it_can_be_proven(spliced):
    for quad in spliced:
        k = quad.splice
        for score in (lambda f, k=k: prefix_only(f, k), lambda f, k=k: suffix_only(f, k), each_frame_alone):
            assert _score(score, quad) == 0.5
        for stop in range(quad.occlusion_start + 1, quad.occlusion_stop):
            assert _score(lambda frames, stop=stop: pixel_copy(frames, stop), quad) == 0.5
        for stop in range(quad.occlusion_start + 2, quad.occlusion_stop):
            assert _score(lambda frames, stop=stop: pixel_extrapolation(frames, stop), quad) == 0.5


def test_same_outcome_pairs_tie_for_a_copy_in_full_occlusion(spliced):
    for quad in spliced:
        surprise = np.array([[pixel_copy(frames, quad.splice) for frames in quad.frames]])
        assert (pair_scores(surprise)["same outcome"] == 0.5).all()


def test_a_classifier_of_single_frames_is_at_one_half_on_any_other_quadruplet(spliced):
    rng = np.random.default_rng(0)
    features = [[frame_features(frames) for frames in quad.frames] for quad in spliced]
    for held_out in range(0, len(spliced), 7):
        rows, labels = [], []
        for place, films in enumerate(features):
            for film, its in enumerate(films if place != held_out else []):
                rows.append(its[rng.integers(len(its), size=4)])
                labels += [film >= 2] * 4
        model = FrameClassifier.fit(np.concatenate(rows), np.array(labels))
        surprise = np.array([[model.surprise(its) for its in features[held_out]]])
        assert quadruplet_scores(surprise) == 0.5


def test_neutral_quadruplets_are_blind_to_pixel_comparisons_at_every_lag(spliced):
    """Where things differ before and where they differ after share no pixel, so gains and losses cancel.

    Not so for the pillar, whose shadow falls where the body will stand: that one is held to the measured table.
    """
    for quad in spliced:
        if quad.copy_class != "neutral" or quad.template == "pillar":
            continue
        au, bv = (frames.astype(np.int64) for frames in quad.frames[:2])
        before = (au[: quad.splice] != bv[: quad.splice]).any((0, 3))
        after = (au[quad.splice :] != bv[quad.splice :]).any((0, 3))
        assert not (before & after).any(), (quad.quad_id, quad.template)


def test_copy_class_of_worked_examples():
    still = np.zeros((2, 1, 4, 3), np.uint8)
    thing = still.copy()
    thing[0, 0, 0], thing[1, 0, 0] = 200, 200  # comes out where it went in
    assert copy_class(thing, still, 0, 1) == "easy"
    left_first, right_first = still.copy(), still.copy()
    left_first[0, 0, 0], left_first[1, 0, 3] = 200, 200
    right_first[0, 0, 3], right_first[1, 0, 0] = 200, 200
    assert copy_class(left_first, right_first, 0, 1) == "hard"
    moved = still.copy()
    moved[0, 0, 0], moved[1, 0, 3] = 200, 200
    assert copy_class(moved, still, 0, 1) == "neutral"


def test_objects_can_be_made_out(quads):
    for quad in quads:
        for truth in quad.truths:
            for index in range(len(truth["names"])):
                seen = truth["visible_px"][:, index] > 0
                broad = truth["half_size_m"][index].max() / truth["half_size_m"][index, 0]
                assert not seen.any() or truth["width_px"][seen, index].max() * broad >= 9.9


def _score(score, quad) -> float:
    return float(quadruplet_scores(np.array([[score(frames) for frames in quad.frames]]))[0])
