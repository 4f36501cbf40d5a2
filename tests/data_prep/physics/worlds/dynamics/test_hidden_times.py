"""In the dynamics world, a scorer that keeps the last velocity is right after some hidden times and wrong after others."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import numpy as np
import pytest

from data_prep.physics.job_plan import SUITE_SIZES, suite_jobs
from data_prep.physics.quadruplets import Quadruplet
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.dynamics.properties import PROPERTIES
from eval.voe.leak_baselines import last_velocity_kept
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET, quadruplet_scores

VIDEO = VideoFormat(32, 24, 12.0)
BEHIND_A_SCREEN = {it.name: it for it in PROPERTIES if it.name not in ("delay", "queue")}


@cache
def sampled(name: str) -> tuple[Quadruplet, ...]:
    """A quadruplet of every template."""
    property_ = BEHIND_A_SCREEN[name]
    sample = WORLDS["dynamics"].sample_quadruplet
    return tuple(sample(property_, template, VIDEO, 1, "hidden times", name) for template in property_.templates)


def last_velocity_scores(name: str) -> dict[str, list[tuple[float, float]]]:
    """By hidden time: percent of the pairs, and 100 where the sum of the impossible videos is the larger one (50: a tie)."""
    found = defaultdict(list)
    for quadruplet in sampled(name):
        truths = [quadruplet.videos[pair].ground_truth() for pair in QUADRUPLET]
        surprise = np.array([last_velocity_kept(truth, quadruplet.occlusion, 1) for truth in truths])
        excess = round(surprise[2:].sum() - surprise[:2].sum(), 5)
        hidden = quadruplet.template.removesuffix("_quarters").rpartition("_")[2]
        found[hidden].append((100 * quadruplet_scores(surprise[None]).item(), 50.0 * (1 + np.sign(excess))))
    return found


@pytest.mark.parametrize("name", BEHIND_A_SCREEN)
def test_keeping_the_last_velocity_is_at_one_half_exactly_over_all_hidden_times(name):
    scores = [score for some in last_velocity_scores(name).values() for score in some]
    assert np.mean(scores, axis=0).tolist() == [50.0, 50.0]


@pytest.mark.parametrize("name", BEHIND_A_SCREEN)
def test_keeping_the_last_velocity_is_far_from_one_half_after_one_hidden_time_alone(name):
    short, long = (last_velocity_scores(name)[hidden][0] for hidden in (("2", "4") if name == "pace" else ("3", "5")))
    expected = {"impact": ((25.0, 0.0), (75.0, 100.0)), "pace": ((100.0, 100.0), (0.0, 0.0))}  # pace exchanges the two
    assert (short, long) == expected.get(name, ((0.0, 0.0), (100.0, 100.0)))


@pytest.mark.parametrize("name", BEHIND_A_SCREEN)
def test_the_outcome_is_seen_for_equally_long_after_every_hidden_time(name):
    assert {quadruplet.occlusion[1] for quadruplet in sampled(name)} == {20}
    assert len({quadruplet.occlusion[0] for quadruplet in sampled(name)}) == (4 if name == "impact" else 2)


@pytest.mark.parametrize("name", BEHIND_A_SCREEN)
def test_the_oracle_finds_a_violation_after_every_hidden_time(name):
    for quadruplet in sampled(name):
        found = [len(violations(quadruplet.videos[pair].ground_truth(), VIDEO.fps)) for pair in QUADRUPLET]
        assert found[:2] == [0, 0], quadruplet.template
        assert min(found[2:]) > 0, quadruplet.template


@pytest.mark.parametrize("name", BEHIND_A_SCREEN)
def test_every_level_of_a_suite_has_the_same_number_of_quadruplets_of_each_hidden_time(name):
    templates = BEHIND_A_SCREEN[name].templates
    counts: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for job in suite_jobs(SUITE_SIZES["mini"], (name,), 0, "dynamics"):
        hidden = templates[job.template].name.removesuffix("_quarters").rpartition("_")[2]
        counts[job.split, job.level][hidden] += 1
    assert len(counts) == 4
    for count in counts.values():
        assert len(set(count.values())) == 1
        assert len(count) == (4 if name == "impact" else 2)


def test_possible_videos_show_both_hidden_times():
    frames_behind_the_first_screen = set()
    for index in range(60):
        scenario, rendered = WORLDS["dynamics"].sample_possible_video(VideoFormat(16, 24, 12.0), "both", index, levels=(1,))
        if scenario in ("direction", "acceleration", "crossing"):
            covered = (rendered.segmentation == 255).any((1, 2))
            frames_behind_the_first_screen.add(int(np.argmin(covered)))
        if len(frames_behind_the_first_screen) == 2:
            break
    assert frames_behind_the_first_screen == {2, 6}  # 5 and 3 quarters of 2 frames hidden later, the outcome from frame 20
