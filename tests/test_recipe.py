"""A recipe that cannot work is refused before any work; the shipped ones can."""

from pathlib import Path

import pytest

from worldmodel.config import ConfigError, load, parse, save
from worldmodel.models import build_model
from worldmodel.recipe import Recipe, changed_fields

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


FORECAST = {"kind": "forecast"}
TINY = {"predictor": {"horizons": 1}, "rollout_steps": 0}


def with_objective(
    kind: str, *, data: dict | None = None, window: dict | None = None, model: dict | None = None, **fields
) -> dict:
    """A recipe with a forecast and one more objective."""
    parts = {"data": data, "window": window, "model": model}
    objectives = {"forecast": FORECAST, "more": {"kind": kind, **fields}}
    return {"objectives": objectives, **{name: part for name, part in parts.items() if part is not None}}


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
            {"window": {"frames": 25}, "model": {"encoder": {"frames_per_latent": 2}}},
            "not divisible by model.encoder.frames_per_latent 2",
        ),
        ({"window": {"size_px": 60}}, "window.size_px 60 is not divisible by model.encoder.patch_px 16"),
        ({"model": {"encoder": {"places_per_side": 3}}}, "does not divide the 4 x 4 patches"),
        ({"window": {"frames": 10}}, "reaches beyond the window"),
        ({"model": {"predictor": {"token_side": 2}}}, "token_side 2 does not divide"),
        ({"model": {"rollout_context": 22}}, "more than the window's 24 latent steps"),
        ({"model": {"predictor": {"width": 12, "heads": 4}}}, "rotary positions need an even number"),
        ({"train": {"micro_batches": 7}}, "not divisible by train.micro_batches 7"),
        ({"processes": 3}, "processes 3"),
        ({"checkpoint": {"every": 300}}, "not a multiple of health.every"),
        ({"optim": {"kind": "muon"}, "train": {"parallel": "fsdp2"}}, "turns whole matrices"),
        ({"objectives": {"spread": {"kind": "vicreg"}}}, "none of them is a forecast"),
        (
            {"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [1, 2]}}},
            "has 2 weights for model.predictor.horizons 10",
        ),
        ({"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [0] * 10}}}, "are all 0"),
        ({"model": {"distance": "l1"}}, "surprise would be measured otherwise"),
        (with_objective("straightening", window={"frames": 2}, model=TINY), "takes 3 latent steps; the window has 2"),
        (with_objective("temporal_similarity", window={"frames": 1}, model=TINY), "the window is 1 latent step"),
        (with_objective("info_nce", data={"batch_size": 1}), "asks for other clips, but there is one at a time"),
        (
            {**with_objective("info_nce", data={"batch_size": 4}), "train": {"micro_batches": 4, "exact_accumulation": False}},
            "asks for other clips, but there is one at a time",
        ),
        (with_objective("info_nce", window={"frames": 2}, model=TINY), "has one that can be forecast"),
        (with_objective("sigreg", moments_apart=True, data={"batch_size": 1}), "has one sample of each place"),
        (with_objective("visreg", data={"batch_size": 1}, window={"frames": 1}, model=TINY), "one latent step"),
        (with_objective("barlow", model={"encoder": {"latent_dim": 1}}), "the latents have 1"),
        (with_objective("vicreg", model={"encoder": {"latent_dim": 1}}), "set it to 0"),
        (with_objective("barlow", model={"normalise_latents": True}), "barlow does not see how much latents vary"),
        (with_objective("info_nce"), "set model.normalise_latents=true, or add"),
        (with_objective("sigreg", moments="apart"), "not a field of sigreg"),
        ({"objectives": {"spread": {"kind": "sigregg"}}}, "sigreg"),
        (
            {"model": {"target": {"kind": "frozen", "run": "x", "encoder": {"latent_dim": 8}}}},
            "model.encoder.latent_dim 32 is not that of the frozen teacher, 8",
        ),
        ({"data": {"manifest": ["a", "b"], "weights": [1]}}, "1 weights for 2 manifests"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(fields: dict, says: str):
    with pytest.raises(ConfigError, match=says):
        parse(Recipe, fields, "x.yaml")


@pytest.mark.parametrize(
    "fields",
    [
        with_objective("info_nce", model={"normalise_latents": True}),
        with_objective("barlow", model={"target": {"kind": "ema"}}),
        {"objectives": {"forecast": FORECAST, "a": {"kind": "barlow"}, "b": {"kind": "sigreg"}}},
    ],
)
def test_what_does_not_see_scale_is_welcome_where_something_else_holds_it(fields: dict):
    assert parse(Recipe, fields, "x.yaml").against_collapse()


def test_a_recipe_says_what_keeps_its_latents_from_collapse():
    assert parse(Recipe, {"objectives": {"forecast": FORECAST}}, "x").against_collapse() == []
    assert parse(Recipe, with_objective("straightening"), "x").against_collapse() == []
    assert parse(Recipe, with_objective("sigreg", model={"target": {"kind": "ema"}}), "x").against_collapse() == [
        "more (sigreg)",
        "targets of a teacher (ema)",
    ]


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, {"window": {"size_px": 60, "frames": 10}, "train": {"micro_batches": 7}}, "x.yaml")
    text = str(caught.value)
    assert all(word in text for word in ("60", "beyond the window", "micro_batches 7"))


def test_what_changed_is_named_and_what_does_not_matter_is_not():
    old = parse(Recipe, {}, "x")
    new = parse(Recipe, {"optim": {"lr": 2e-3}, "data": {"workers": 7}, "run": "elsewhere"}, "x")
    assert changed_fields(old, new) == ["optim.lr: 0.001 -> 0.002"]


@pytest.mark.parametrize(("name", "millions"), [("demo", 0.76), ("vit_s", 31), ("vit_b", 105)])
def test_presets_have_the_size_their_name_says(name: str, millions: float):
    recipe = load(Recipe, next(path for path in CONFIGS if path.stem == name))
    count = sum(p.numel() for p in build_model(recipe.model, recipe.window).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.15)
