"""Blocks: the trimmed last block, and rotations by a shared table."""

import pytest
import torch

from worldmodel.models.blocks.layers import Blocks, Segment
from worldmodel.models.blocks.rotary import rotary_angles, rotary_table, rotate

SEGMENTS = [Segment(5, 2), Segment(3, 3), Segment(4, 1)]
OUTPUTS = [3, 4, 5, 6, 7, 11]


def blocks(checkpointing: bool = False) -> Blocks:
    torch.manual_seed(0)
    return Blocks(2, 24, 2, checkpointing=checkpointing).double()


def packed() -> tuple[torch.Tensor, torch.Tensor]:
    positions = torch.arange(12)[:, None].expand(-1, 3)
    x = torch.randn(2, 12, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, rotary_table(rotary_angles(positions, 12))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_trimmed_stack_equals_the_outputs_of_the_whole_one_and_has_its_gradient(checkpointing: bool):
    x, rotary = packed()
    whole = [Segment(segment.length, segment.length) for segment in SEGMENTS]
    found = []
    for segments, model in ((SEGMENTS, blocks(checkpointing)), (whole, blocks())):
        states = model(x, rotary, segments)
        states = states[:, OUTPUTS] if segments is whole else states
        states.square().sum().backward()
        found.append([states.detach(), *(parameter.grad for parameter in model.parameters())])
    for trimmed, expected in zip(*found, strict=True):
        torch.testing.assert_close(trimmed, expected, rtol=1e-9, atol=1e-12)


def test_segments_do_not_attend_to_one_another():
    x, rotary = packed()
    changed = x.clone()
    changed[:, :5] += 1
    one, other = (blocks()(given, rotary, SEGMENTS) for given in (x, changed))
    assert torch.equal(one[:, 2:], other[:, 2:])
    assert not torch.allclose(one[:, :2], other[:, :2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_rotation_and_its_gradient_equal_the_formula(dtype, tiled):
    source = torch.Generator().manual_seed(2)
    packed = torch.randn(2, 12, 3, 2, 12, generator=source).to(dtype).requires_grad_()
    x, gradient = packed[:, :, 1].transpose(1, 2), torch.randn(2, 2, 12, 12, generator=source).to(dtype)
    angles = rotary_angles(torch.arange(12)[:, None].expand(-1, 3), 12, tiled=tiled)
    neighbours = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
    expected = x * angles.cos().to(dtype) + neighbours * angles.sin().to(dtype)
    found = rotate(x, rotary_table(angles))
    assert torch.equal(found, expected)
    ours, theirs = (torch.autograd.grad(result, packed, gradient)[0] for result in (found, expected))
    torch.testing.assert_close(ours, theirs)
    if dtype != torch.bfloat16:
        assert torch.equal(ours, theirs)
