"""The packet index of a manifest: made by two commands, found by training, and counted where it cannot be used."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from data_prep.__main__ import main
from data_prep.commands import index
from data_prep.parallel.workers import LocalWorkers
from worldmodel.data.loader import DataConfig, WindowDataset, training_batches
from worldmodel.data.window_config import WindowConfig
from worldmodel.video.packet_index.index_file import PacketIndex, packet_index_path


@pytest.fixture
def manifest(tmp_path: Path, video_folder, make_video, numbered) -> Path:
    """Three videos in MP4 and one in Matroska, with an index of packets."""
    folder = video_folder(3)
    make_video(folder / "x.mkv", numbered(12), g=6)
    out = tmp_path / "m.parquet"
    assert main(["index", str(folder), "--out", str(out), "--workers", "1", "--packets"]) == 0
    return out


def read(manifest: Path, stride_frames: int | None = None) -> tuple[torch.Tensor, int]:
    """Frames of 16 windows, and how many of them were read through the container."""
    windows = WindowConfig(frames=4, fps=10, size_px=32, stride_frames=stride_frames)
    dataset = WindowDataset(DataConfig(manifest=str(manifest), batch_size=16, workers=0), windows, "train", 0, 32)
    (batch,) = next(training_batches(dataset, 0, 1))
    return batch.frames, batch.through_container


@pytest.mark.parametrize("stride_frames", [None, 2])
def test_training_reads_by_the_index_that_lies_beside_the_manifest(manifest: Path, stride_frames):
    index = packet_index_path(manifest)
    assert len(PacketIndex(index)) == 3
    found, through_container = read(manifest, stride_frames)
    assert 0 < through_container < 8  # windows of the Matroska file, one of four
    index.unlink()
    expected, without = read(manifest, stride_frames)
    assert torch.equal(found, expected)
    assert without == 0


def test_after_files_have_changed_the_index_is_not_used_until_it_is_made_again(manifest: Path, capsys):
    expected, before = read(manifest)
    for path in (manifest.parent / "videos").glob("*.mp4"):
        os.utime(path, ns=(0, 10**9))
    found, through_container = read(manifest)
    assert through_container == len(found)
    assert torch.equal(found, expected)
    assert main(["packets", str(manifest), "--workers", "1"]) == 0
    assert "3 of 4 videos" in (said := capsys.readouterr().out)
    assert "1: the container is matroska, not MP4" in said
    assert read(manifest)[1] == before


def test_a_foreign_file_is_not_overwritten(manifest: Path, capsys):
    packet_index_path(manifest).write_text("mine")
    assert main(["packets", str(manifest), "--workers", "1"]) == 1
    assert packet_index_path(manifest).read_text() == "mine"
    assert "was not written by this command" in capsys.readouterr().err
    assert main(["packets", str(manifest.parent / "none.parquet")]) == 1


@pytest.mark.parametrize(
    ("options", "processes"), [(("--ray", "auto", "--workers", "500"), 3), (("--ray", "auto"), 3), (("--workers", "5"), 5)]
)
def test_workers_of_a_cluster_are_not_started_on_this_machine(tmp_path, video_folder, monkeypatch, options, processes):
    asked = []
    monkeypatch.setattr(index, "usable_cores", lambda: 3)
    monkeypatch.setattr(index, "open_workers", lambda *_: nullcontext(LocalWorkers(1)))
    monkeypatch.setattr(index, "index_packets", lambda _out, workers, _timeout_s: asked.append(workers) or [])
    assert main(["index", str(video_folder(1)), "--out", str(tmp_path / "m.parquet"), "--packets", *options]) == 0
    assert asked == [processes]
