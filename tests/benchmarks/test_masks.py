"""The benchmark of masks counts what it says, and its other commit is one at which the model drew all masks."""

from benchmarks.masks import attention_calls, count_tokens, measure
from worldmodel.models.masks import MaskConfig, mask_rule
from worldmodel.recipe import DEMO_RECIPE, read_recipe

FUTURE = MaskConfig(blocks=0, visible_time_fraction=(0.5, 0.5))
ONE_BLOCK = MaskConfig(blocks=1, area=0.25, aspect=(1, 1))


def test_views_of_one_block_or_of_the_future_drop_nothing_and_need_no_padding():
    """4 steps of 4 x 4 tokens: a block of 2 x 2 hides 4 of 16 in each step; half of the time is 32 of 64 tokens."""
    block, future = count_tokens(mask_rule((ONE_BLOCK, FUTURE), 4, 4), clips=3)
    assert (block["visible"], block["to predict"]) == (48, 16)
    assert (future["visible"], future["to predict"]) == (32, 32)
    for row in (block, future):
        assert {value for name, value in row.items() if "%" in name} == {0, "0.0"}


def test_several_blocks_differ_in_what_they_cover_so_tokens_are_dropped():
    (row,) = count_tokens(mask_rule([MaskConfig(blocks=3, area=0.25)], 4, 8), clips=8)
    assert float(row["visible that are dropped, %"]) > 5
    assert float(row["padding if none were dropped, visible, %"]) > 5


def test_one_call_for_all_views_saves_as_many_calls_as_there_are_further_views():
    recipe = read_recipe(DEMO_RECIPE.with_name("masked.yaml"), [])  # 4 + 2 blocks, 3 views
    assert attention_calls(recipe) == {"one per view": 18, "one for all views": 6}


def test_both_ways_are_measured():
    found = measure(mask_rule((ONE_BLOCK,), 4, 4), 2, 3, None)
    assert set(found.samples) == {"drawn by the model", "received from workers"}
