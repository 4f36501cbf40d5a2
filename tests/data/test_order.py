"""The order of samples is a pure function of the seed, whichever part of it is requested."""

import numpy as np
import pytest

from worldmodel.data.keyed_uniforms import keyed_uniforms
from worldmodel.data.order import SampleOrder, keyed_rng, micro_batch_positions, permute


@pytest.mark.parametrize("size", [1, 2, 3, 10, 64, 1000, 4097])
def test_an_epoch_contains_every_window_exactly_once(size: int):
    assert sorted(permute(np.arange(size), size, 1, 2)) == list(range(size))


def test_epochs_and_seeds_differ_and_are_repeatable():
    a, b, c = (permute(np.arange(500), 500, *key) for key in ((0, 0), (0, 1), (1, 0)))
    assert (a != b).mean() > 0.9
    assert (a != c).mean() > 0.9
    assert (a == permute(np.arange(500), 500, 0, 0)).all()


def test_the_shuffle_is_not_visibly_regular():
    """Neighbours in the order are as far apart as in a random order: a third of the range on average."""
    order = permute(np.arange(20_000), 20_000, 3)
    assert np.abs(np.diff(order)).mean() / 20_000 == pytest.approx(1 / 3, abs=0.01)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.03


def test_a_hundred_million_windows_need_no_memory():
    positions = np.arange(10**8 - 64, 10**8)
    assert len(set(permute(positions, 10**8, 0).tolist())) == 64


def test_any_slice_equals_the_whole():
    order = SampleOrder([30, 12], None, seed=5)
    whole = order[np.arange(200)]
    assert [order[np.array([p])][0] for p in range(200)] == whole
    epoch = {(d.source, d.index) for d in whole[:42]}
    assert len(epoch) == 42
    assert {d.epoch for d in whole[:42]} == {0}
    assert whole[42].epoch == 1


@pytest.mark.parametrize(("ranks", "micros"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 2)])
def test_ranks_and_micro_batches_share_the_same_global_batch(ranks: int, micros: int):
    parts = [micro_batch_positions(7, 16, rank, ranks, micro, micros) for rank in range(ranks) for micro in range(micros)]
    assert np.concatenate(parts).tolist() == list(range(112, 128))


def test_weights_are_exact_to_a_thousandth_and_every_source_has_its_own_epochs():
    order = SampleOrder([7, 1000], [0.25, 0.75], seed=0)
    samples = order[np.arange(2048)]
    few = [d for d in samples if d.source == 0]
    assert len(few) == 512
    for epoch in range(512 // 7):
        assert sorted(d.index for d in few if d.epoch == epoch) == list(range(7))
    assert sorted({d.epoch for d in few}) == list(range(512 // 7 + 1))
    assert [order[np.array([p])][0] for p in range(1000, 1100)] == samples[1000:1100]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 9])
def test_random_numbers_of_many_keys_equal_those_of_each_key_to_the_last_bit(length: int):
    keys = [*np.random.default_rng(length).integers(0, 2**32, (200, length)).tolist(), [0] * length, [2**32 - 1] * length]
    assert np.array_equal(keyed_uniforms(keys, 12), [keyed_rng(*key).random(12) for key in keys])


def test_keys_of_more_than_32_bits_give_the_same_numbers_as_well():
    keys = [(2**40 + 5, 2, 0, 1, 7), (3, 2, 0, 1, 2**33)]
    assert np.array_equal(keyed_uniforms(keys, 12), [keyed_rng(*key).random(12) for key in keys])
