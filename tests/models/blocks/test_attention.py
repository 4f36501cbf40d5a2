"""Attention equals a naive float64 reference; the implementation in bfloat16 does too, as far as its numbers allow."""

import math

import pytest
import torch
import torch.nn.functional as F

from worldmodel.models.blocks import attention
from worldmodel.models.blocks.attention import attend, attend_segments

CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril()
PADDED = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])[:, None, None]
PER_HEAD = torch.arange(6).expand(2, 3, 6, 6) >= torch.arange(3)[:, None, None]
MASKS = pytest.mark.parametrize("mask", [None, CAUSAL, PADDED, PER_HEAD], ids=["none", "causal", "padding", "per head"])


def inputs(dtype: torch.dtype, lengths: tuple[int, int] = (6, 6)) -> list[torch.Tensor]:
    """q, k and v, laid out as the layers give them, and a gradient."""
    source = torch.Generator().manual_seed(0)
    counts = (lengths[0], lengths[1], lengths[1], lengths[0])
    made = [torch.randn(2, count, 3, 8, generator=source).bfloat16().to(dtype).transpose(1, 2) for count in counts]
    return [part.requires_grad_() for part in made[:3]] + made[3:]


def naive(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    q, k, v = q.double(), k.double(), v.double()
    scores = torch.einsum("bhqf,bhkf->bhqk", q, k) / math.sqrt(q.shape[-1])
    weights = scores.exp() if mask is None else scores.exp() * mask
    return torch.einsum("bhqk,bhkf->bhqf", weights / weights.sum(-1, keepdim=True), v)


def with_gradients(result: torch.Tensor, given: list[torch.Tensor]) -> list[torch.Tensor]:
    return [result.detach(), *torch.autograd.grad(result, given[:3], given[3].to(result.dtype))]


@pytest.fixture(params=["kept", "computed again"])
def products(request, monkeypatch):
    """Products of matrices on any processor, in blocks of one or two of the six pairs of clip and head."""
    monkeypatch.setattr(attention, "multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr(attention, "BLOCK_SCORES", 80)
    monkeypatch.setattr(attention, "STORED_SCORES", {"kept": 1000, "computed again": 0}[request.param])


@MASKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_and_its_gradient_equal_a_naive_reference(dtype, mask):
    given = inputs(dtype)
    for ours, expected in zip(
        with_gradients(attend(*given[:3], mask), given), with_gradients(naive(*given[:3], mask), given), strict=True
    ):
        torch.testing.assert_close(ours.double(), expected.double(), rtol=1e-5, atol=1e-6)


@MASKS
def test_attention_in_bfloat16_equals_the_reference_within_its_rounding(products, mask):
    given = inputs(torch.bfloat16)
    for ours, expected in zip(
        with_gradients(attend(*given[:3], mask), given), with_gradients(naive(*given[:3], mask), given), strict=True
    ):
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - expected.double()).norm() < 0.015 * expected.double().norm()


def test_the_error_in_bfloat16_is_at_most_three_times_that_of_torch_which_keeps_scores_in_float32(products):
    given = inputs(torch.bfloat16, (64, 64))
    expected = with_gradients(naive(*given[:3]), given)
    ours, torchs = (with_gradients(f(*given[:3]), given) for f in (attend, F.scaled_dot_product_attention))
    for part, other, exact in zip(ours, torchs, expected, strict=True):
        error, its_error = ((found.double() - exact.double()).norm() for found in (part, other))
        assert error < 3 * its_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_segments_equal_attention_of_each_by_itself_and_share_the_limit_of_what_is_kept(products, monkeypatch, dtype):
    given = inputs(dtype, (6, 9))
    parts = [(slice(0, 2), slice(0, 5)), (slice(2, 6), slice(5, 9))]
    segments = [(given[0][:, :, q], given[1][:, :, k], given[2][:, :, k]) for q, k in parts]
    together = with_gradients(torch.cat(attend_segments(segments), dim=2), given)
    alone = with_gradients(torch.cat([attend(*segment) for segment in segments], dim=2), given)
    for ours, expected in zip(together, alone, strict=True):
        assert torch.equal(ours, expected)
    monkeypatch.setattr(attention, "STORED_SCORES", 2 * 3 * (2 * 5 + 4 * 4) - 1)  # each of them alone has fewer scores
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: shapes.append(saved.shape) or saved, lambda saved: saved):
        shapes: list[torch.Size] = []
        attend_segments(segments)
    assert not any(shape[-2:] == (4, 4) for shape in shapes)


def test_attention_in_float32_is_that_of_torch_bit_for_bit(products):
    given = inputs(torch.float32)
    assert torch.equal(attend(*given[:3], CAUSAL), F.scaled_dot_product_attention(*given[:3], attn_mask=CAUSAL))


def test_no_probabilities_are_kept_without_gradient(products):
    q, k, v = (part.detach() for part in inputs(torch.bfloat16)[:3])
    assert not attend(q, k, v).requires_grad


def test_large_scores_do_not_overflow(products):
    q = torch.full((1, 1, 2, 8), 100.0).bfloat16()
    assert torch.equal(attend(q, q, q), q)  # both keys have the same score, 28,284
