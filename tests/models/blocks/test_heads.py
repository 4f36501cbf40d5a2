"""Heads are divided and joined bit for bit as by the plain formulas, with the same gradients."""

import pytest
import torch
from einops import rearrange

from worldmodel.models.blocks import attention
from worldmodel.models.blocks.heads import join_heads, split_heads
from worldmodel.models.blocks.rotary import rotary_angles, rotary_table, rotate

HEADS, FEATURES, LENGTH = 3, 12, 10
LENGTHS = pytest.mark.parametrize("lengths", [(), (7, 3)], ids=["one segment", "two segments"])


@pytest.fixture(params=[True, False], ids=["products", "torch's kernel"])
def products(request, monkeypatch) -> bool:
    """Whether attention in bfloat16 is computed by products of matrices."""
    monkeypatch.setattr(attention, "multiplies_bfloat16", lambda device: request.param)
    return request.param


def tables() -> dict[str, torch.Tensor | None]:
    table = rotary_table(rotary_angles(torch.arange(20)[:, None].expand(-1, 3), FEATURES))
    chosen = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(clip))[:LENGTH] for clip in range(2)])
    return {"none": None, "of all clips": table[:LENGTH], "of each clip": table[chosen][:, None]}


def plain(packed: torch.Tensor, parts: int, table: torch.Tensor | None, lengths: tuple[int, ...]) -> list[torch.Tensor]:
    found = list(rearrange(packed, "b s (n h f) -> n b h s f", n=parts, h=HEADS))
    for index in range({1: 1, 2: 1, 3: 2}[parts] if table is not None else 0):
        found[index] = rotate(found[index], table)
    return [part for several in zip(*(one.split(lengths or (LENGTH,), 2) for one in found), strict=True) for part in several]


@LENGTHS
@pytest.mark.parametrize("name", ["none", "of all clips", "of each clip"])
@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_parts_and_their_gradient_equal_the_formula(products, dtype, parts, name, lengths):
    source, table = torch.Generator().manual_seed(0), tables()[name]
    packed = torch.randn(2, LENGTH, parts * HEADS * FEATURES, generator=source).to(dtype).requires_grad_()
    found = [part for segment in split_heads(packed, parts, HEADS, table, lengths) for part in segment]
    expected = plain(packed, parts, table, lengths)
    gradients = [torch.randn(part.shape, generator=source).to(dtype) for part in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert one.is_contiguous() or not (products and dtype == torch.bfloat16)
    ours, theirs = (torch.autograd.grad(results, packed, gradients)[0] for results in (found, expected))
    assert ours.is_contiguous()
    torch.testing.assert_close(ours, theirs)
    if dtype != torch.bfloat16:
        assert torch.equal(ours, theirs)


def test_a_part_that_nothing_depends_on_has_no_gradient(products):
    packed = torch.randn(2, LENGTH, 3 * HEADS * FEATURES, requires_grad=True)
    ((q, _, _),) = split_heads(packed, 3, HEADS, tables()["of all clips"])
    (gradient,) = torch.autograd.grad(q.sum(), packed)
    assert gradient[..., : HEADS * FEATURES].any()
    assert not gradient[..., HEADS * FEATURES :].any()


@LENGTHS
def test_joining_is_the_inverse_of_dividing(lengths):
    packed = torch.randn(2, LENGTH, HEADS * FEATURES)
    assert torch.equal(join_heads([part for (part,) in split_heads(packed, 1, HEADS, None, lengths)]), packed)
