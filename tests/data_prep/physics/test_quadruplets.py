"""Requirements on matched videos of every property, tested after decoding from disk."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.physics import quadruplets
from data_prep.physics.job_plan import SUITE_SIZES, QuadrupletJob, suite_jobs
from data_prep.physics.quadruplets import copy_class
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.properties import PROPERTIES, PROPERTIES_BY_NAME
from data_prep.physics.worlds.builtin.quadruplets import sample_quadruplet
from eval.voe.leak_baselines import (
    FrameClassifier,
    each_frame_alone,
    frame_features,
    l1_context_copy,
    l1_context_extrapolation,
    prefix_only,
    suffix_only,
)
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET, pair_scores, quadruplet_scores


def test_every_property_has_spliced_and_visible_videos(quads):
    for property_ in PROPERTIES:
        shown = Counter((quad.visibility, quad.split, quad.spliced) for quad in quads if quad.property == property_.name)
        assert shown == {("occluded", "test", True): 2, ("occluded", "val", True): 1, ("visible", "test", False): 1}


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


def test_each_frame_occurs_in_as_many_possible_as_impossible_videos(spliced):
    for quad in spliced:
        possible, impossible = (
            Counter(frame.tobytes() for frame in np.concatenate(videos)) for videos in (quad.frames[:2], quad.frames[2:])
        )
        assert possible == impossible


def test_decoded_videos_equal_rendered_ones(spliced):
    quad = next(quad for quad in spliced if quad.property == "gravity" and quad.split == "test")
    job = next(
        job
        for job in suite_jobs(SUITE_SIZES["nano"], ("gravity",), quad.seed)
        if isinstance(job, QuadrupletJob) and job.split == "test" and quad.quad_id.endswith(f"{job.index:04d}")
    )
    template = PROPERTIES_BY_NAME["gravity"].templates[job.template]
    quadruplet = sample_quadruplet(PROPERTIES_BY_NAME["gravity"], template, VideoFormat(), job.level, *job.key())
    for video, frames in zip(QUADRUPLET, quad.frames, strict=True):
        assert np.array_equal(quadruplet.videos[video].frames, frames)


def test_contexts_are_equal_throughout_the_occlusion(spliced):
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
        for truth in quad.truths[2:]:  # the impossible videos, whose state jumps at the splice
            k = quad.splice
            changed = _changed(truth, k, quad.fps)
            assert changed.any() or quad.property in ("inertia", "continuity"), quad.quad_id
            assert not truth["visible_px"][k - 1 : k + 1, changed].any(), quad.quad_id


def _changed(truth, k, fps):
    """Objects that appear, disappear, or are not where their velocity took them."""
    flipped = truth["present"][k] != truth["present"][k - 1]
    step = truth["position_m"][k] - truth["position_m"][k - 1]
    expected = truth["velocity_m_s"][k - 1] / fps
    return flipped | (np.abs(step - expected).max(1) > 0.2)


def test_an_oracle_that_reads_the_ground_truth_is_always_right_and_finds_nothing_in_possible_videos(quads):
    for quad in quads:
        found = [violations(truth, quad.fps) for truth in quad.truths]
        assert found[0] == found[1] == [], quad.quad_id
        scores = quadruplet_scores(np.array([[len(violations_of) for violations_of in found]], float))
        assert scores == 1.0, (quad.quad_id, quad.template)


def test_context_free_baselines_score_exactly_one_half_where_it_can_be_proven(spliced):
    for quad in spliced:
        k = quad.splice
        for score in (lambda f, k=k: prefix_only(f, k), lambda f, k=k: suffix_only(f, k), each_frame_alone):
            assert _score(score, quad) == 0.5
        for stop in range(quad.occlusion_start + 1, quad.occlusion_stop):
            assert _score(lambda frames, stop=stop: l1_context_copy(frames, stop), quad) == 0.5
        for stop in range(quad.occlusion_start + 2, quad.occlusion_stop):
            assert _score(lambda frames, stop=stop: l1_context_extrapolation(frames, stop), quad) == 0.5


def test_same_outcome_pairs_tie_for_a_copy_in_full_occlusion(spliced):
    for quad in spliced:
        surprise = np.array([[l1_context_copy(frames, quad.splice) for frames in quad.frames]])
        assert (pair_scores(surprise)["same outcome"] == 0.5).all()


def test_a_classifier_of_single_frames_scores_one_half_on_held_out_quadruplets(spliced):
    rng = np.random.default_rng(0)
    features = [[frame_features(frames) for frames in quad.frames] for quad in spliced]
    for held_out in range(0, len(spliced), 7):
        rows, labels = [], []
        for number, videos in enumerate(features):
            for video, its in enumerate(videos if number != held_out else []):
                rows.append(its[rng.integers(len(its), size=4)])
                labels += [video >= 2] * 4
        model = FrameClassifier.fit(np.concatenate(rows), np.array(labels))
        surprise = np.array([[model.surprise(its) for its in features[held_out]]])
        assert quadruplet_scores(surprise) == 0.5


def test_pixel_comparisons_gain_nothing_on_neutral_quadruplets_at_any_lag(spliced):
    """The pixels that differ before the splice and those that differ after it are disjoint, so
    gains and losses cancel.

    The pillar is an exception, because its shadow falls where the body will stand. It is measured
    in the docs instead.
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
    entity = still.copy()
    entity[0, 0, 0], entity[1, 0, 0] = 200, 200  # appears where it disappeared
    assert copy_class(entity, still, 0, 1) == "easy"
    left_first, right_first = still.copy(), still.copy()
    left_first[0, 0, 0], left_first[1, 0, 3] = 200, 200
    right_first[0, 0, 3], right_first[1, 0, 0] = 200, 200
    assert copy_class(left_first, right_first, 0, 1) == "hard"
    moved = still.copy()
    moved[0, 0, 0], moved[1, 0, 3] = 200, 200
    assert copy_class(moved, still, 0, 1) == "neutral"


