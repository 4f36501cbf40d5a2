"""A recipe that cannot work is refused before any work; the shipped ones can."""

from pathlib import Path

import pytest

from worldmodel.config import ConfigError, load, parse, save, schema
from worldmodel.models import build_model
from worldmodel.recipe import DEMO, Recipe, changed_fields, main, read_recipe

ABLATION = DEMO.parent / "ablation.yaml"  # no recipe: of several
CONFIGS = sorted(set(DEMO.parent.glob("*.yaml")) - {ABLATION})

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


PAST = {
    "masks": [{"blocks": 0, "visible_time_fraction": [0.3, 0.7]}]
}  # everything is seen of a clip's beginning, nothing of its end


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_come_back_equal(path: Path, tmp_path: Path):
    recipe = load(Recipe, path)
    save(recipe, tmp_path / "recipe.yaml")
    assert load(Recipe, tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"train": {"max_steps": 100}, "optim": {"warmup_steps": 100}}, "never leave its warm-up"),
        (
            {"window": {"frames": 25}, "model": {"kind": "causal", "encoder": {"tubelet_size": 2}}},
            "not divisible by model.encoder.tubelet_size 2",
        ),
        ({"window": {"size_px": 60}}, "window.size_px 60 is not divisible by model.encoder.patch_px 16"),
        ({"model": {"kind": "causal", "encoder": {"latent_grid": 3}}}, "does not divide the 4 x 4 patches"),
        ({"window": {"frames": 10}}, "reaches beyond the window"),
        ({"model": {"kind": "causal", "predictor": {"patch_merge": 2}}}, "patch_merge 2 does not divide"),
        ({"model": {"kind": "causal", "rollout_context": 22}}, "more than the window's 24 latent steps"),
        ({"model": {"kind": "causal", "predictor": {"width": 12, "heads": 4}}}, "rotary positions need an even number"),
        ({"train": {"grad_accum_steps": 7}}, "not divisible by train.grad_accum_steps 7"),
        ({"processes": 3}, "processes 3"),
        ({"checkpoint": {"every": 300}}, "not a multiple of health.every"),
        ({"optim": {"kind": "muon"}, "train": {"parallel": "fsdp2"}}, "turns whole matrices"),
        ({"objectives": {"spread": {"kind": "vicreg"}}}, "none of them is a forecast"),
        (
            {"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [1, 2]}}},
            "has 2 weights for model.predictor.horizons 10",
        ),
        ({"objectives": {"forecast": {"kind": "forecast", "horizon_weights": [0] * 10}}}, "are all 0"),
        ({"model": {"kind": "causal", "distance": "l1"}}, "surprise would be measured otherwise"),
        (with_objective("straightening", window={"frames": 2}, model=TINY), "takes 3 latent steps; 2 are seen"),
        (with_objective("temporal_similarity", window={"frames": 1}, model=TINY), "1 latent step is seen"),
        (with_objective("info_nce", data={"batch_size": 1}), "asks for other clips, but there is one at a time"),
        (
            {
                **with_objective("info_nce", data={"batch_size": 4}),
                "train": {"grad_accum_steps": 4, "exact_accumulation": False},
            },
            "asks for other clips, but there is one at a time",
        ),
        (with_objective("info_nce", window={"frames": 2}, model=TINY), "has one that can be predicted"),
        (with_objective("sigreg", per_timestep=True, data={"batch_size": 1}), "has one sample of each place"),
        (with_objective("visreg", data={"batch_size": 1}, window={"frames": 1}, model=TINY), "one latent step"),
        (with_objective("barlow", model={"kind": "causal", "encoder": {"latent_dim": 1}}), "the latents have 1"),
        (with_objective("vicreg", model={"kind": "causal", "encoder": {"latent_dim": 1}}), "set it to 0"),
        (
            with_objective("barlow", model={"kind": "causal", "normalise_latents": True}),
            "barlow does not see how much latents vary",
        ),
        (with_objective("info_nce"), "set model.normalise_latents=true, or add"),
        (with_objective("sigreg", moments="apart"), "not a field of sigreg"),
        ({"objectives": {"spread": {"kind": "sigregg"}}}, "sigreg"),
        (
            {"model": {"kind": "causal", "target": {"kind": "frozen", "run": "x", "encoder": {"latent_dim": 8}}}},
            "model.encoder.latent_dim 32 is not that of the frozen teacher, 8",
        ),
        (
            {"model": {"kind": "causal", "target": {"kind": "frozen", "run": "x"}, "rollout_steps": 0}},
            "before they can be fed back; give it 1 or more",
        ),
        (masked("forecast", distance="l1", horizon_weights=[1, 2]), "forecasts of this model have no horizons"),
        (masked("barlow", model={"target": {"kind": "shared"}}), "barlow does not see how much latents vary"),
        (masked("info_nce", model=PAST), "has one that can be predicted"),
        (masked("straightening", model=PAST, window={"frames": 6, "size_px": 64}), "takes 3 latent steps; 2 are seen"),
        (masked(model=PAST, window={"frames": 4, "size_px": 64}), "1 latent step is seen"),
        (
            masked(model={"target": {"kind": "frozen", "run": "x", "encoder": {"width": 48}}}),
            "model.encoder.width 96 is not that of the frozen teacher, 48",
        ),
        ({"model": {"encoder": {}}}, "model.kind is missing; expected causal or masked"),
        ({"model": {"kind": "masked"}, "window": {"frames": 2}}, "not at least twice model.encoder.tubelet_size 2"),
        ({"model": {"kind": "masked", "masks": [{"blocks": 1, "area": 0.9}]}}, "cover all 4 x 4 places"),
        ({"model": {"kind": "masked", "predictor": {"mask_tokens": 1}}}, "less than the 2 masks"),
        (
            {
                "model": {"kind": "masked"},
                "objectives": {"forecast": {"kind": "forecast", "distance": "l1", "horizon_weights": [1, 2]}},
            },
            "have no horizons; leave it out",
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
        with_objective("info_nce", model={"kind": "causal", "normalise_latents": True}),
        with_objective("barlow", model={"kind": "causal", "target": {"kind": "ema"}}),
        {"objectives": {"forecast": FORECAST, "a": {"kind": "barlow"}, "b": {"kind": "sigreg"}}},
    ],
)
def test_what_does_not_see_scale_is_welcome_where_something_else_holds_it(fields: dict):
    assert parse(Recipe, fields, "x.yaml").against_collapse()


