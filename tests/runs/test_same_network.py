"""`init_from: RUN` refuses a recipe whose network computes something else with the same tensors, and names what fits."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from worldmodel.checkpoint import CheckpointError, gather_tensors, load_model, save_checkpoint
from worldmodel.config import ConfigError, load_config
from worldmodel.config.config import dump_config
from worldmodel.export import main as export
from worldmodel.recipe import Recipe
from worldmodel.runs.initial_weights import check_initial_weights, load_initial_weights
from worldmodel.training.frozen_encoder import load_frozen_encoder, with_frozen_encoder
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import build_learner
from worldmodel.training.teacher import load_teacher, with_teacher

STATISTICS = {"actions_per_step": 1, "action_mean": [1.0, -1.0], "action_std": [2.0, 0.5], "action_names": ["x", "y"]}
PREDICTOR = {"width": 24, "depth": 1, "heads": 2}
MASKED = {
    "kind": "masked",
    "tiled_rotary": True,
    "encoder": {"patch_px": 8, "width": 24, "depth": 1, "heads": 2},
    "predictor": PREDICTOR,
    "lora": {"rank": 2, "alpha": 16},
}
CAUSAL = {
    "kind": "causal",
    "encoder": {"patch_px": 8, "width": 8, "depth": 1, "heads": 2, "latent_dim": 6, "latent_grid": 4, "head_width": 8},
    "predictor": {**PREDICTOR, "horizons": 2},
    "condition": {"kind": "added", "statistics": STATISTICS},
    "rollout_steps": 2,
    "rollout_context": 1,
}
FROZEN = {key: value for key, value in CAUSAL.items() if key != "encoder"}


def recipe(model: dict[str, Any], init_from: object) -> Recipe:
    is_masked = model["kind"] == "masked"
    distance = model.get("distance", "l1" if is_masked else "l2")
    return Recipe.model_validate(
        {
            "init_from": None if init_from is None else str(init_from),
            "window": {"frames": 8, "fps": 4, "size_px": 32},
            "augment": {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0},
            "model": model,
            "objectives": {"forecast": {"kind": "forecast", "distance": distance}},
            "decoder": {"max_steps": 0},
        }
    )


def changed(model: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {**model, first: changed(model[first], rest, value) if rest else value}


def save(folder: Path, given: Recipe, seed: int = 0) -> Path:
    """A run of these settings, with random weights and adapters."""
    torch.manual_seed(seed)
    learner = build_learner(given)
    with torch.no_grad():
        for name, value in learner.named_parameters():
            if value.requires_grad or "encoder.net" in name:
                value += 0.1 * torch.randn_like(value)
    tensors = gather_tensors(learner, build_optimizers(learner, given.optim))
    save_checkpoint(folder, tensors, {"step": 5, "recipe": given.model_dump(mode="json")})
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {model["kind"]: save(folder / model["kind"], recipe(model, "runs/x")) for model in (MASKED, CAUSAL)}


def refusal(given: Recipe) -> str:
    """The error before the model is built, which is also that of loading."""
    with pytest.raises(ConfigError) as early:
        check_initial_weights(given)
    with pytest.raises(ConfigError) as late:
        load_initial_weights(build_learner(given), given)
    assert str(early.value) == str(late.value)
    return str(early.value)


def loaded(given: Recipe):
    check_initial_weights(given)
    learner = build_learner(given)
    load_initial_weights(learner, given)
    return learner.model.eval()


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        (MASKED, "encoder.heads", 4),
        (MASKED, "encoder.mlp_ratio", 4.01),
        (MASKED, "predictor.heads", 4),
        (MASKED, "tiled_rotary", False),
        (MASKED, "lora.alpha", 64.0),
        (MASKED, "lora.rank", 4),
        (MASKED, "lora.targets", ["attention.qkv"]),
        (MASKED, "predictor.mask_tokens", 3),
        (CAUSAL, "encoder.heads", 4),
        (CAUSAL, "predictor.heads", 1),
        (CAUSAL, "predictor.horizons", 3),
        (CAUSAL, "normalise_latents", True),
        (CAUSAL, "condition.actions", "state_difference"),
        (CAUSAL, "condition.statistics.action_std", [2.0, 1.0]),
        (CAUSAL, "condition.statistics.action_mean", [0.0, -1.0]),
        (CAUSAL, "condition.statistics.action_names", ["y", "x"]),
    ],
)
def test_a_setting_that_changes_what_the_weights_compute_is_refused_with_the_override_that_fits(
    runs, tmp_path: Path, model: dict, path: str, value: object
):
    run = runs[model["kind"]]
    given = recipe(changed(model, path, value), run)
    message = refusal(given)
    overrides = shlex.split(re.search(r"; set (.*)$", message)[1])
    assert len(overrides) == 1
    (tmp_path / "x.yaml").write_text(dump_config(given))
    model_then = loaded(load_config(Recipe, tmp_path / "x.yaml", overrides))
    theirs = load_model(run)[0]
    frames = torch.randn(1, 8, 3, 32, 32)
    assert torch.equal(model_then.encode(frames), theirs.encode(frames))
    assert torch.equal(model_then.forecast(frames[:, :4], 2), theirs.forecast(frames[:, :4], 2))


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        (MASKED, "target", {"kind": "ema", "momentum": 0.9}),
        (MASKED, "distance", "l2"),
        (MASKED, "masks", [{"blocks": 1, "area": 0.3}, {"blocks": 1, "area": 0.5}]),
        (MASKED, "tokens_kept", 0.75),
        (MASKED, "activation_checkpointing", True),
        (CAUSAL, "rollout_steps", 1),
        (CAUSAL, "rollout_context", 2),
        (CAUSAL, "rollouts", 2),
        (CAUSAL, "target", {"kind": "shared", "stop_gradient": True}),
        (CAUSAL, "condition.statistics.clips", 7),
    ],
)
def test_a_setting_of_training_only_may_change(runs, model: dict, path: str, value: object):
    run = runs[model["kind"]]
    frames = torch.randn(1, 8, 3, 32, 32)
    ours, theirs = loaded(recipe(changed(model, path, value), run)), load_model(run)[0]
    assert torch.equal(ours.encode(frames), theirs.encode(frames))
    assert torch.equal(ours.forecast(frames[:, :4], 2), theirs.forecast(frames[:, :4], 2))


def test_pixels_are_no_latents_also_where_both_have_as_many_features(tmp_path: Path):
    """A tubelet of 8 x 8 px and 2 frames has 384 numbers; all tensors of both models then have the same shapes."""
    model = {**MASKED, "encoder": {**MASKED["encoder"], "width": 384, "heads": 4}, "lora": None}
    run = save(tmp_path / "run", recipe({**model, "target": {"kind": "pixels"}}, None))
    assert 'set \'model.target={"kind": "pixels"}\'' in refusal(
        recipe({**model, "target": {"kind": "shared", "stop_gradient": True}}, run)
    )


def test_the_teacher_of_another_encoder_starts_no_ema_teacher(tmp_path: Path):
    teacher = {**MASKED["encoder"], "tubelet_size": 2, "heads": 4, "mlp_ratio": 4.0}
    model = {**MASKED, "lora": None}
    run = save(tmp_path / "run", recipe({**model, "target": {"kind": "frozen", "run": "x", "encoder": teacher}}, None))
    assert "frozen teacher with another encoder than model.encoder" in refusal(recipe(model, run))


@pytest.mark.parametrize(("model", "other"), [(MASKED, CAUSAL), (CAUSAL, MASKED)])
def test_another_kind_of_model_is_refused_with_all_its_settings(runs, tmp_path: Path, model: dict, other: dict):
    given = recipe(model, runs[other["kind"]])
    message = refusal(given)
    assert f"set model.kind={other['kind']} " in message
    assert "model.encoder.patch_px=8 " in message


def test_a_run_with_adapters_is_exported_before_a_model_without_them_starts_from_it(runs, tmp_path: Path):
    given = recipe({**MASKED, "lora": None}, runs["masked"])
    message = refusal(given)
    assert "\n" not in message
    assert (
        f"export it with `python -m worldmodel.export {runs['masked']} --to model:FOLDER` and set init_from=FOLDER" in message
    )
    assert export([str(runs["masked"]), "--to", f"model:{tmp_path / 'merged'}"]) == 0
    model, frames = loaded(recipe({**MASKED, "lora": None}, tmp_path / "merged")), torch.randn(1, 8, 3, 32, 32)
    assert torch.equal(model.encoder(frames), load_model(runs["masked"])[0].encoder(frames))


def test_the_adapters_of_a_run_are_merged_where_its_encoder_is_used_frozen(tmp_path: Path):
    run = save(tmp_path / "run", recipe({**MASKED, "target": {"kind": "shared", "stop_gradient": True}}, "runs/x"))
    given = with_frozen_encoder(recipe({**FROZEN, "frozen_encoder": {"source": str(run)}}, None), None)
    learner = build_learner(given)
    load_frozen_encoder(learner.model, given)
    still, theirs = torch.randn(1, 1, 3, 32, 32), load_model(run)[0]
    expected = torch.layer_norm(theirs.encoder(still.expand(1, 2, -1, -1, -1)), (24,))
    torch.testing.assert_close(learner.model.encoder(still)[:, 0], expected)


def test_a_frozen_teacher_with_adapters_is_exported_first(tmp_path: Path):
    plain = {**MASKED, "target": {"kind": "shared", "stop_gradient": True}}
    run, merged = save(tmp_path / "run", recipe(plain, "runs/x")), tmp_path / "merged"

    def student(teacher: Path) -> Recipe:
        return with_teacher(recipe({**MASKED, "lora": None, "target": {"kind": "frozen", "run": str(teacher)}}, None), None)

    with pytest.raises(ConfigError, match=r"has LoRA adapters; export it .*, and set model\.target\.run=FOLDER"):
        student(run)
    assert export([str(run), "--to", f"model:{merged}"]) == 0
    given, frames = student(merged), torch.randn(1, 8, 3, 32, 32)
    model = build_learner(given).model
    load_teacher(model, given)
    assert torch.equal(model.teacher(frames), load_model(run)[0].encoder(frames))


def test_a_model_with_adapters_starts_from_a_run_without_them(tmp_path: Path):
    run = save(tmp_path / "run", recipe({**MASKED, "lora": None}, None))
    model, frames = loaded(recipe(MASKED, run)), torch.randn(1, 8, 3, 32, 32)
    assert torch.equal(model.encoder(frames), load_model(run)[0].encoder(frames))


def test_a_run_on_the_latents_of_another_frozen_encoder_of_the_same_sizes_is_refused(tmp_path: Path):
    """Its weights would silently replace those of the encoder that the recipe names."""
    small = {key: value for key, value in CAUSAL.items() if key != "condition"}
    for name, seed in (("a", 0), ("b", 1)):
        save(tmp_path / name, recipe(small, None), seed)

    def on_latents_of(name: str, init_from: Path | None = None) -> Recipe:
        frozen = {"source": str(tmp_path / name)}
        return with_frozen_encoder(recipe({**FROZEN, "frozen_encoder": frozen}, init_from), None)

    given = on_latents_of("a")
    torch.manual_seed(2)
    learner = build_learner(given)
    load_frozen_encoder(learner.model, given)
    tensors = gather_tensors(learner, build_optimizers(learner, given.optim))
    save_checkpoint(tmp_path / "run", tensors, {"step": 5, "recipe": given.model_dump(mode="json")})
    for name, fits in (("a", True), ("b", False)):
        given = on_latents_of(name, tmp_path / "run")
        check_initial_weights(given)
        learner = build_learner(given)
        load_frozen_encoder(learner.model, given)
        if fits:
            load_initial_weights(learner, given)
        else:
            with pytest.raises(CheckpointError, match=r"another frozen encoder than .*/b \(position differs\)"):
                load_initial_weights(learner, given)


def test_a_frozen_encoder_on_one_side_only_is_refused(runs, tmp_path: Path):
    assert "set model.frozen_encoder=null model.encoder.patch_px=8" in str(
        check_refused(recipe({**FROZEN, "frozen_encoder": {"source": str(runs["causal"])}}, runs["causal"]))
    )
    given = with_frozen_encoder(recipe({**FROZEN, "frozen_encoder": {"source": str(runs["causal"])}}, None), None)
    run = save(tmp_path / "run", given)
    assert f'\'model.frozen_encoder={{"source": "{runs["causal"]}"}}\'' in str(check_refused(recipe(CAUSAL, run)))


def check_refused(given: Recipe) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        check_initial_weights(given)
    return error.value
