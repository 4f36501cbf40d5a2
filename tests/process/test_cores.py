"""Processors that a process may use: limited by its affinity and its control groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel.process import cores
from worldmodel.process.cores import cgroup_limit, usable_cores

PRINT_CORES = "from worldmodel.process.cores import usable_cores; print(usable_cores(), usable_cores(physical=True))"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_a_process_bound_to_one_processor_has_one():
    first = min(os.sched_getaffinity(0))
    bound = {"preexec_fn": lambda: os.sched_setaffinity(0, {first})}
    done = subprocess.run([sys.executable, "-c", PRINT_CORES], capture_output=True, text=True, check=True, **bound)
    assert done.stdout.split() == ["1", "1"]


def group(folder: Path, line: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write the file that names the control group of a process, and files of the kernel below a root."""
    own, root = folder / "cgroup", folder / "fs"
    own.write_text(line)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return own, root


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 16)


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        ("0::/", {"cpu.max": "250000 100000"}, 2.5),
        ("0::/", {"cpu.max": "max 100000"}, 16),
        ("0::/", {}, 16),
        ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "max 100000"}, 3),
        ("0::/job/step", {"job/cpu.max": "300000 100000", "job/step/cpu.max": "50000 100000"}, 0.5),
        ("0::/not/visible/here", {"cpu.max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/c\n0::/",
            {"cpu,cpuacct/c/cpu.cfs_quota_us": "200000", "cpu,cpuacct/c/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("4:cpu:/c", {"cpu/c/cpu.cfs_quota_us": "-1", "cpu/c/cpu.cfs_period_us": "100000"}, 16),
        ("3:memory:/c", {"cpu.max": "100000 100000"}, 16),
        ("rubbish", {"cpu.max": "rubbish"}, 16),
    ],
)
def test_the_smallest_limit_of_the_control_groups_applies(tmp_path: Path, line: str, files: dict[str, str], limit: float):
    assert cgroup_limit(*group(tmp_path, line, files)) == limit


def test_a_limit_below_one_processor_gives_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 0.5)
    assert usable_cores() == 1


@pytest.mark.parametrize(("of_the_launcher", "each"), [(16, 8), (8, 2)], ids=["bound to processors of its own", "shared"])
def test_processes_share_processors_unless_the_launcher_has_bound_each_to_its_own(
    monkeypatch: pytest.MonkeyPatch, of_the_launcher: int, each: int
):
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 1000.0)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores.psutil.Process, "cpu_affinity", lambda _: list(range(of_the_launcher)), raising=False)
    assert usable_cores(processes=4) == each
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 8.0)
    assert usable_cores(processes=4) == 2


def test_two_threads_of_one_core_are_one_physical_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for number in range(4):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 2},{number % 2 + 2}")
    monkeypatch.setattr(cores, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 16.0)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores.psutil, "cpu_count", lambda logical: 8)
    assert (usable_cores(), usable_cores(physical=True)) == (4, 2)


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_a_users_choice_of_how_threads_wait_is_kept(monkeypatch, own):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    cores.let_waiting_threads_sleep()
    chosen = {name: os.environ[name] for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    assert chosen == (own or {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"})
