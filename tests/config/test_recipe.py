"""A recipe that cannot work is refused before training; the shipped recipes are valid."""

from pathlib import Path

import pytest

from worldmodel.config import ConfigError, json_schema, load_config, parse_config, save_config
from worldmodel.models import build_model
from worldmodel.recipe import DEMO_RECIPE, Recipe, changed_fields, main, read_recipe

SWEEP = DEMO_RECIPE.parent / "sweeps" / "anti_collapse.yaml"  # not a recipe: it trains variants of one
CONFIGS = sorted(DEMO_RECIPE.parent.glob("*.yaml"))

FORECAST = {"kind": "forecast"}
TINY = {"kind": "causal", "predictor": {"horizons": 1}, "rollout_steps": 0}


def with_objective(
    kind: str, *, data: dict | None = None, window: dict | None = None, model: dict | None = None, **fields
) -> dict:
    """A recipe with a forecast and one more objective."""
    parts = {"data": data, "window": window, "model": model}
    objectives = {"forecast": FORECAST, "more": {"kind": kind, **fields}}
    return {"objectives": objectives, **{name: part for name, part in parts.items() if part is not None}}


def masked(kind: str = "temporal_similarity", *, model: dict | None = None, window: dict | None = None, **fields) -> dict:
    """A masked model with a forecast and one more objective."""
    objectives = {"forecast": {**FORECAST, "distance": "l1"}, "more": {"kind": kind, **fields}}
    window = window or {"frames": 24, "size_px": 64}
    return {"objectives": objectives, "model": {"kind": "masked", **(model or {})}, "window": window}


