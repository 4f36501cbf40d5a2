"""Masks are a function of the sample and the update, and leave out what must be left out at random."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from worldmodel.models.masks import MaskConfig, View, draw_views

PUBLISHED = (MaskConfig(blocks=8, area=0.15), MaskConfig(blocks=2, area=0.7))
FUTURE = MaskConfig(blocks=0, visible_time_fraction=(0.25, 0.75))
STEPS, SIDE = 8, 16
PLACES = SIDE * SIDE


def views(ids: range, chance: int = 5, masks: tuple[MaskConfig, ...] = PUBLISHED) -> list[View]:
    return draw_views(masks, list(ids), chance, STEPS, SIDE)


@pytest.mark.parametrize(("aspect", "size"), [(1.0, (6, 6)), (1.5, (8, 5)), (0.75, (5, 7))])
def test_block_size_worked_by_hand(aspect: float, size: tuple[int, int]):
    assert PUBLISHED[0].block_size(16, aspect) == size  # 38.4 places


def test_a_samples_masks_do_not_depend_on_the_samples_around_it():
    together = views(range(40))
    for id in (0, 17, 39):
        for all_of, alone in zip(together, views(range(id, id + 1)), strict=True):
            assert torch.equal(all_of.visible[id], alone.visible[0])
            assert torch.equal(all_of.wanted[id], alone.wanted[0])


def test_another_update_or_sample_has_other_masks():
    (here, _), (later, _) = views(range(2)), views(range(2), chance=6)
    assert not torch.equal(here.wanted[0], here.wanted[1])
    assert here.wanted.shape != later.wanted.shape or not torch.equal(here.wanted, later.wanted)


def test_nothing_is_both_seen_and_wanted_at_any_time_of_the_clip():
    for view in views(range(20)):
        for visible, wanted in zip(view.visible, view.wanted, strict=True):
            assert not set((visible % PLACES).tolist()) & set((wanted % PLACES).tolist())


def test_published_masks_hide_most_of_the_picture():
    shares = np.array([[view.visible.shape[1] / (STEPS * PLACES) for view in views(range(1), chance)] for chance in range(30)])
    assert shares.max() < 0.45
    assert shares.min() > 0
    assert shares.mean() == pytest.approx(0.2, abs=0.1)


def test_tokens_are_left_out_at_random_not_the_latest_ones():
    """Cutting lists that are ordered by time at their end, as published code does, would always lose the last frames."""
    kept, cut = np.zeros((2, STEPS)), 0
    for chance in range(10):
        for view in views(range(30), chance):
            for row, tokens in enumerate((view.visible, view.wanted)):
                kept[row] += np.bincount((tokens // PLACES).flatten(), minlength=STEPS)
            hidden = [len(set((wanted % PLACES).tolist())) * STEPS for wanted in view.wanted]
            cut += sum(places > view.wanted.shape[1] for places in hidden)
    assert cut > 300  # of 600
    for row in kept:
        np.testing.assert_allclose(row, row.mean(), rtol=0.02)


def test_a_view_of_the_past_wants_all_of_the_future_and_nothing_else():
    cuts = set()
    for chance in range(60):
        (view,) = draw_views([FUTURE], [3, 4], chance, STEPS, SIDE)
        seen = view.visible.shape[1] // PLACES
        cuts.add(seen)
        assert torch.equal(view.visible, torch.arange(seen * PLACES).expand(2, -1))
        assert torch.equal(view.wanted, torch.arange(seen * PLACES, STEPS * PLACES).expand(2, -1))
    assert cuts == {2, 3, 4, 5, 6}


def test_blocks_may_hide_part_of_the_past_besides():
    mask = MaskConfig(blocks=2, area=0.3, visible_time_fraction=(0.5, 0.5))
    (view,) = draw_views([mask], [1, 2, 3], 0, STEPS, SIDE)
    assert view.visible.max() < 4 * PLACES
    for wanted in view.wanted:
        later = wanted[wanted >= 4 * PLACES]
        assert 0 < len(wanted) - len(later) < 4 * PLACES
    assert view.visible.shape[1] + view.wanted.shape[1] <= STEPS * PLACES


def test_a_tiny_picture_still_shows_something():
    for chance in range(50):
        (view,) = draw_views([MaskConfig(blocks=8, area=0.25)], list(range(8)), chance, 2, 4)
        assert view.visible.shape[1] >= 2
        assert view.wanted.shape[1] >= 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"blocks": 0}, "nothing may be left to predict"),
        ({"aspect": (1.5, 0.75)}, r"aspect \[1.5, 0.75\] is not a range"),
        ({"visible_time_fraction": (0.5, 1.5)}, "up to 1"),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused(fields: dict, says: str):
    with pytest.raises(ValidationError, match=says):
        MaskConfig(**fields)


def test_blocks_that_cover_everything_are_refused():
    assert "nothing would be seen" in MaskConfig(blocks=1, area=0.95).check(4, 2)[0]
    assert MaskConfig(blocks=2, area=0.7).check(4, 8) == []
