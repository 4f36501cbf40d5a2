"""One reader for the held-out windows and the training windows, and what it reads."""

import hashlib
import os
import sys
from pathlib import Path

import psutil
import pytest
import torch
from made_clips import windows_of

from worldmodel.data.augmentation.augment import PICTURE_UNIFORMS
from worldmodel.data.batch_reader import BatchReader
from worldmodel.data.loader import begin_fixed_batch, read_fixed_batch, training_batches


def test_one_set_of_workers_reads_the_held_out_windows_and_then_the_training_windows(clips: Path):
    alone = windows_of(clips)
    held_out, steps = read_fixed_batch(alone, 11), [batch for (batch,) in training_batches(alone, 0, 5)]
    windows = windows_of(clips, workers=2)
    with BatchReader(2) as reader:
        children = psutil.Process().children()
        found = begin_fixed_batch(windows, 11, reader)()
        found_steps = [batch for (batch,) in training_batches(windows, 0, 5, reader=reader)]
        assert psutil.Process().children() == children
    assert torch.equal(found.frames, held_out.frames)
    assert found.ids.equal(held_out.ids)
    for one, two in zip(found_steps, steps, strict=True):
        assert torch.equal(one.frames, two.frames)
        assert one.ids.equal(two.ids)
        assert one.uniforms.equal(two.uniforms)
        assert one.step_seed == two.step_seed


@pytest.mark.parametrize("shared", [True, False])
def test_batches_are_those_of_the_first_releases(clips: Path, monkeypatch, shared: bool):
    """SHA-256 of ids, augmentation, seeds and frames of twelve training steps, computed at commit 78f1e97.

    Without the random numbers of occluders, which came later.
    """
    if not shared and sys.platform == "linux":
        monkeypatch.delattr(os, "memfd_create")
    digest = hashlib.sha256()
    for micro_batches in training_batches(windows_of(clips, workers=1), 3, 15, micro_batches=2, rank=1, world_size=2):
        for batch in micro_batches:
            uniforms = batch.uniforms[:, :PICTURE_UNIFORMS]
            digest.update(batch.ids.numpy().tobytes() + uniforms.numpy().tobytes() + batch.frames.numpy().tobytes())
            digest.update(str(batch.step_seed).encode())
    assert digest.hexdigest()[:16] == "84400fbbd3e7c304"


def test_a_batch_that_is_still_in_use_is_not_overwritten(clips: Path):
    windows = windows_of(clips, workers=1, prefetch=1)
    stream = training_batches(windows, 0, 30)
    (first,) = next(stream)
    before = first.frames.clone()
    assert len(list(stream)) == 29
    assert torch.equal(first.frames, before)


def test_frames_for_a_gpu_are_copied_into_pinned_memory(clips: Path, monkeypatch):
    """Without a GPU nothing can be pinned; the two functions that pin are replaced."""
    expected = [batch.frames for (batch,) in training_batches(windows_of(clips), 0, 3)]
    empty, pinned = torch.empty, []

    def empty_pinned(*size, pin_memory=False, **options):
        tensor = empty(*size, **options)
        pinned.extend([tensor] * pin_memory)
        return tensor

    monkeypatch.setattr(torch, "empty", empty_pinned)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    found = [batch.frames for (batch,) in training_batches(windows_of(clips, workers=1), 0, 3, pin=True)]
    assert all(map(torch.equal, found, expected))
    assert {frames.data_ptr() for frames in found} == {frames.data_ptr() for frames in pinned}
