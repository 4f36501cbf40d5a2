"""Isolation of every test from the machine it runs on, and small videos made with PyAV.

The frames of these videos carry their number in black and white, so that a test can identify each frame.
"""

from __future__ import annotations

import itertools
import multiprocessing.resource_tracker
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import launch
import numpy as np
import pytest
from run_monitor import RunMonitor

from worldmodel.process.cores import let_waiting_threads_sleep

let_waiting_threads_sleep()  # several pytest workers share the cores; before a test imports torch
ROOT = Path(__file__).resolve().parents[1]
BITS = 8
HOMES = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")  # the last three are Windows'
XDG = ("CACHE", "CONFIG", "DATA", "STATE")
# Caches of other packages. They are slow to fill and no test depends on what they hold, so one session shares them.
SHARED_CACHES = {"MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


# A shell that runs pytest with `&` or nohup ignores these signals, and child processes would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-call", action="store_true", help="tests/faults: let each call of each command fail (an hour)")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that prints
        config.pluginmanager.register(RunMonitor(config), "run monitor")


def _isolate(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Enter an empty working directory. Home, caches and temporary files of this process and its children are there."""
    work, home, temporary = (folder / name for name in ("work", "home", "tmp"))
    for new in (work, home, temporary):
        new.mkdir(parents=True)
    for name in HOMES:
        patch.setenv(name, str(home))
    for name in XDG:
        patch.setenv(f"XDG_{name}_HOME", str(home / f".{name.lower()}"))
    for name in ("TMPDIR", "TEMP", "TMP"):
        patch.setenv(name, str(temporary))
    patch.setattr(tempfile, "tempdir", str(temporary))
    patch.chdir(work)


@pytest.fixture(scope="session", autouse=True)
def isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Isolate the fixtures that outlive one test, and return the folder in which each test gets one of its own."""
    tmp_path_factory.getbasetemp()  # pytest chooses its own folder before TMPDIR changes
    # not below pytest's folder: a Unix socket's path has at most 104 characters on macOS
    folder = Path(tempfile.mkdtemp(prefix="wm")).resolve()
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in SHARED_CACHES.items():
            patch.setenv(variable, str(folder / name))
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # children find the packages from any directory
        _isolate(patch, folder / "s")
        multiprocessing.resource_tracker.ensure_running()  # else a test starts it, and it ends with the test
        patch.setenv(launch.MARK, folder.name)
        yield folder
        launch.kill_marked(folder.name)
    shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count()


def _scheduling_policy() -> int:
    """Of the main thread. A real-time policy passes to child processes, and those can keep others from every processor."""
    return os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0


@pytest.fixture(autouse=True)
def isolated(isolated_session: Path) -> Iterator[None]:
    """Isolate one test from files of other tests, of the user and of the demo. No process outlives its test."""
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, isolated_session / str(next(_numbers)))
        patch.setenv(launch.MARK, mark := f"{isolated_session.name}-{next(_numbers)}")
        before = _scheduling_policy()
        yield
        launch.kill_marked(mark)
        assert _scheduling_policy() == before, "the test changed the scheduling policy of the process"


def _numbered(count: int, height: int = 48, width: int = 64, first: int = 0) -> np.ndarray:
    """uint8 [count, height, width, 3]: the top half holds the number, bit by bit; the bottom half a drifting ramp."""
    y, x = np.mgrid[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        number = first + index
        bits = (number >> (x * BITS // width)) & 1
        ramp = (4 * x + 3 * y + 5 * number) % 256
        frame[:] = np.where(y < height // 2, 40 + 180 * bits, ramp)[..., None]
        frame[..., 2] = frame[..., 2] // 2
    return frames


def _number_of(frame: np.ndarray) -> int:
    """The number that a frame carries, also after lossy coding or resizing."""
    height, width = frame.shape[:2]
    row = frame[height // 4, :, 0].astype(int)
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum(int(row[centre] > 130) << bit for bit, centre in enumerate(centres))


def _make_video(
    path: Path,
    frames: np.ndarray,
    fps: float = 10.0,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    clock_hz: int | None = None,
    rotation: int = 0,
    **options: Any,
) -> Path:
    """Write frames [T, H, W, 3]; `ticks` in 1/clock_hz s make the rate variable. Options are the encoder's (g, bf)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = _scheduling_policy()
    with av.open(str(path), "w") as out:
        named = {name: str(value) for name, value in options.items()}
        stream = out.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=named)
        stream.pix_fmt, (stream.height, stream.width) = pix_fmt, frames.shape[1:3]
        clock = Fraction(1, clock_hz) if clock_hz else 1 / Fraction(fps).limit_denominator(1001)
        stream.codec_context.time_base = clock
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = (ticks[index] if ticks is not None else index), clock
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if _scheduling_policy() != before:  # the SVT-AV1 encoder makes the thread that calls it a real-time one, where it may
        os.sched_setscheduler(0, before, os.sched_param(0))
    return path


@pytest.fixture
def numbered() -> Callable[..., np.ndarray]:
    return _numbered


@pytest.fixture
def number_of() -> Callable[[np.ndarray], int]:
    return _number_of


@pytest.fixture
def make_video() -> Callable[..., Path]:
    return _make_video


@pytest.fixture
def video_folder(tmp_path: Path) -> Callable[[int], Path]:
    """folder(count): a new folder with `count` different videos of 12 frames, 1.2 s, named 000.mp4, 001.mp4, ..."""

    def folder(count: int) -> Path:
        for index in range(count):
            _make_video(tmp_path / "videos" / f"{index:03d}.mp4", _numbered(12, first=index), g=6)
        return tmp_path / "videos"

    return folder
