"""Attentive probes find a token at any position; learning rates are chosen on clips that were not trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from eval.probes.fitting.attentive import HEADS, AttentivePool, MeanPool, fit_classes, fit_numbers, train_probe
from eval.probes.metrics import r2

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr("eval.probes.fitting.attentive.STEPS", 100)


def flagged(rows: int, seed: int = 0):
    """Nine tokens of noise. One of them, at a random position, is flagged and holds the number: [R, 9, 4], [R, 1]."""
    rng = np.random.default_rng(seed)
    tokens, number = rng.normal(size=(rows, 9, 4)).astype(np.float32), rng.normal(size=(rows, 1))
    tokens[..., 0] = 0
    row, token = np.arange(rows), rng.integers(0, 9, rows)
    tokens[row, token, 0], tokens[row, token, 1] = 4.0, number[:, 0]
    return tokens, number, row


def test_attention_finds_a_token_at_any_position_and_the_mean_does_not(monkeypatch):
    monkeypatch.setattr("eval.probes.fitting.attentive.STEPS", 250)
    tokens, number, group = flagged(1200)
    fitted = group < 1000
    fit = (tokens, number, None, fitted, ~fitted, CPU)
    predictions = {head: train_probe(head, *fit, learning_rates=(3e-3,))(tokens[1000:]) for head in (AttentivePool, MeanPool)}
    assert r2(number[1000:], predictions[AttentivePool], group[1000:]).value > 0.9
    assert r2(number[1000:], predictions[MeanPool], group[1000:]).value < 0.3


def test_the_pool_equals_attention_with_a_key_and_a_value_of_each_token():
    """The pool is compared with scaled dot-product attention over explicit keys and values."""
    torch.manual_seed(0)
    pool, tokens = AttentivePool(9, 5, 1), torch.randn(3, 9, 5)
    embedded = pool.embed(tokens) + pool.code
    keys, values = (rearrange(each(embedded), "r l (h w) -> r h l w", h=HEADS) for each in (pool.keys, pool.values))
    query = rearrange(pool.query, "(h w) -> h 1 w", h=HEADS).expand(3, -1, -1, -1)
    written_out = rearrange(F.scaled_dot_product_attention(query, keys, values), "r h 1 w -> r (h w)")
    torch.testing.assert_close(pool.attend(tokens), written_out, rtol=1e-4, atol=1e-5)


def test_an_overfitted_state_is_not_chosen(monkeypatch):
    """Noise cannot be predicted. The loss on held-out rows is smallest early, although the training rows can be memorised."""
    monkeypatch.setattr("eval.probes.fitting.attentive.EVAL_EVERY", 10)
    rng = np.random.default_rng(0)
    tokens, noise = rng.normal(size=(120, 9, 4)).astype(np.float32), rng.normal(size=(120, 1))
    fitted = np.arange(120) < 60
    probe = train_probe(AttentivePool, tokens, noise, None, fitted, ~fitted, CPU, learning_rates=(1e-2,))
    assert probe.steps <= 20
    assert r2(noise[:60], probe(tokens[:60]), np.arange(60)).value < 0.5


def test_the_learning_rate_with_the_smallest_loss_on_the_selection_rows_is_chosen():
    tokens, number, group = flagged(300)
    fitted = group < 200
    probe = train_probe(MeanPool, tokens, number, None, fitted, ~fitted, CPU, learning_rates=(1e-6, 1e-2))
    assert probe.learning_rate == min(probe.losses, key=probe.losses.get) == 1e-2


def test_selection_rows_do_not_change_the_training(monkeypatch):
    """Other targets of the selection rows leave a head that is evaluated once the same, to the bit."""
    monkeypatch.setattr("eval.probes.fitting.attentive.EVAL_EVERY", 100)
    tokens, number, group = flagged(300)
    fitted = group < 200
    other = number.copy()
    other[200:] *= -7
    one, two = (
        train_probe(MeanPool, tokens, entry, None, fitted, ~fitted, CPU, learning_rates=(1e-2,)) for entry in (number, other)
    )
    assert np.array_equal(one(tokens), two(tokens))


def test_predicted_numbers_are_in_the_units_of_the_targets():
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(400, 1, 1, 3))
    position = 100 + 20 * latents[:, 0, 0, :2]
    predicted = fit_numbers(latents, position, np.arange(400), CPU)(latents)
    assert r2(position, predicted, np.arange(400)).value > 0.95


def test_predicted_classes_are_those_of_the_labels():
    rng = np.random.default_rng(2)
    kind = rng.choice([1, 4], 300)
    latents = rng.normal(size=(300, 2, 1, 3)) * 0.2 + kind[:, None, None, None]
    predicted = fit_classes(latents, kind, np.arange(300), CPU)(latents)
    assert (predicted == kind).mean() > 0.97


def test_a_probe_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    tokens, number, group = flagged(60)
    train_probe(MeanPool, tokens, number, None, group < 40, group >= 40, CPU, learning_rates=(1e-2,))
    assert torch.equal(before, torch.random.get_rng_state())