PAST = {"masks": [{"blocks": 0, "visible_time_fraction": [0.3, 0.7]}]}  # only the beginning of a clip is visible


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_come_back_equal(path: Path, tmp_path: Path):
    recipe = load_config(Recipe, path)
    save_config(recipe, tmp_path / "recipe.yaml")
    assert load_config(Recipe, tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": {"max_steps": 100}, "optim": {"warmup_steps": 100}}, "warm-up of the learning rate would never end"),
        (
            {"window": {"frames": 25}, "model": {"kind": "causal", "encoder": {"tubelet_size": 2}}},
            "not divisible by model.encoder.tubelet_size 2",
        ),
        ({"window": {"size_px": 60}}, "window.size_px 60 is not divisible by model.encoder.patch_px 16"),
        ({"model": {"kind": "causal", "encoder": {"latent_grid": 3}}}, "does not divide the 4 x 4 patches"),
        ({"window": {"frames": 10}}, "exceeds the window"),
        ({"model": {"kind": "causal", "predictor": {"patch_merge": 2}}}, "patch_merge 2 does not divide"),
        ({"model": {"kind": "causal", "rollout_context": 22}}, "more than the window's 24 latent steps"),
        ({"model": {"kind": "causal", "rollouts": 18}}, "at most 17 rollouts of 4 steps begin at different moments"),
        ({"model": {"kind": "causal", "predictor": {"width": 12, "heads": 4}}}, "rotary positions need an even number"),
        ({"train": {"grad_accum_steps": 7}}, "not divisible by train.grad_accum_steps 7"),
        ({"processes": 3}, "processes 3"),
        ({"checkpoint": {"every": 300}}, "not a multiple of health.every"),
        ({"objectives": {"spread": {"kind": "vicreg"}}}, "none of them is a forecast"),
        (
            {"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [1, 2]}}},
            "has 2 weights for model.predictor.horizons 10",
        ),
        ({"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [0] * 10}}}, "are all 0"),
        ({"model": {"kind": "causal", "distance": "l1"}}, "surprise would use another distance"),
        (with_objective("straightening", window={"frames": 2}, model=TINY), "needs 3 latent steps; the encoder sees 2"),
        (with_objective("temporal_similarity", window={"frames": 1}, model=TINY), "the encoder sees 1 latent step"),
        (with_objective("info_nce", data={"batch_size": 1}), "needs at least 2 clips per global batch, but there is 1"),
        (
            {
                **with_objective("info_nce", data={"batch_size": 4}),
                "train": {"grad_accum_steps": 4, "exact_accumulation": False},
            },
            "needs at least 2 clips per global batch, but there is 1",
        ),
        (with_objective("info_nce", window={"frames": 2}, model=TINY), "needs at least 2 target time steps"),
        (with_objective("sigreg", per_timestep=True, data={"batch_size": 1}), "needs at least 2 samples of each spatial token"),
        (with_objective("visreg", data={"batch_size": 1}, window={"frames": 1}, model=TINY), "needs at least 2 latent steps"),
        (with_objective("barlow", model={"kind": "causal", "encoder": {"latent_dim": 1}}), "the latents have 1"),
        (with_objective("vicreg", model={"kind": "causal", "encoder": {"latent_dim": 1}}), "set it to 0"),
        (
            with_objective("barlow", model={"kind": "causal", "normalise_latents": True}),
            "barlow does not constrain the scale of latents",
        ),
        (with_objective("info_nce"), "set model.normalise_latents=true, or add"),
        (with_objective("sigreg", moments="apart"), "not a field of sigreg"),
        ({"objectives": {"spread": {"kind": "sigregg"}}}, "sigreg"),
        (
            {"model": {"kind": "causal", "target": {"kind": "frozen", "run": "x", "encoder": {"latent_dim": 8}}}},
            "model.encoder.latent_dim is 32, the frozen teacher has 8",
        ),
        (
            {"model": {"kind": "causal", "target": {"kind": "frozen", "run": "x"}, "rollout_steps": 0}},
            "before they can be fed back; set it to 1 or more",
        ),
        (masked("forecast", distance="l1", horizon_weights=[1, 2]), "forecasts of this model have no horizons"),
        (masked("barlow", model={"target": {"kind": "shared"}}), "barlow does not constrain the scale of latents"),
        (masked("info_nce", model=PAST), "needs at least 2 target time steps"),
        (masked("straightening", model=PAST, window={"frames": 6, "size_px": 64}), "needs 3 latent steps; the encoder sees 2"),
        (masked(model=PAST, window={"frames": 4, "size_px": 64}), "the encoder sees 1"),
        (
            masked(model={"target": {"kind": "frozen", "run": "x", "encoder": {"width": 48}}}),
            "model.encoder.width is 96, the frozen teacher has 48",
        ),
        ({"model": {"encoder": {}}}, "model.kind is missing; expected causal or masked"),
        (
            {"model": {"kind": "masked"}, "window": {"frames": 2}},
            "window.frames 2 is not 4 or a larger multiple of model.encoder.tubelet_size 2",
        ),
        ({"model": {"kind": "masked", "masks": [{"blocks": 1, "area": 0.9}]}}, "cover all 4 x 4 tokens"),
        ({"model": {"kind": "masked", "predictor": {"mask_tokens": 1}}}, "less than the 2 masks"),
        (
            {
                "model": {"kind": "masked"},
                "objectives": {"forecast": {"kind": "forecast", "distance": "l1", "horizon_weights": [1, 2]}},
            },
            "have no horizons; remove it",
        ),
        ({"data": {"manifest": ["a", "b"], "weights": [1]}}, "1 weights for 2 manifests"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(fields: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        parse_config(Recipe, fields, "x.yaml")


@pytest.mark.parametrize(
    "fields",
    [
        with_objective("info_nce", model={"kind": "causal", "normalise_latents": True}),
        with_objective("barlow", model={"kind": "causal", "target": {"kind": "ema"}}),
        {"objectives": {"forecast": FORECAST, "a": {"kind": "barlow"}, "b": {"kind": "sigreg"}}},
    ],
)
def test_objectives_without_scale_are_accepted_where_something_else_constrains_it(fields: dict):
    assert parse_config(Recipe, fields, "x.yaml").anti_collapse_methods()


@pytest.mark.parametrize(
    "fields",
    [
        *(masked(kind) for kind in ("vicreg", "barlow", "info_nce", "sigreg", "visreg", "straightening")),
        masked("info_nce", model={"target": {"kind": "shared"}}),  # targets are layer-normalised, so only angles matter
        *(masked(kind, model={"target": {"kind": "pixels"}}) for kind in ("barlow", "info_nce")),
        masked("info_nce", model=PAST, other_times=False),
        masked("vicreg", temporal_std_weight=1, model=PAST),
    ],
)
def test_objectives_work_on_what_a_masked_model_sees(fields: dict):
    assert parse_config(Recipe, fields, "x.yaml").anti_collapse_methods()


def test_a_recipe_names_its_anti_collapse_methods():
    assert parse_config(Recipe, {"objectives": {"forecast": FORECAST}}, "x").anti_collapse_methods() == []
    assert parse_config(Recipe, with_objective("straightening"), "x").anti_collapse_methods() == []
    taught = with_objective("sigreg", model={"kind": "causal", "target": {"kind": "ema"}})
    assert parse_config(Recipe, taught, "x").anti_collapse_methods() == ["more (sigreg)", "targets of a teacher (ema)"]
    assert parse_config(Recipe, masked(model={"target": {"kind": "pixels"}}), "x").anti_collapse_methods() == [
        "targets that are pixels"
    ]


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_config(Recipe, {"window": {"size_px": 60, "frames": 10}, "train": {"grad_accum_steps": 7}}, "x.yaml")
    text = str(caught.value)
    assert all(word in text for word in ("60", "exceeds the window", "grad_accum_steps 7"))


def test_changed_fields_are_named_unless_they_do_not_change_the_result():
    old = parse_config(Recipe, {}, "x")
    new = parse_config(Recipe, {"optim": {"lr": 2e-3}, "data": {"workers": 7}, "run": "elsewhere"}, "x")
    assert changed_fields(old, new) == ["optim.lr: 0.001 -> 0.002"]


@pytest.mark.parametrize(("name", "millions"), [("demo", 0.76), ("vit_s", 31), ("vit_b", 105)])
def test_presets_have_the_size_their_name_says(name: str, millions: float):
    recipe = load_config(Recipe, next(path for path in CONFIGS if path.stem == name))
    count = sum(p.numel() for p in build_model(recipe.model, recipe.window).parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.15)


def test_show_prints_a_valid_recipe_with_descriptions(capsys: pytest.CaptureFixture, tmp_path: Path):
    assert main(["show", str(DEMO_RECIPE), "seed=3"]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_config(Recipe, tmp_path / "shown.yaml") == load_config(Recipe, DEMO_RECIPE, ["seed=3"])
    lines = (tmp_path / "shown.yaml").read_text(encoding="utf-8").splitlines()
    (above,) = [lines[i - 1] for i, line in enumerate(lines) if line.startswith("  collapse_std:")]
    assert above.startswith("  # ")
    assert "    std_weight: 25.0  # raises each feature's standard deviation to `margin` (eq. 1)" in lines


def test_show_without_a_file_uses_the_recipe_of_the_demo(capsys: pytest.CaptureFixture):
    assert main(["show", "train.max_steps=300", "seed=3"]) == 0
    output = capsys.readouterr()
    assert "\n  max_steps: 300  # training steps (optimizer steps), each" in output.out
    assert "\nseed: 3  #" in output.out
    assert f"no recipe given; using {DEMO_RECIPE}" in output.err


def test_every_field_has_a_description():
    """A nested part is described by its class, and a union by the classes of its members."""
    found = json_schema(Recipe)
    classes = {"Recipe": found, **found["$defs"]}
    undescribed = [
        f"{name}.{field}"
        for name, class_ in classes.items()
        for field, found_field in class_.get("properties", {}).items()
        if not found_field.get("description") and not {"$ref", "const", "discriminator"} & found_field.keys()
    ]
    assert undescribed == []
    assert [name for name, class_ in classes.items() if not class_.get("description")] == []


def test_a_sweep_file_is_refused_with_the_command_it_is_for():
    with pytest.raises(ConfigError) as caught:
        read_recipe(SWEEP, ["train.max_steps=300"])
    assert len(caught.value.problems) == 1
    assert "`python -m eval sweep`" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "suggestion"),
    [
        ("max_stps", "train.max_steps"),
        ("batch_sise", "data.batch_size"),
        ("trian", "train"),
        ("window_", "window"),  # a field of the root has priority over health.windows
        ("lr", "optim.lr"),
    ],
)
def test_a_wrong_name_at_the_root_gets_a_suggestion_from_any_depth(written: str, suggestion: str):
    with pytest.raises(ConfigError, match=rf"{written} is not a field of Recipe; did you mean {suggestion}\?$"):
        parse_config(Recipe, {written: 3}, "x")


def test_help_shows_both_commands(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["--help"])
    output = capsys.readouterr().out
    assert "python -m worldmodel.recipe show [FILE] [a.b=value ...]   print the complete recipe" in output
    assert "python -m worldmodel.recipe schema " in output
