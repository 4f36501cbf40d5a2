"""Attentive probes find what stands at no fixed place; learning rates are chosen on scenes that were not trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from eval.probes.attentive import HEADS, AttentivePool, MeanPool, fit_classes, fit_numbers, sweep
from eval.probes.metrics import r2

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _few_updates(monkeypatch):
    monkeypatch.setattr("eval.probes.attentive.UPDATES", 100)


def flagged(rows: int, seed: int = 0):
    """Nine tokens of noise; one of them, anywhere, is flagged and holds the number: [R, 9, 4], [R, 1]."""
    rng = np.random.default_rng(seed)
    tokens, number = rng.normal(size=(rows, 9, 4)).astype(np.float32), rng.normal(size=(rows, 1))
    tokens[..., 0] = 0
    row, place = np.arange(rows), rng.integers(0, 9, rows)
    tokens[row, place, 0], tokens[row, place, 1] = 4.0, number[:, 0]
    return tokens, number, row


def test_attention_finds_a_thing_wherever_it_is_and_the_mean_does_not(monkeypatch):
    monkeypatch.setattr("eval.probes.attentive.UPDATES", 250)
    tokens, number, scene = flagged(1200)
    fitted = scene < 1000
    fit = (tokens, number, None, fitted, ~fitted, CPU)
    reads = {head: sweep(head, *fit, rates=(3e-3,))(tokens[1000:]) for head in (AttentivePool, MeanPool)}
    assert r2(number[1000:], reads[AttentivePool], scene[1000:]).value > 0.9
    assert r2(number[1000:], reads[MeanPool], scene[1000:]).value < 0.3


def test_one_query_needs_no_key_and_no_value_of_each_token():
    """The pool against attention written out: a key and a value a token, scaled dot products, softmax."""
    torch.manual_seed(0)
    pool, tokens = AttentivePool(9, 5, 1), torch.randn(3, 9, 5)
    embedded = pool.embed(tokens) + pool.code
    keys, values = (rearrange(each(embedded), "r l (h w) -> r h l w", h=HEADS) for each in (pool.keys, pool.values))
    query = rearrange(pool.query, "(h w) -> h 1 w", h=HEADS).expand(3, -1, -1, -1)
    written_out = rearrange(F.scaled_dot_product_attention(query, keys, values), "r h 1 w -> r (h w)")
    torch.testing.assert_close(pool.attend(tokens), written_out, rtol=1e-4, atol=1e-5)


def test_what_is_learnt_by_heart_is_left_behind(monkeypatch):
    """Noise cannot be known: held-out scenes stop at the first look, though the training rows can be learnt by heart."""
    monkeypatch.setattr("eval.probes.attentive.LOOK_EVERY", 10)
    rng = np.random.default_rng(0)
    tokens, noise = rng.normal(size=(120, 9, 4)).astype(np.float32), rng.normal(size=(120, 1))
    fitted = np.arange(120) < 60
    probe = sweep(AttentivePool, tokens, noise, None, fitted, ~fitted, CPU, rates=(1e-2,))
    assert probe.updates <= 20
    assert r2(noise[:60], probe(tokens[:60]), np.arange(60)).value < 0.5


def test_the_rate_with_the_smallest_loss_on_the_choosing_rows_is_kept():
    tokens, number, scene = flagged(300)
    fitted = scene < 200
    probe = sweep(MeanPool, tokens, number, None, fitted, ~fitted, CPU, rates=(1e-6, 1e-2))
    assert probe.rate == min(probe.losses, key=probe.losses.get) == 1e-2


def test_rows_that_choose_train_nothing(monkeypatch):
    """Change what the choosing rows say: a head that is looked at once stays the same, to the bit."""
    monkeypatch.setattr("eval.probes.attentive.LOOK_EVERY", 100)
    tokens, number, scene = flagged(300)
    fitted = scene < 200
    other = number.copy()
    other[200:] *= -7
    one, two = (sweep(MeanPool, tokens, it, None, fitted, ~fitted, CPU, rates=(1e-2,)) for it in (number, other))
    assert np.array_equal(one(tokens), two(tokens))


def test_numbers_come_back_in_their_own_units():
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(400, 1, 1, 3))
    place = 100 + 20 * latents[:, 0, 0, :2]
    reading = fit_numbers(latents, place, np.arange(400), CPU)(latents)
    assert r2(place, reading, np.arange(400)).value > 0.95


def test_classes_come_back_as_they_were_named():
    rng = np.random.default_rng(2)
    kind = rng.choice([1, 4], 300)
    latents = rng.normal(size=(300, 2, 1, 3)) * 0.2 + kind[:, None, None, None]
    reading = fit_classes(latents, kind, np.arange(300), CPU)(latents)
    assert (reading == kind).mean() > 0.97


def test_a_probe_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    tokens, number, scene = flagged(60)
    sweep(MeanPool, tokens, number, None, scene < 40, scene >= 40, CPU, rates=(1e-2,))
    assert torch.equal(before, torch.random.get_rng_state())
