"""Quadruplets from real frames: what is shared, what differs, and that blind scorers are at 50 % exactly."""

import numpy as np
import pytest

from data_prep.splicing.jobs import QUADRUPLET
from data_prep.splicing.splices import SPLICES, Layout, Parts, reversal_offsets, reversal_reach
from eval.voe.leak_baselines import (
    FrameClassifier,
    each_frame_alone,
    frame_features,
    l1_context_copy,
    l1_context_extrapolation,
    prefix_only,
    suffix_only,
)
from eval.voe.pairs import pair_scores
from eval.voe.surprise.pixel_baselines import frame_gram, motion_change, visible_copy
from eval.voe.surprise.windows import Window
from tests.support.made_scenes import scene

OCCLUDED, VISIBLE = Layout(5, 4, 6), Layout(8, 0, 7)
SHIFT = 6


def parts_of(name: str, layout: Layout, seed: int = 0) -> Parts:
    splice = SPLICES[name]
    first, stop = splice.reach(layout, SHIFT)
    return splice.join(scene(stop - first, seed), layout, SHIFT, np.random.default_rng(seed))


def videos_of(name: str, layout: Layout, seed: int = 0) -> list[np.ndarray]:
    return [parts_of(name, layout, seed).video(*pair, layout) for pair in QUADRUPLET]


def percent(surprise: list[list[float]]) -> dict[str, float]:
    return {kind: 100 * float(scores.mean()) for kind, scores in pair_scores(np.array(surprise)).items()}


@pytest.mark.parametrize("layout", [OCCLUDED, VISIBLE], ids=["occluded", "visible"])
@pytest.mark.parametrize("name", SPLICES)
def test_blind_scorers_are_at_fifty_exactly(name, layout):
    quadruplets = [videos_of(name, layout, seed) for seed in range(6)]
    assert all(len(video) == layout.frames for videos in quadruplets for video in videos)
    cut = layout.outcome_start
    rows = np.concatenate([frame_features(video[::3]) for videos in quadruplets for video in videos])
    labels = np.tile(np.repeat([False, False, True, True], len(range(0, layout.frames, 3))), len(quadruplets))
    classifier = FrameClassifier.fit(rows, labels)
    blind = {
        "prefix": lambda video: prefix_only(video, cut),
        "suffix": lambda video: suffix_only(video, cut),
        "each frame alone": each_frame_alone,
        "frame classifier": lambda video: classifier.surprise(frame_features(video)),
    }
    if layout.hidden:
        blind["pixel copy"] = lambda video: l1_context_copy(video, cut)
        blind["pixel extrapolation"] = lambda video: l1_context_extrapolation(video, cut)
    for scorer, score in blind.items():
        found = percent([[score(video) for video in videos] for videos in quadruplets])
        assert found == {"same context": 50, "same outcome": 50}, scorer


@pytest.mark.parametrize("name", ["time_reversed", "frozen"])
def test_contexts_in_plain_sight_end_in_the_same_frame_so_that_a_copy_is_blind_too(name):
    quadruplets = [videos_of(name, VISIBLE, seed) for seed in range(6)]
    assert all(np.array_equal(videos[0][VISIBLE.context - 1], videos[1][VISIBLE.context - 1]) for videos in quadruplets)
    found = percent([[l1_context_copy(video, VISIBLE.context) for video in videos] for videos in quadruplets])
    assert found == {"same context": 50, "same outcome": 50}


def test_a_visible_reversed_video_shows_the_same_frames_from_the_end():
    parts, first = parts_of("time_reversed", VISIBLE), reversal_reach(VISIBLE, 0)[0]
    frames = scene(reversal_reach(VISIBLE, 0)[1] - first)
    assert np.array_equal(parts.outcomes["v"][0], frames[VISIBLE.context - 2 - first])  # the frame before the pivot
    assert np.array_equal(parts.outcomes["u"][0], frames[VISIBLE.outcome_start - first])
    forward, backward = parts.video("a", "u", VISIBLE), parts.video("b", "v", VISIBLE)
    span = min(VISIBLE.context - 1, VISIBLE.outcome)
    around = slice(VISIBLE.context - 1 - span, VISIBLE.context + span)
    assert np.array_equal(backward[around], forward[around][::-1])


@pytest.mark.parametrize("layout", [OCCLUDED, Layout(3, 4, 9), Layout(20, 12, 16)])
def test_an_occluded_reversed_video_is_a_stretch_in_reversed_order_whatever_the_offset(layout):
    first, stop = reversal_reach(layout, 0)
    least, most = reversal_offsets(layout)
    numbered = np.arange(stop - first).astype(np.uint8)[:, None, None, None]
    starts = set()
    for seed in range(100):
        parts = SPLICES["time_reversed"].join(numbered, layout, 0, np.random.default_rng(seed))
        backward = parts.video("b", "v", layout)[:, 0, 0, 0].astype(int)
        expected = backward[0] - np.arange(layout.frames)
        seen = np.r_[: layout.context, layout.outcome_start : layout.frames]
        assert np.array_equal(backward[seen], expected[seen])
        starts.add(int(parts.outcomes["v"][0, 0, 0, 0]) - (layout.context - 1 - first))
    assert starts == set(range(least, most + 1))  # frames after the last visible frame of context a


def locked_percent(baseline, name: str, seeds: int) -> float:
    """Percent of the pairs that a pixel baseline orders correctly, over the first two frames of the outcome."""
    window, surprise = Window("locked", 0, OCCLUDED.outcome_start, 2), []
    for seed in range(seeds):
        surprise.append([baseline(frame_gram(video), window, 1).mean() for video in videos_of(name, OCCLUDED, seed)])
    return float(np.mean(list(percent(surprise).values())))


def test_repeating_the_last_visible_frame_is_near_chance_in_reversed_quadruplets():
    assert 30 < locked_percent(visible_copy, "time_reversed", 40) < 70


def test_a_change_of_motion_tells_frozen_outcomes():
    assert locked_percent(motion_change, "frozen", 20) > 80


def test_a_frozen_outcome_holds_the_last_frame_of_the_context():
    parts = parts_of("frozen", OCCLUDED)
    assert all(np.array_equal(frame, parts.contexts["a"][-1]) for frame in [*parts.outcomes["v"], *parts.contexts["b"]])


def test_a_mirrored_part_keeps_the_rest_of_the_picture():
    parts = parts_of("part_mirrored", VISIBLE)
    differ = (parts.outcomes["u"] != parts.outcomes["v"]).any((0, 3))
    assert 0 < differ.mean() <= parts.magnitude


def test_the_other_outcome_comes_from_a_later_stretch():
    parts, frames = parts_of("other_stretch", VISIBLE), scene(VISIBLE.frames + SHIFT)
    assert np.array_equal(parts.outcomes["v"], frames[SHIFT + VISIBLE.context :])
    assert parts.magnitude == SHIFT
