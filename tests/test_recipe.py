"""A recipe that cannot work is refused before any work; the shipped ones can."""

from pathlib import Path

import pytest

from worldmodel.config import ConfigError, load, parse, save
from worldmodel.models import build_model
from worldmodel.recipe import Recipe, changed_fields

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_come_back_equal(path: Path, tmp_path: Path):
    recipe = load(Recipe, path)
    save(recipe, tmp_path / "recipe.yaml")
    assert load(Recipe, tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"train": {"updates": 100}, "optim": {"warmup_updates": 100}}, "never leave its warm-up"),
        (
            {"window": {"frames": 25}, "model": {"kind": "causal", "encoder": {"frames_per_latent": 2}}},
            "not divisible by model.encoder.frames_per_latent 2",
        ),
        ({"window": {"size_px": 60}}, "window.size_px 60 is not divisible by model.encoder.patch_px 16"),
        ({"model": {"kind": "causal", "encoder": {"places_per_side": 3}}}, "does not divide the 4 x 4 patches"),
        ({"window": {"frames": 10}}, "reaches beyond the window"),
        ({"model": {"kind": "causal", "rollout_context": 22}}, "more than the window's 24 latent steps"),
        ({"model": {"kind": "causal", "predictor": {"width": 12, "heads": 4}}}, "rotary positions need an even number"),
        ({"train": {"micro_batches": 7}}, "not divisible by train.micro_batches 7"),
        ({"processes": 3}, "processes 3"),
        ({"checkpoint": {"every": 300}}, "not a multiple of health.every"),
        ({"objectives": {"spread": {"kind": "vicreg"}}}, "none of them is a forecast"),
        (
            {"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [1, 2]}}},
            "has 2 weights for model.predictor.horizons 10",
        ),
        ({"model": {"kind": "causal", "distance": "l1"}}, "surprise would be measured otherwise"),
        ({"model": {"encoder": {}}}, "model.kind is missing; expected causal or masked"),
        ({"model": {"kind": "masked"}, "window": {"frames": 2}}, "not at least twice model.encoder.frames_per_latent 2"),
        ({"model": {"kind": "masked", "masks": [{"blocks": 1, "area": 0.9}]}}, "cover all 4 x 4 places"),
        ({"model": {"kind": "masked", "predictor": {"mask_tokens": 1}}}, "less than the 2 masks"),
        (
            {
                "model": {"kind": "masked"},
                "objectives": {"forecast": {"kind": "forecast", "distance": "l1", "horizon_weights": [1, 2]}},
            },
            "has no horizon; leave it out",
        ),
        ({"data": {"manifest": ["a", "b"], "weights": [1]}}, "1 weights for 2 manifests"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(fields: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        parse(Recipe, fields, "x.yaml")


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, {"window": {"size_px": 60, "frames": 10}, "train": {"micro_batches": 7}}, "x.yaml")
    text = str(caught.value)
    assert all(word in text for word in ("60", "beyond the window", "micro_batches 7"))


def test_what_changed_is_named_and_what_does_not_matter_is_not():
    old = parse(Recipe, {}, "x")
    new = parse(Recipe, {"optim": {"lr": 2e-3}, "data": {"workers": 7}, "run": "elsewhere"}, "x")
    assert changed_fields(old, new) == ["optim.lr: 0.001 -> 0.002"]


@pytest.mark.parametrize(("name", "millions"), [("demo", 1.01), ("vit_s", 31), ("vit_b", 105)])
def test_presets_have_the_size_their_name_says(name: str, millions: float):
    recipe = load(Recipe, next(path for path in CONFIGS if path.stem == name))
    count = sum(p.numel() for p in build_model(recipe.model, recipe.window).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.15)
