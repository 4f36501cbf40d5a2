"""Memory that is shared with a worker: slots are reused only when nothing refers to their frames."""

import os
import sys

import numpy as np
import pytest
import torch

from worldmodel.data.frame_memory import FrameMemory, WorkerMemory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="anonymous files of Linux")

PAGE = 4096


def test_what_a_worker_writes_is_what_the_training_process_reads():
    memory = FrameMemory(4)
    slot, frames = memory.allocate(6)
    writer = WorkerMemory(memory.descriptor)
    writer.part(slot, 3, 3)[...] = np.array([7, 8, 9], np.uint8)[::-1]
    assert frames.tolist() == [0, 0, 0, 9, 8, 7]
    memory.close()
    assert frames.tolist() == [0, 0, 0, 9, 8, 7]


def test_a_slot_is_reused_when_no_tensor_refers_to_its_frames():
    memory = FrameMemory(4)
    first, frames = memory.allocate(10)
    tensor = torch.from_numpy(frames).view(2, 5)[1]
    del frames
    second, _frames = memory.allocate(10)
    assert second != first
    del tensor
    third, _others = memory.allocate(10)
    assert third == first
    memory.close()


def test_slots_of_another_size_give_their_pages_back():
    memory = FrameMemory(4)
    _, frames = memory.allocate(100 * PAGE)
    frames[:] = 1
    before = os.fstat(memory.descriptor).st_blocks
    del frames
    _, frames = memory.allocate(PAGE)
    frames[:] = 1
    assert before * 512 == 100 * PAGE
    assert os.fstat(memory.descriptor).st_blocks * 512 == PAGE
    memory.close()


def test_no_more_slots_than_descriptors_are_lent():
    memory = FrameMemory(2)
    lent = [memory.allocate(10) for _ in range(3)]
    assert [slot is None for slot in lent] == [False, False, True]
    memory.close()


def test_a_system_without_such_memory_has_no_slots(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert FrameMemory(4).allocate(10) is None
