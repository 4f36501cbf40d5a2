"""The summary of a run, and the refusal of layers that make a loss inexact."""

from pathlib import Path

import pytest
from torch import nn

from worldmodel.config import ConfigError
from worldmodel.data.loader import DataConfig, WindowDataset
from worldmodel.manifest import Clip, write_manifest
from worldmodel.recipe import Recipe
from worldmodel.runs import pre_run_checks
from worldmodel.runs.pre_run_checks import check_layers, describe_run
from worldmodel.training.setup import build_learner


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
def test_layers_that_depend_on_the_division_of_a_batch_are_refused_and_named(layer: nn.Module, micros: int, ranks: int):
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
def test_layers_that_do_not_depend_on_it_are_accepted(layer: nn.Module, micros: int, ranks: int):
    check_layers(with_layer(layer), recipe(grad_accum_steps=micros), ranks)


def test_all_layers_of_this_project_are_accepted():
    check_layers(build_learner(recipe()), recipe(grad_accum_steps=4), 8)


def test_dropout_is_accepted_without_exact_accumulation():
    check_layers(with_layer(nn.Dropout(0.1)), recipe(grad_accum_steps=2, exact_accumulation=False), 1)


class SomeWindows:
    too_short, sources = 0, ()

    def __len__(self) -> int:
        return 100


def summary(**fields: object) -> str:
    recipe = Recipe.model_validate(fields)
    return describe_run(recipe, SomeWindows(), 10, build_learner(recipe), ranks=1, device="cpu")


def test_the_summary_names_anti_collapse_methods_or_their_absence():
    assert "forecast (forecast), spread (vicreg); against collapse: spread (vicreg)" in summary()
    assert "against collapse: nothing;" in summary(objectives={"forecast": {"kind": "forecast"}})


@pytest.mark.parametrize(
    ("precision", "fast", "warned"), [("bf16", False, True), ("bf16", True, False), ("fp32", False, False)]
)
def test_the_summary_warns_of_emulated_bfloat16(precision: str, fast: bool, warned: bool, monkeypatch):
    monkeypatch.setattr(pre_run_checks, "multiplies_bfloat16", lambda _: fast)
    assert ("set train.precision=auto" in summary(train={"precision": precision})) == warned


def test_the_summary_counts_tokens_for_every_model_family():
    assert "12,288,000 tokens" in summary(train={"max_steps": 500})  # 500 x 64 windows x 24 frames x 4 x 4 patches
    masked = {"model": {"kind": "masked"}, "objectives": {"forecast": {"kind": "forecast", "distance": "l1"}}}
    assert "6,144,000 tokens" in summary(**masked, train={"max_steps": 500})  # tubelets of two frames


def test_the_summary_says_that_exact_accumulation_is_off():
    assert "exact_accumulation" not in summary(train={"grad_accum_steps": 4})
    inexact = {"grad_accum_steps": 4, "exact_accumulation": False}
    assert "statistics are those of 16 windows, not of 64" in summary(train=inexact)


def clips(split: str, *sizes_px: tuple[int, int]) -> list[Clip]:
    """Make videos of two seconds."""
    return [
        Clip(str(i), f"{i}.mp4", None, 0.0, 2.0, 12.0, 24, width, height, 0, "h264", split, None, None, "test", str(i))
        for i, (width, height) in enumerate(sizes_px)
    ]


def test_the_summary_counts_training_clips_smaller_than_a_window(tmp_path: Path):
    """The shorter side counts. Clips of equal size and held-out clips are not counted."""
    videos = {"a": [(64, 64), (320, 63), (62, 100)], "b": [(640, 480), (10, 10)]}
    for name, sizes_px in videos.items():
        rows = [*clips("train", *sizes_px), *clips("val", (8, 8))]
        write_manifest(tmp_path / f"{name}.parquet", rows, command="test", config={})
    data = DataConfig(manifest=tuple(str(tmp_path / f"{name}.parquet") for name in videos))

    def start(size_px: int) -> str:
        recipe = Recipe.model_validate(
            {"window": {"size_px": size_px}, "model": {"kind": "causal", "encoder": {"patch_px": 8}}}
        )
        windows = WindowDataset(data, recipe.window, "train", 0, size_px)
        return describe_run(recipe, windows, 10, build_learner(recipe), ranks=1, device="cpu")

    assert "3 of 5 clips are smaller than 64 px" in start(64)
    assert "enlarged" not in start(8)
