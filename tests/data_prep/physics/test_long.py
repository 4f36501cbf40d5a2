"""Slow tests: those that need many videos, or a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from data_prep.__main__ import main
from data_prep.physics.job_plan import SuiteSize, suite_jobs
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.builtin.properties import PROPERTIES
from data_prep.physics.worlds.builtin.quadruplets import sample_quadruplet
from eval.voe.leak_baselines import WHOLE_VIDEO
from eval.voe.oracle import violations
from eval.voe.pairs import QUADRUPLET, quadruplet_scores

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda property_: property_.name)
def test_context_free_baselines_stay_near_one_half_and_the_oracle_at_one(property_):
    surprise, oracle = {name: [] for name in WHOLE_VIDEO}, []
    for job in suite_jobs(SuiteSize(32, 4, 0, 0, (1, 2), 64, 24, 0), (property_.name,), 7):
        quadruplet = sample_quadruplet(property_, property_.templates[job.template], VideoFormat(), job.level, *job.key())
        oracle.append([len(violations(quadruplet.videos[video].ground_truth(), 12.0)) for video in QUADRUPLET])
        if quadruplet.splice is not None:
            for name, score in WHOLE_VIDEO.items():
                surprise[name].append([score(quadruplet.videos[video].frames) for video in QUADRUPLET])
    assert (quadruplet_scores(np.array(oracle, float)) == 1.0).all()
    for name, values in surprise.items():
        scores = quadruplet_scores(np.array(values))
        assert np.ptp(scores) == 0 or ttest_1samp(scores, 0.5).pvalue > 0.001, (name, scores.mean())
        assert abs(scores.mean() - 0.5) < 0.1, (name, scores.mean())


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path):
    options = ["--train", "40", "--size-px", "32", "--workers", "1"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-m", "data_prep", "synthesize", str(killed), *options], stderr=subprocess.DEVNULL
    )
    while len(list(killed.rglob("*.mp4"))) < 5 and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "train.parquet").exists()
    assert main(["synthesize", str(killed), *options]) == 0
    assert main(["synthesize", str(whole), *options]) == 0
    assert contents(killed) == contents(whole)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.suffix in (".mp4", ".npz")}