def test_objects_are_large_enough_to_be_recognised(quads):
    for quad in quads:
        for truth in quad.truths:
            for index in range(len(truth["names"])):
                shown = truth["visible_px"][:, index] > 0
                largest = truth["half_size_m"][index].max() / truth["half_size_m"][index, 0]
                assert not shown.any() or truth["width_px"][shown, index].max() * largest >= 9.9


def _score(score, quad) -> float:
    return float(quadruplet_scores(np.array([[score(frames) for frames in quad.frames]]))[0])


def test_a_suite_whose_videos_are_too_short_ends_in_one_line_with_a_single_worker(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quadruplets, "MAX_ATTEMPTS", 2)
    options = ["--world", "dynamics", "--suite", "nano", "--properties", "direction", "--size-px", "32", "--frames", "18"]
    assert main(["synthesize", str(tmp_path / "x"), *options, "--workers", "1"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "direction" in line]
    assert len(errors) == 1
    assert "direction/walls_3_quarters: no valid quadruplet in 2 attempts" in errors[0]
    assert errors[0].endswith("for videos of 18 frames at 12 fps; use more frames")


@pytest.mark.parametrize(
    ("reason", "frames", "advice"),
    [
        (quadruplets.TooShortSample, 200, "; use more frames"),
        (quadruplets.TooBrieflyHidden, 24, "; use more frames"),
        (quadruplets.TooBrieflyHidden, 72, "; use a higher frame rate"),  # 6 s: bodies are as slow as in any longer video
        (quadruplets.InvalidSample, 24, ""),
    ],
)
def test_more_frames_are_advised_only_where_they_can_help(reason, frames, advice):
    def sample(rng):
        raise reason("of no use")

    with pytest.raises(quadruplets.NoValidSampleError) as caught:
        quadruplets.first_valid(sample, "name", VideoFormat(32, frames, 12.0), "key")
    assert str(caught.value).endswith(f"(of no use) for videos of {frames} frames at 12 fps{advice}")
