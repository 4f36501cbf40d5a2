"""Masks are a function of the sample and the training step, and drop random tokens."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from worldmodel.data.token_masks.stacked import View, draw_batch
from worldmodel.models.masks import MaskConfig, mask_rule, sample_views

PUBLISHED = (MaskConfig(blocks=8, area=0.15), MaskConfig(blocks=2, area=0.7))
FUTURE = MaskConfig(blocks=0, visible_time_fraction=(0.25, 0.75))
STEPS, SIDE = 8, 16
TOKENS = SIDE * SIDE


def views(ids: range, step_seed: int = 5, masks: tuple[MaskConfig, ...] = PUBLISHED) -> list[View]:
    return sample_views(masks, list(ids), step_seed, STEPS, SIDE)


@pytest.mark.parametrize(("aspect", "size"), [(1.0, (6, 6)), (1.5, (8, 5)), (0.75, (5, 7))])
def test_block_size_worked_by_hand(aspect: float, size: tuple[int, int]):
    assert PUBLISHED[0].block_size(16, aspect) == size  # 38.4 tokens


def test_a_samples_masks_do_not_depend_on_the_samples_around_it():
    together = views(range(40))
    for id in (0, 17, 39):
        for all_of, alone in zip(together, views(range(id, id + 1)), strict=True):
            assert torch.equal(all_of.visible[id], alone.visible[0])
            assert torch.equal(all_of.masked[id], alone.masked[0])


def test_another_step_or_sample_has_other_masks():
    (here, _), (later, _) = views(range(2)), views(range(2), step_seed=6)
    assert not torch.equal(here.masked[0], here.masked[1])
    assert here.masked.shape != later.masked.shape or not torch.equal(here.masked, later.masked)


def test_no_token_is_both_visible_and_masked_at_any_time_step():
    for view in views(range(20)):
        for visible, masked in zip(view.visible, view.masked, strict=True):
            assert not set((visible % TOKENS).tolist()) & set((masked % TOKENS).tolist())


def test_published_masks_cover_most_of_the_picture():
    fractions = np.array(
        [[view.visible.shape[1] / (STEPS * TOKENS) for view in views(range(1), step_seed)] for step_seed in range(30)]
    )
    assert fractions.max() < 0.45
    assert fractions.min() > 0
    assert fractions.mean() == pytest.approx(0.2, abs=0.1)


def test_random_tokens_are_dropped_not_the_latest_ones():
    """Published code cuts lists that are ordered by time at their end, which always loses the last frames."""
    visible_counts, cut = np.zeros((2, STEPS)), 0
    for step_seed in range(10):
        for view in views(range(30), step_seed):
            for row, tokens in enumerate((view.visible, view.masked)):
                visible_counts[row] += np.bincount((tokens // TOKENS).flatten(), minlength=STEPS)
            hidden = [len(set((masked % TOKENS).tolist())) * STEPS for masked in view.masked]
            cut += sum(hidden_tokens > view.masked.shape[1] for hidden_tokens in hidden)
    assert cut > 300  # of 600
    for row in visible_counts:
        np.testing.assert_allclose(row, row.mean(), rtol=0.02)


def test_a_view_of_the_past_predicts_all_of_the_future_and_nothing_else():
    cuts = set()
    for step_seed in range(60):
        (view,) = sample_views([FUTURE], [3, 4], step_seed, STEPS, SIDE)
        steps = view.visible.shape[1] // TOKENS
        cuts.add(steps)
        assert torch.equal(view.visible, torch.arange(steps * TOKENS).expand(2, -1))
        assert torch.equal(view.masked, torch.arange(steps * TOKENS, STEPS * TOKENS).expand(2, -1))
    assert cuts == {2, 3, 4, 5, 6}


def test_blocks_may_also_mask_part_of_the_past():
    mask = MaskConfig(blocks=2, area=0.3, visible_time_fraction=(0.5, 0.5))
    (view,) = sample_views([mask], [1, 2, 3], 0, STEPS, SIDE)
    assert view.visible.max() < 4 * TOKENS
    for masked in view.masked:
        later = masked[masked >= 4 * TOKENS]
        assert 0 < len(masked) - len(later) < 4 * TOKENS
    assert view.visible.shape[1] + view.masked.shape[1] <= STEPS * TOKENS


def test_a_tiny_picture_keeps_a_visible_token():
    for step_seed in range(50):
        (view,) = sample_views([MaskConfig(blocks=8, area=0.25)], list(range(8)), step_seed, 2, 4)
        assert view.visible.shape[1] >= 2
        assert view.masked.shape[1] >= 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": 0}, "there may be nothing to predict"),
        ({"aspect": (1.5, 0.75)}, r"aspect \[1.5, 0.75\] is not a range"),
        ({"visible_time_fraction": (0.5, 1.5)}, "up to 1"),
    ],
)
def test_an_impossible_mask_is_refused(fields: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        MaskConfig(**fields)


def test_blocks_that_cover_everything_are_refused():
    assert "none would be visible" in MaskConfig(blocks=1, area=0.95).check(4, 2)[0]
    assert MaskConfig(blocks=2, area=0.7).check(4, 8) == []


def test_blocks_of_a_rectangle_have_its_area_and_stay_within_it():
    """30 % of 4 x 8 tokens are 9.6: blocks of 3 x 3. Of 2 x 8 tokens at aspect 4, a block of 4 rows would not fit."""
    assert MaskConfig(blocks=1, area=0.3).block_size((4, 8), 1.0) == (3, 3)
    assert MaskConfig(blocks=1, area=0.3).block_size((2, 8), 4.0) == (2, 1)
    (view,) = sample_views([MaskConfig(blocks=1, area=0.3, aspect=(1, 1))], [1, 2, 3], 0, 2, (4, 8))
    for masked in view.masked:
        rows, columns = (masked % 32) // 8, masked % 8
        assert view.masked.shape[1] == 2 * 9
        assert len(rows.unique()) == len(columns.unique()) == 3
        assert columns.max() - columns.min() == 2


def test_a_grid_of_equal_sides_gives_the_masks_of_a_square():
    one, other = (sample_views(PUBLISHED, [1, 2], 3, STEPS, grid) for grid in (SIDE, (SIDE, SIDE)))
    assert all(torch.equal(a.masked, b.masked) for a, b in zip(one, other, strict=True))


# --- dropped tokens --------------------------------------------------------------------------------------------------
def test_dropping_tokens_keeps_a_part_of_the_same_views():
    """A quarter of the visible tokens; to predict, a quarter of all 2,048 tokens, divided between two views."""
    dropped = sample_views(PUBLISHED, [1, 2, 3], 5, STEPS, SIDE, tokens_kept=0.25)
    for whole, part in zip(views(range(1, 4)), dropped, strict=True):
        assert part.visible.shape[1] == round(0.25 * whole.visible.shape[1])
        assert part.masked.shape[1] == 256
        for row in range(3):
            assert set(part.visible[row].tolist()) <= set(whole.visible[row].tolist())
            assert set(part.masked[row].tolist()) <= set(whole.masked[row].tolist())


def test_a_teacher_sees_the_predicted_tokens_and_random_others():
    ids = list(range(40))
    rule = mask_rule(PUBLISHED, STEPS, SIDE, 0.1, for_teacher=True)
    drawn = draw_batch(rule, ids, 5)
    dropped, kept = drawn.views, drawn.of_teacher
    assert kept.shape == (40, 205)
    assert (kept.diff(dim=1) > 0).all()
    for row in ids:
        assert {index for view in dropped for index in view.masked[row].tolist()} <= set(kept[row].tolist())
    assert torch.equal(draw_batch(rule, [17], 5).of_teacher[0], kept[17])
