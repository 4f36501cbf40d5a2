"""What a run will do is said before it begins; layers that would make it inexact are refused."""

from pathlib import Path

import pytest
from torch import nn

from worldmodel.config import ConfigError
from worldmodel.data.loader import DataConfig, Windows
from worldmodel.manifest import Clip, write_manifest
from worldmodel.runs.plan import check_layers, described
from worldmodel.recipe import Recipe
from worldmodel.train import build_learner


def recipe(**train: object) -> Recipe:
    return Recipe.model_validate({"train": train})


def with_layer(layer: nn.Module) -> nn.Module:
    learner = build_learner(recipe())
    learner.model.encoder.extra = layer
    return learner


@pytest.mark.parametrize(
    ("layer", "micros", "ranks"),
    [(nn.BatchNorm1d(4), 2, 1), (nn.BatchNorm3d(4), 1, 2), (nn.SyncBatchNorm(4), 2, 1), (nn.Dropout(0.1), 2, 1)],
    ids=["batch norm, accumulated", "batch norm, ranks", "sync batch norm, accumulated", "dropout, accumulated"],
)
def test_layers_that_depend_on_how_a_batch_is_cut_are_refused_and_named(layer: nn.Module, micros: int, ranks: int):
    with pytest.raises(ConfigError, match=rf"model\.encoder\.extra \({type(layer).__name__}\)"):
        check_layers(with_layer(layer), recipe(grad_accum_steps=micros), ranks)


@pytest.mark.parametrize(
    ("layer", "micros", "ranks"),
    [
        (nn.BatchNorm1d(4), 1, 1),
        (nn.SyncBatchNorm(4), 1, 2),
        (nn.Dropout(0.1), 1, 2),
        (nn.Dropout(0.0), 2, 2),
        (nn.LayerNorm(4), 2, 2),
    ],
)
def test_layers_that_do_not_are_welcome(layer: nn.Module, micros: int, ranks: int):
    check_layers(with_layer(layer), recipe(grad_accum_steps=micros), ranks)


def test_no_layer_of_ours_is_refused():
    check_layers(build_learner(recipe()), recipe(grad_accum_steps=4), 8)


def test_whoever_gives_up_exact_accumulation_may_drop_out():
    check_layers(with_layer(nn.Dropout(0.1)), recipe(grad_accum_steps=2, exact_accumulation=False), 1)


class SomeWindows:
    too_short, sources = 0, ()

    def __len__(self) -> int:
        return 100


def said(**fields: object) -> str:
    recipe = Recipe.model_validate(fields)
    return described(recipe, SomeWindows(), 10, build_learner(recipe), ranks=1, device="cpu")


def test_the_start_says_what_keeps_latents_from_collapse_and_that_nothing_does():
    assert "forecast (forecast), spread (vicreg); against collapse: spread (vicreg)" in said()
    assert "against collapse: nothing;" in said(objectives={"forecast": {"kind": "forecast"}})


def test_the_start_counts_the_tokens_of_a_window_of_any_family():
    assert "12,288,000 tokens" in said(train={"max_steps": 500})  # 500 x 64 windows x 24 frames x 4 x 4 patches
    masked = {"model": {"kind": "masked"}, "objectives": {"forecast": {"kind": "forecast", "distance": "l1"}}}
    assert "6,144,000 tokens" in said(**masked, train={"max_steps": 500})  # tubelets of two frames


def test_the_start_says_what_is_lost_with_exact_accumulation():
    assert "exact_accumulation" not in said(train={"grad_accum_steps": 4})
    assert "statistics are those of 16 windows, not of 64" in said(train={"grad_accum_steps": 4, "exact_accumulation": False})


def clips(split: str, *sizes_px: tuple[int, int]) -> list[Clip]:
    """Of two seconds each."""
    return [
        Clip(str(i), f"{i}.mp4", None, 0.0, 2.0, 12.0, 24, width, height, 0, "h264", split, None, None, "test", str(i))
        for i, (width, height) in enumerate(sizes_px)
    ]


def test_the_start_counts_training_clips_that_are_smaller_than_the_model_sees(tmp_path: Path):
    """By their short side; one that is just as large is not enlarged, and held-out ones are not spoken of."""
    films = {"a": [(64, 64), (320, 63), (62, 100)], "b": [(640, 480), (10, 10)]}
    for name, sizes_px in films.items():
        rows = [*clips("train", *sizes_px), *clips("val", (8, 8))]
        write_manifest(tmp_path / f"{name}.parquet", rows, command="test", config={})
    data = DataConfig(manifest=tuple(str(tmp_path / f"{name}.parquet") for name in films))

    def start(size_px: int) -> str:
        recipe = Recipe.model_validate(
            {"window": {"size_px": size_px}, "model": {"kind": "causal", "encoder": {"patch_px": 8}}}
        )
        windows = Windows(data, recipe.window, "train", 0, size_px)
        return described(recipe, windows, 10, build_learner(recipe), ranks=1, device="cpu")

    assert "3 of 5 clips are smaller than these 64 px" in start(64)
    assert "enlarged" not in start(8)
