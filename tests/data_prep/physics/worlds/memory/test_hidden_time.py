"""In the memory world, bodies are hidden for exactly the time that a template names."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.physics.quadruplets import NoValidSampleError
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.memory.properties import PROPERTIES
from eval.voe.scores.questions import IDENTITY
from eval.voe.suites import open_suite

VIDEO = VideoFormat(32, 48, 12.0)


@pytest.mark.parametrize(("name", "template"), [("number", "1_for_0.5_s"), ("number", "4_for_2_s"), ("identity", "3_for_1_s")])
def test_what_differs_is_hidden_for_exactly_the_time_of_the_template(name, template):
    property_ = WORLDS["memory"].property(name)
    chosen = next(it for it in property_.templates if it.name == template)
    found = WORLDS["memory"].sample_quadruplet(property_, chosen, VIDEO, 1, "hidden", name)
    start, stop = found.occlusion
    count, seconds = template.split("_")[0], float(template.split("_")[2])
    assert stop - start == round(12 * seconds)
    assert found.magnitude == int(count)
    truth = found.videos["a", "u"]
    moving = [index for index, name in enumerate(truth.names) if name.startswith("body")]
    assert truth.unoccluded_px[stop, moving].all()  # the bodies stay where they are
    if name == "number":
        others = [found.videos["b", "v"].names, truth.names]
        counts = sorted(sum(name.startswith("body") for name in names) for names in others)
        assert counts == [int(count) - 1, int(count)]
    else:
        colours = [Counter(map(tuple, found.videos[pair].colour_rgb[moving].tolist())) for pair in (("a", "u"), ("b", "v"))]
        assert colours[0] == colours[1]


def test_videos_that_are_too_short_are_refused_with_advice():
    property_ = WORLDS["memory"].property("number")
    with pytest.raises(NoValidSampleError, match=r"too short to hide bodies for 2 s.*use more frames"):
        WORLDS["memory"].sample_quadruplet(property_, property_.templates[2], VideoFormat(32, 24, 12.0), 1, "short")


def test_a_suite_has_videos_of_four_seconds_and_contexts_that_end_in_the_last_second_of_the_occlusion(tmp_path):
    arguments = ["--world", "memory", "--suite", "nano", "--quadruplets", "3", "--properties", "number", "--size-px", "32"]
    assert main(["synthesize", str(tmp_path / "suite"), *arguments, "--workers", "1"]) == 0
    suite = open_suite(f"builtin:{tmp_path / 'suite'}")
    assert {video.frames for trial in suite.trials for video in trial.videos} == {48}
    for trial, hidden in zip([it for it in suite.trials if it.split == "test"], (6, 12, 24), strict=True):
        start, stop = trial.occluded_frames
        assert stop - start == hidden
        assert trial.locked_cuts == (max(start + 2, stop - 11), stop + 1)


def test_possible_videos_are_equal_for_equal_keys():
    world = WORLDS["memory"]
    first, again = (world.sample_possible_video(VideoFormat(32, 24, 12.0), "key", 1, levels=(1,))[1] for _ in range(2))
    assert np.array_equal(first.frames, again.frames)


def test_the_questions_of_the_memory_world_ask_what_went_in():
    assert {property_.name for property_ in PROPERTIES} < set(IDENTITY)
