"""A window that cannot be read is replaced by others until one reads, the same ones however the run is cut."""

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
from worldmodel.data.batch import most_substitutes
from worldmodel.data.loader import Batch, DataError, Windows, held_out, updates


def damaged(manifest: Path, *numbers: int) -> None:
    for number in numbers:
        (manifest.parent / "clips" / f"{number:03d}.mp4").write_bytes(b"no video")


def joined(windows: Windows, first: int, last: int, micros: int = 1, ranks: int = 1) -> tuple[torch.Tensor, list[str]]:
    """Frames of the global batches, and the bad clips."""
    frames, bad = [], []
    streams = [updates(windows, first, last, rank=rank, ranks=ranks, micros=micros) for rank in range(ranks)]
    for parts in zip(*streams, strict=True):
        batches: list[Batch] = [batch for part in parts for batch in part]
        frames += [batch.frames for batch in batches]
        bad += [clip.path for batch in batches for clip in batch.bad]
    return torch.cat(frames), bad


def test_substitutes_do_not_depend_on_workers_ranks_micro_batches_or_restarts(clips: Path):
    damaged(clips, *range(0, 12, 2))
    windows = windows_of(clips, max_failed_fraction=0.9)
    frames, bad = joined(windows, 0, 6)
    assert len(bad) > 6
    for other in (
        joined(windows_of(clips, max_failed_fraction=0.9, workers=2), 0, 6),
        joined(windows, 0, 6, micros=2),
        joined(windows, 0, 6, ranks=2),
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
def test_data_that_is_all_bad_ends_with_a_message(clips: Path, workers: int):
    damaged(clips, *range(12))
    began = time.monotonic()
    with pytest.raises(DataError, match=r"101 windows in a row could not be read"):
        next(updates(windows_of(clips, workers=workers), 0, 1))
    assert time.monotonic() - began < 20


def test_at_the_allowed_share_a_good_window_is_found_before_the_bound():
    for share in (0.05, 0.1, 0.5, 0.9, 0.97):
        assert share ** most_substitutes(share) <= 1e-12
    assert most_substitutes(0) == 100
    assert most_substitutes(1) == 1000


def test_substitutes_are_not_drawn_where_every_window_reads(clips: Path, monkeypatch):
    windows = windows_of(clips)
    monkeypatch.setattr(windows, "substitutes", lambda _sample: pytest.fail("drawn"))
    assert len(list(updates(windows, 0, 3))) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_vanishes_for_a_while_changes_no_sample(clips: Path, workers: int):
    expected, _ = joined(windows_of(clips), 0, 8)
    said: list[str] = []
    gone = clips.parent.with_name("gone")
    windows = windows_of(clips, workers=workers, prefetch=1, worker_timeout_s=4.0)
    stream = updates(windows, 0, 8, say=said.append)
    first = next(stream)
    clips.parent.rename(gone)
    timer = threading.Timer(5.5, lambda: gone.rename(clips.parent))
    timer.start()
    batches = [*first, *(batch for (batch,) in stream)]
    timer.join()
    assert torch.equal(expected, torch.cat([batch.frames for batch in batches]))
    assert not any(batch.bad for batch in batches)
    assert len(said) == 2, said
    assert f"{clips.parent} is missing" in said[0]
    assert "can be read again" in said[1]


def test_a_folder_that_stays_away_ends_with_what_vanished_and_how_long_was_waited(clips: Path):
    windows = windows_of(clips, storage_wait_s=1.5)
    stream = updates(windows, 0, 8, say=lambda _text: None)
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(DataError, match=r"clips is missing.*waited 1.5 s.*the same command resumes from the last checkpoint"):
        list(stream)


def test_a_missing_folder_of_few_clips_is_no_vanished_storage(clips: Path):
    """One folder for each video: its clip is replaced, nothing is waited for."""
    manifest = clips.parent / "m.parquet"
    windows = windows_of(manifest)
    assert windows.holds_much(str(clips.parent))
    assert not windows.holds_much(str(clips.parent / "clips" / "000"))


def test_a_signal_while_storage_is_waited_for_ends_the_stream_early(clips: Path):
    stop: list[int] = []
    stream = updates(windows_of(clips), 0, 8, say=stop.append, stopped=lambda: bool(stop))
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    assert list(stream) == []


def test_with_other_ranks_a_signal_while_storage_is_waited_for_interrupts(clips: Path):
    stop: list[int] = []
    stream = updates(windows_of(clips), 0, 8, ranks=2, say=stop.append, stopped=lambda: bool(stop))
    next(stream)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(KeyboardInterrupt):
        list(stream)


def test_what_the_machine_lacks_ends_the_run_and_is_named(clips: Path, monkeypatch):
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(reading, "read_square", full)
    with pytest.raises(DataError, match=r"Too many open files.*not a damaged clip"):
        list(islice(updates(windows_of(clips), 0, 1), 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_waits_for_storage_before_it_reads_the_held_out_windows(clips: Path, workers: int):
    expected = held_out(windows_of(clips), 4)
    windows, gone = windows_of(clips, workers=workers), clips.parent.with_name("gone")
    clips.parent.rename(gone)
    timer = threading.Timer(1.5, lambda: gone.rename(clips.parent))
    timer.start()
    read = held_out(windows, 4, resumes=True)
    timer.join()
    assert torch.equal(read.frames, expected.frames)
    assert read.bad == ()


def test_a_training_that_begins_does_not_wait_for_a_folder_that_is_missing(clips: Path):
    windows = windows_of(clips)
    shutil.rmtree(clips.parent / "clips")
    with pytest.raises(DataError, match="clips is missing, empty or not readable by this user"):
        held_out(windows, 4)


def test_windows_are_freed_although_they_were_asked_what_a_folder_holds(clips: Path):
    windows = windows_of(clips)
    windows.holds_much(str(clips.parent))
    source = weakref.ref(windows.sources[0])
    del windows
    gc.collect()
    assert source() is None
