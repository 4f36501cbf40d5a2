"""A window that cannot be read is replaced by others, the same ones however the run is split into ranks and steps."""

import errno
import gc
import shutil
import threading
import time
import weakref
from itertools import islice
from pathlib import Path

import pytest
import torch
from made_clips import windows_of

from worldmodel.data import reading
from worldmodel.data.batch import max_replacements
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.loader import Batch, DataError, WindowDataset, begin_fixed_batch, read_fixed_batch, training_batches


def damaged(manifest: Path, *numbers: int) -> None:
    for number in numbers:
        (manifest.parent / "clips" / f"{number:03d}.mp4").write_bytes(b"no video")


def joined(
    windows: WindowDataset, first: int, last: int, micro_batches: int = 1, world_size: int = 1
) -> tuple[torch.Tensor, list[str]]:
    """Frames of the global batches, and the bad clips."""
    frames, bad = [], []
    streams = [
        training_batches(windows, first, last, rank=rank, world_size=world_size, micro_batches=micro_batches)
        for rank in range(world_size)
    ]
    for parts in zip(*streams, strict=True):
        batches: list[Batch] = [batch for part in parts for batch in part]
        frames += [batch.frames for batch in batches]
        bad += [clip.path for batch in batches for clip in batch.bad]
    return torch.cat(frames), bad


def test_replacements_do_not_depend_on_workers_ranks_micro_batches_or_restarts(clips: Path):
    damaged(clips, *range(0, 12, 2))
    windows = windows_of(clips, max_failed_fraction=0.9)
    frames, bad = joined(windows, 0, 6)
    assert len(bad) > 6
    for other in (
        joined(windows_of(clips, max_failed_fraction=0.9, workers=2), 0, 6),
        joined(windows, 0, 6, micro_batches=2),
        joined(windows, 0, 6, world_size=2),
    ):
        assert torch.equal(frames, other[0])
        assert bad == other[1]
    half, later = joined(windows, 0, 3), joined(windows, 3, 6)
    assert torch.equal(frames, torch.cat([half[0], later[0]]))


@pytest.mark.parametrize("workers", [0, 1])
def test_one_good_video_among_many_bad_ones_is_found(clips: Path, workers: int):
    damaged(clips, *range(1, 12))
    windows = windows_of(clips, workers=workers, max_failed_fraction=1)
    frames, bad = joined(windows, 0, 2)
    assert len(frames) == 8
    assert len(bad) > 16
    assert all(path.endswith(".mp4") and not path.endswith("000.mp4") for path in bad)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_of_which_nothing_can_be_read_ends_with_a_message(clips: Path, workers: int):
    damaged(clips, *range(12))
    began = time.monotonic()
    with pytest.raises(DataError, match=r"101 windows in a row could not be read"):
        next(training_batches(windows_of(clips, workers=workers), 0, 1))
    assert time.monotonic() - began < 20


def test_at_the_allowed_fraction_a_readable_window_is_found_before_the_limit():
    for fraction in (0.05, 0.1, 0.5, 0.9, 0.97):
        assert fraction ** max_replacements(fraction) <= 1e-12
    assert max_replacements(0) == 100
    assert max_replacements(1) == 1000


def test_no_replacement_is_drawn_if_every_window_can_be_read(clips: Path, monkeypatch):
    windows = windows_of(clips)
    monkeypatch.setattr(windows, "replacements", lambda _sample: pytest.fail("drawn"))
    assert len(list(training_batches(windows, 0, 3))) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_is_missing_for_a_while_changes_no_sample(clips: Path, workers: int):
    expected, _ = joined(windows_of(clips), 0, 8)
    reports: list[str] = []
    gone = clips.parent.with_name("gone")
    windows = windows_of(clips, workers=workers, prefetch=1, worker_timeout_s=4.0)
    stream = training_batches(windows, 0, 8, report=reports.append)
    first = next(stream)
    clips.parent.rename(gone)
    timer = threading.Timer(5.5, lambda: gone.rename(clips.parent))
    timer.start()
    batches = [*first, *(batch for (batch,) in stream)]
    timer.join()
    assert torch.equal(expected, torch.cat([batch.frames for batch in batches]))
    assert not any(batch.bad for batch in batches)
    assert len(reports) == 2, reports
    assert f"{clips.parent} is missing" in reports[0]
    assert "can be read again" in reports[1]


def test_a_folder_that_stays_missing_ends_the_run_with_its_name_and_the_waiting_time(clips: Path):
    windows = windows_of(clips, storage_wait_s=1.5)
    stream = training_batches(windows, 0, 8, report=lambda _text: None)
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(DataError, match=r"clips is missing.*waited 1.5 s.*the same command resumes from the last checkpoint"):
        list(stream)


def test_a_missing_folder_of_few_clips_is_not_waited_for(clips: Path):
    """One folder per video: its clip is replaced without waiting."""
    manifest = clips.parent / "m.parquet"
    windows = windows_of(manifest)
    assert windows.is_essential(str(clips.parent))
    assert not windows.is_essential(str(clips.parent / "clips" / "000"))


def test_a_signal_while_waiting_for_storage_ends_the_iteration_early(clips: Path):
    stop: list[int] = []
    stream = training_batches(windows_of(clips), 0, 8, report=stop.append, stop_requested=lambda: bool(stop))
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    assert list(stream) == []


def test_with_other_ranks_a_signal_while_waiting_for_storage_interrupts(clips: Path):
    stop: list[int] = []
    stream = training_batches(windows_of(clips), 0, 8, world_size=2, report=stop.append, stop_requested=lambda: bool(stop))
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(KeyboardInterrupt):
        list(stream)


def test_a_missing_resource_of_the_machine_ends_the_run_and_is_named(clips: Path, monkeypatch):
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(reading, "read_square_frames", full)
    with pytest.raises(DataError, match=r"Too many open files.*not a damaged clip"):
        list(islice(training_batches(windows_of(clips), 0, 1), 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_waits_for_storage_before_it_reads_the_held_out_windows(clips: Path, workers: int):
    expected = read_fixed_batch(windows_of(clips), 4)
    windows, gone = windows_of(clips, workers=workers), clips.parent.with_name("gone")
    clips.parent.rename(gone)
    timer = threading.Timer(1.5, lambda: gone.rename(clips.parent))
    timer.start()
    with BatchReader(windows.config.workers) as reader:
        read = begin_fixed_batch(windows, 4, reader, wait_for_storage=True)()
    timer.join()
    assert torch.equal(read.frames, expected.frames)
    assert read.bad == ()


def test_the_start_of_a_training_does_not_wait_for_a_missing_folder(clips: Path):
    windows = windows_of(clips)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(DataError, match="clips is missing, empty or not readable by this user"):
        read_fixed_batch(windows, 4)


def test_a_data_set_is_freed_after_a_query_about_a_folder(clips: Path):
    windows = windows_of(clips)
    windows.is_essential(str(clips.parent))
    source = weakref.ref(windows.sources[0])
    del windows
    gc.collect()
    assert source() is None
