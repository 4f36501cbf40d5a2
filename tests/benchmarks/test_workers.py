"""The benchmark of data workers runs to its end in miniature."""

from pathlib import Path

import pytest

from benchmarks import startup
from benchmarks.workers import Workload, measure
from worldmodel.data.window_config import WindowConfig


def test_every_cost_of_a_worker_is_measured(tmp_path: Path):
    workload = Workload("small", 48, 32, WindowConfig(frames=4, fps=12, size_px=32), reads=64)
    (found,) = measure(workload, tmp_path, 1)
    assert found.read_frames_ms > 0
    assert found.main_ms > 0
    assert found.speedup > 0


@pytest.mark.slow
@pytest.mark.parametrize("by_launcher", [False, True])
def test_the_parts_of_a_start_add_up_to_its_time(tmp_path: Path, by_launcher: bool):
    start = startup._start(startup.ROOT, by_launcher, startup._make_videos(tmp_path), tmp_path)
    assert set(start["parts_cpu_s"]) <= set(startup.PARTS)
    assert sum(start["parts_cpu_s"].values()) + start["workers_cpu_s"] == pytest.approx(start["cpu_s"])
    assert sum(start["parts_wall_s"].values()) == pytest.approx(start["wall_s"])
    assert start["parts_cpu_s"]["first step"] > 0
    assert (start["parts_wall_s"].get("launcher", 0.0) > 0) == by_launcher
