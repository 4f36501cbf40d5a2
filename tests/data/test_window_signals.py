"""Actions and states of windows: those of exactly the sampled frames, by every reader; and clips without them."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from made_clips import FPS, FRAMES, SIZE_PX, windows_of

from worldmodel.data import reading
from worldmodel.data.loader import WindowDataset, open_windows, read_fixed_batch, training_batches
from worldmodel.data.reading import ReadFailure, ReadRequest, SignalRequest, SignalSizes, frame_times_s, read_with_signals
from worldmodel.data.window_config import WindowConfig
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.signals import Channel, SignalError, Signals, read_signals, write_signals

SIZES = SignalSizes(actions_per_step=2, action=1, state=2)
STEP_S = 1 / FPS / 2  # two actions per frame


@pytest.fixture
def manifest(clips: Path) -> Path:
    """12 clips whose action is the number of the clip, and a hundredth for every row; the state is clip and time."""
    return with_signals(clips)


def with_signals(path: Path, broken: tuple[int, ...] = ()) -> Path:
    manifest, rows = Manifest.open(path), 2 * FRAMES
    made = []
    for number in range(len(manifest)):
        table = path.parent / f"{number}.parquet"
        time_s = np.arange(rows) * STEP_S
        actions = number + np.arange(rows)[:, None] / 100
        actions[5:] += np.nan if number in broken else 0
        states = np.stack([np.full(rows, number), time_s], 1)
        write_signals(
            table, Signals(str(table), time_s, actions, states, Channel(("a",), ("",)), Channel(("n", "t"), ("", "s")))
        )
        clip = manifest.clip(number)
        made.append(replace(clip, signals=None if number == 11 and broken else str(table)))
    write_manifest(path.parent / "s.parquet", made, command="test", config={})
    return path.parent / "s.parquet"


def with_actions(manifest: Path, window: WindowConfig, **config: object) -> WindowDataset:
    plain = windows_of(manifest, **config)
    return WindowDataset(plain.config, window, "train", 0, SIZE_PX, SIZES)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stride", [None, 1])
def test_a_window_has_all_actions_between_its_frames_and_the_states_at_them(manifest: Path, workers: int, stride: int | None):
    window = WindowConfig(frames=4, fps=FPS, size_px=SIZE_PX, stride_frames=stride)
    windows = with_actions(manifest, window, workers=workers)
    (batch,) = next(training_batches(windows, 0, 1))
    samples = windows.samples(np.arange(4))
    for row, sample in enumerate(samples):
        number = int(Path(sample.window.path).stem)
        times = frame_times_s(sample.window.times_s, sample.window.indices, FPS)
        first = round(times[0] / STEP_S)
        assert batch.states[row, :, 0].tolist() == [number] * 4
        assert batch.states[row, :, 1].tolist() == pytest.approx(times)
        assert batch.actions[row].flatten().tolist() == pytest.approx([number + (first + i) / 100 for i in range(6)], rel=1e-5)
    assert batch.actions.shape == (4, 3, 2)


def test_frames_and_their_order_are_those_without_actions(manifest: Path):
    window = WindowConfig(frames=8, fps=FPS, size_px=SIZE_PX)
    (plain,) = next(training_batches(windows_of(manifest), 0, 1))
    (acting,) = next(training_batches(with_actions(manifest, window), 0, 1))
    assert torch.equal(plain.frames, acting.frames)
    assert torch.equal(plain.uniforms, acting.uniforms)
    assert plain.actions is plain.states is None


def test_held_out_batches_have_the_actions_of_all_their_windows(manifest: Path):
    windows = with_actions(manifest, WindowConfig(frames=4, fps=FPS, size_px=SIZE_PX))
    batch = read_fixed_batch(windows, 10)
    assert (batch.actions.shape, batch.states.shape) == ((10, 3, 2), (10, 4, 2))


def test_a_clip_whose_signals_cannot_be_used_is_named_and_replaced(clips: Path):
    windows = with_actions(
        with_signals(clips, (0, 3)), WindowConfig(frames=8, fps=FPS, size_px=SIZE_PX), max_failed_fraction=0.9
    )
    batches = [batch for step in training_batches(windows, 0, 3) for batch in step]
    reasons = {Path(clip.path).stem: clip.reason for batch in batches for clip in batch.bad}
    assert reasons.keys() == {"000", "003", "011"}
    assert "action a is nan" in reasons["000"]
    assert reasons["011"] == "SignalError: : the clip has no signals in the manifest"
    assert all(torch.isfinite(batch.actions).all() for batch in batches)


def failure_of(clip: Clip, monkeypatch: pytest.MonkeyPatch, number: int) -> ReadFailure:
    """The failure where tables of signals cannot be opened because of this error; videos can."""

    def fail(*_args: object, **_options: object) -> None:
        raise OSError(number, "no answer")

    monkeypatch.setattr(pq, "ParquetFile", fail)
    monkeypatch.setattr(reading, "RETRY_S", 0.0)
    signals = SignalRequest(clip.signals, (0.0, 0.1), SIZES)
    found = read_with_signals(ReadRequest(clip.path, None, (0.0, 0.1), None, None, FPS, SIZE_PX, 0.5, "pyav", signals))
    assert isinstance(found, ReadFailure)
    return found


def test_errors_of_storage_and_machine_do_not_make_a_clip_with_signals_a_bad_one(manifest: Path, monkeypatch):
    clip = Manifest.open(manifest).clip(0)
    assert failure_of(clip, monkeypatch, errno.EMFILE).kind == "machine"
    assert failure_of(clip, monkeypatch, errno.EIO).kind == "clip"  # its folder answers

    def silent(_folder: str) -> bool:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(reading, "_is_empty", silent)
    found = failure_of(clip, monkeypatch, errno.ESTALE)
    assert (found.kind, found.folder) == ("storage", str(manifest.parent))


def test_the_time_of_a_frame_is_when_it_begins():
    assert frame_times_s((0.07, 0.17), None, 10) == pytest.approx((0.0, 0.1))
    assert frame_times_s(None, (3, 6), 30) == pytest.approx((0.1, 0.2))


def test_windows_of_a_recipe_without_actions_have_none(manifest: Path):
    assert windows_of(manifest).signals is None
    assert open_windows.__defaults__ == (None,)


def test_state_differences_take_the_place_of_actions_that_were_not_recorded(manifest: Path):
    """The state is the number of the clip and the time, so it changes by 0 and the time between two frames."""
    path = Path(Manifest.open(manifest).clip(3).signals)
    signals = read_signals(path)
    write_signals(path, replace(signals, actions=np.full_like(signals.actions, np.nan)))
    found = reading.read_window_signals(SignalRequest(str(path), (0.0, 0.25, 0.75), SignalSizes(1, 2, 2, differences=True)))
    np.testing.assert_allclose(found.actions, [[[0, 0.25]], [[0, 0.5]]])
    np.testing.assert_allclose(found.states, [[3, 0], [3, 0.25], [3, 0.75]])
    with pytest.raises(SignalError, match="states of 2 numbers; this run has 3"):
        reading.read_window_signals(SignalRequest(str(path), (0.0, 0.25), SignalSizes(1, 3, 3, differences=True)))
    with pytest.raises(SignalError, match="state differences of 2 numbers; the statistics of this run are of 1 x 1"):
        reading.read_window_signals(SignalRequest(str(path), (0.0, 0.25), SignalSizes(1, 1, 2, differences=True)))