@pytest.mark.parametrize(
    "fields",
    [
        *(masked(kind) for kind in ("vicreg", "barlow", "info_nce", "sigreg", "visreg", "straightening")),
        masked("info_nce", model={"target": {"kind": "shared"}}),  # targets are layer-normalised: angles are all there is
        *(masked(kind, model={"target": {"kind": "pixels"}}) for kind in ("barlow", "info_nce")),
        masked("info_nce", model=PAST, other_times=False),
        masked("vicreg", temporal_std_weight=1, model=PAST),
    ],
)
def test_objectives_work_on_what_a_masked_model_sees(fields: dict):
    assert parse(Recipe, fields, "x.yaml").against_collapse()


def test_a_recipe_says_what_keeps_its_latents_from_collapse():
    assert parse(Recipe, {"objectives": {"forecast": FORECAST}}, "x").against_collapse() == []
    assert parse(Recipe, with_objective("straightening"), "x").against_collapse() == []
    taught = with_objective("sigreg", model={"kind": "causal", "target": {"kind": "ema"}})
    assert parse(Recipe, taught, "x").against_collapse() == ["more (sigreg)", "targets of a teacher (ema)"]
    assert parse(Recipe, masked(model={"target": {"kind": "pixels"}}), "x").against_collapse() == ["targets that are pixels"]


def test_all_problems_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, {"window": {"size_px": 60, "frames": 10}, "train": {"grad_accum_steps": 7}}, "x.yaml")
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


def test_what_show_prints_is_the_recipe_and_explains_it(capsys: pytest.CaptureFixture, tmp_path: Path):
    assert main(["show", str(DEMO), "seed=3"]) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert load(Recipe, tmp_path / "shown.yaml") == load(Recipe, DEMO, ["seed=3"])
    lines = (tmp_path / "shown.yaml").read_text(encoding="utf-8").splitlines()
    (above,) = [lines[i - 1] for i, line in enumerate(lines) if line.startswith("  min_skill:")]
    assert above.startswith("  # Mean skill over horizons that counts as more than none")
    assert "    std_weight: 25.0  # pushes each feature's standard deviation up to `margin` (eq. 1)" in lines


def test_show_takes_the_demo_where_no_file_is_named_as_training_does(capsys: pytest.CaptureFixture):
    assert main(["show", "train.max_steps=300", "seed=3"]) == 0
    said = capsys.readouterr()
    assert "\n  updates: 300  # steps of the optimizer" in said.out
    assert "\nseed: 3  #" in said.out
    assert f"no recipe given: this is {DEMO}" in said.err


def test_every_field_says_what_it_means():
    """Parts are explained by their class, and what `kind` chooses by the class that it chooses."""
    found = schema(Recipe)
    classes = {"Recipe": found, **found["$defs"]}
    silent = [
        f"{name}.{field}"
        for name, class_ in classes.items()
        for field, told in class_.get("properties", {}).items()
        if not (told.get("description") or "$ref" in told or "const" in told or "discriminator" in told)
    ]
    assert silent == []
    assert [name for name, class_ in classes.items() if not class_.get("description")] == []


def test_a_file_of_several_recipes_says_which_command_it_is_for():
    with pytest.raises(ConfigError) as caught:
        read_recipe(ABLATION, ["train.max_steps=300"])
    assert len(caught.value.problems) == 1
    assert "`python -m eval ablate`" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("updats", "train.max_steps"),  # not data, which is a field of the root
        ("batch_sise", "data.batch_size"),
        ("trian", "train"),
        ("window_", "window"),  # not health.windows
        ("lr", "optim.lr"),
    ],
)
def test_a_name_misspelt_or_misplaced_at_the_root_is_found_at_any_depth(written: str, meant: str):
    with pytest.raises(ConfigError, match=rf"{written} is not a field of Recipe; did you mean {meant}\?$"):
        parse(Recipe, {written: 3}, "x")


def test_help_shows_both_commands(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "python -m worldmodel.recipe show [FILE] [a.b=value ...]     the complete recipe" in said
    assert "python -m worldmodel.recipe schema " in said
