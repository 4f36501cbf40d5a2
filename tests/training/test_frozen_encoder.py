"""A frozen outside encoder with a predictor that takes actions: the encoder is unchanged, and stored latents change no bit."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from worldmodel.checkpoint import find_checkpoint, gather_tensors, load_model, save_checkpoint, write_state
from worldmodel.config import ConfigError, parse_config
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.recipe import Recipe
from worldmodel.runs.model_card import portable_recipe
from worldmodel.runs.run_data import resolve_paths
from worldmodel.training.frozen_encoder import load_frozen_encoder, use_latent_cache, with_frozen_encoder
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import build_learner
from worldmodel.training.target_cache import TargetCache

SIZE, FRAMES = 32, 4
STATISTICS = {"actions_per_step": 1, "action_mean": (1.0, -1.0), "action_std": (2.0, 0.5), "action_names": ("x", "y")}
SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
PUBLISHED = {
    "Dinov2": SIZES,
    "VideoMAE": {**SIZES, "num_frames": 4, "intermediate_size": 24},
    "VJEPA2": {
        **{k: v for k, v in SIZES.items() if k != "image_size"}, "crop_size": SIZE, "frames_per_clip": 4,
        "pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "pred_num_mask_tokens": 2,
    },
}  # fmt: skip
RUNS = {
    "causal": {"kind": "causal", "encoder": {"patch_px": 8, "width": 8, "heads": 2, "latent_dim": 6, "latent_grid": 2}},
    "masked": {"kind": "masked", "encoder": {"patch_px": 8, "width": 24, "depth": 1, "heads": 2}, "target": {"kind": "ema"}},
}


@pytest.fixture(scope="module", params=[*PUBLISHED, *RUNS])
def source(request, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param in PUBLISHED:
        import transformers

        model = getattr(transformers, f"{request.param}Model")
        model(getattr(transformers, f"{request.param}Config")(**PUBLISHED[request.param])).save_pretrained(folder)
        return f"hf:{folder}"
    model, distance = RUNS[request.param], "l1" if request.param == "masked" else "l2"
    fields = {"model": model, "window": {"frames": 24, "size_px": SIZE}}
    given = Recipe.model_validate({**fields, "objectives": {"forecast": {"kind": "forecast", "distance": distance}}})
    learner = build_learner(given)
    tensors = gather_tensors(learner, build_optimizers(learner, given.optim))
    save_checkpoint(folder, tensors, {"step": 5, "recipe": given.model_dump(mode="json")})
    return str(folder)


def recipe(source: str, **frozen: object) -> Recipe:
    return Recipe.model_validate(
        {
            "window": {"frames": FRAMES, "fps": 5, "size_px": SIZE},
            "augment": {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0},
            "model": {
                "kind": "causal",
                "frozen_encoder": {"source": source, **frozen},
                "predictor": {"width": 16, "depth": 1, "heads": 2, "horizons": 1},
                "condition": {"kind": "added", "statistics": STATISTICS},
                "rollout_steps": 2,
                "rollout_context": 1,
            },
            "objectives": {"forecast": {"kind": "forecast"}, "actions": {"kind": "idm"}},
            "decoder": {"max_steps": 0},
        }
    )


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    frames = torch.randint(0, 256, (2, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    frames[1, 2:] = frames[0, :2]  # frames that come again
    uniforms, actions = (torch.rand(*shape, generator=generator) for shape in ((2, UNIFORMS_PER_SAMPLE), (2, FRAMES - 1, 2)))
    return Batch(frames, uniforms, torch.arange(2), actions=actions)


def trained(given: Recipe, cache: TargetCache | None = None):
    """Two steps of training."""
    torch.manual_seed(1)
    learner = build_learner(given)
    load_frozen_encoder(learner.model, given)
    learner.model.encoder.cache = cache
    optimizers, losses = build_optimizers(learner, given.optim), []
    for number in range(2):
        loss = learner(batch(number))
        loss.total.backward()
        losses.append(loss.total.item())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return learner, losses


def published(source: str):
    return load_pretrained(source.removeprefix("hf:")) if source.startswith("hf:") else load_model(source)[0]


def test_two_updates_train_the_predictor_and_leave_the_encoder_as_published(source: str):
    given = with_frozen_encoder(recipe(source), None)
    torch.manual_seed(1)
    before = build_learner(given).model.predictor.state_dict()
    learner, _ = trained(given)
    model, other = learner.model, published(source)
    net = getattr(other, "teacher", None) or getattr(other, "encoder", other)
    weights = net.state_dict()
    assert model.encoder.net.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in model.encoder.net.state_dict().items())
    changed = {name for name, value in model.predictor.state_dict().items() if not torch.equal(value, before[name])}
    assert {"action.weight", "embed.weight", "head.2.weight"} <= changed
    assert not [name for name, value in model.named_parameters() if value.requires_grad and name.startswith("encoder.")]


def test_stored_latents_change_no_bit_of_the_loss_and_of_the_predictor(source: str, tmp_path: Path):
    given = with_frozen_encoder(recipe(source), None)
    learner, losses = trained(given)
    first, again = TargetCache(tmp_path), None
    for cache in (first, again):
        cache = cache if cache is not None else TargetCache(tmp_path)
        other, same = trained(given, cache)
        assert same == losses
        for (name, one), two in zip(learner.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(one, two), name
    assert (first.computed, cache.computed) == (16, 0)


def test_a_latent_sees_its_own_frame_only_in_every_batch(source: str):
    given = with_frozen_encoder(recipe(source), None)
    encoder = trained(given)[0].model.encoder
    frames = torch.randn(2, 3, 3, SIZE, SIZE)
    together = encoder(frames)
    assert torch.equal(encoder(frames[1:, 1:2]), together[1:, 1:2])
    fast = with_frozen_encoder(recipe(source, frames_at_once=4), None)
    torch.testing.assert_close(trained(fast)[0].model.encoder(frames), together, rtol=1e-5, atol=1e-5)


def test_a_checkpoint_needs_its_source_no_longer_and_another_source_is_refused(source: str, tmp_path: Path):
    given = with_frozen_encoder(recipe(source), None)
    learner, _ = trained(given)
    tensors = gather_tensors(learner, build_optimizers(learner, given.optim))
    save_checkpoint(tmp_path, tensors, {"step": 2, "recipe": given.model_dump(mode="json")})
    model, _ = load_model(tmp_path)
    frames, actions = model.normalise(batch(0).frames), batch(0).actions
    expected = learner.model.eval().rollout(frames[:, :2], 2, actions=actions)
    assert torch.equal(model.rollout(frames[:, :2], 2, actions=actions), expected)
    last = SimpleNamespace(state={"recipe": given.model_dump(mode="json")}, folder=tmp_path)
    assert with_frozen_encoder(recipe(source), last).model == given.model
    with pytest.raises(ConfigError, match=r"this run has .*, the recipe has elsewhere; start another run"):
        with_frozen_encoder(recipe("elsewhere"), last)


def test_the_cache_of_a_run_is_named_by_the_weights_and_is_limited(source: str, tmp_path: Path, capsys):
    given = with_frozen_encoder(recipe(source, cache=str(tmp_path), cache_gb=1e-9), None)
    learner, _ = trained(given)
    alone = SimpleNamespace(print=print, num_processes=1)
    use_latent_cache(SimpleNamespace(recipe=given, model=learner.model, accelerator=alone))
    assert "latents of 0 frames are stored in" in capsys.readouterr().out
    frames = learner.model.normalise(batch(0).frames)
    expected = learner.model.encode(frames)
    assert torch.equal(learner.model.encode(frames), expected)  # nothing was stored, so they were computed again
    assert learner.model.encoder.cache.computed == 16
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": {"forecast": {"kind": "forecast"}, "v": {"kind": "vicreg"}}}, "objectives: v would train the encoder"),
        ({"train": {"parallel": "fsdp2"}}, "model.frozen_encoder: train.parallel fsdp2"),
        ({"augment": {"crop_area_min": 0.5}}, "model.frozen_encoder.cache: augmentation gives a frame new pixels"),
    ],
)
def test_what_a_frozen_encoder_cannot_be_combined_with_is_refused(changes: dict, message: str):
    fields = {**recipe("runs/x", cache="cache").model_dump(mode="json"), **changes}
    with pytest.raises(ConfigError, match=message):
        parse_config(Recipe, fields, "x.yaml")


def test_a_source_that_is_missing_or_does_not_fit_is_a_config_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.frozen_encoder\.source: .*neither a run folder"):
        with_frozen_encoder(recipe(str(tmp_path)), None)
    given = recipe("hf:x").model_dump(mode="json")
    given["model"]["encoder"]["width"] = 128
    network = {"kind": "frames", "encoder": {"latent_dim": 6}, "size_px": SIZE, "normalise_latents": False}
    given["model"]["frozen_encoder"]["network"] = network
    last = SimpleNamespace(state={"recipe": given}, folder=tmp_path)
    with pytest.raises(ConfigError, match="describes a trained encoder"):
        with_frozen_encoder(Recipe.model_validate(given), last)


def test_paths_become_absolute_and_an_export_names_no_path_of_this_machine(tmp_path: Path, monkeypatch):
    (tmp_path / "dino").mkdir()
    monkeypatch.chdir(tmp_path)
    resolved = resolve_paths(recipe("hf:dino"), None)
    assert resolved.model.frozen_encoder.source == f"hf:{tmp_path / 'dino'}"
    assert resolve_paths(recipe("runs/x"), None).model.frozen_encoder.source == str(tmp_path / "runs/x")
    assert portable_recipe(resolved).model.frozen_encoder.source == "hf:dino"


# --- DINO, whose config is that of transformers ----------------------------------------------------------------------
@pytest.fixture
def dino(tmp_path: Path) -> Path:
    import transformers

    torch.manual_seed(0)
    folder = tmp_path / "secret-project" / "dino"
    transformers.Dinov2Model(transformers.Dinov2Config(**SIZES)).save_pretrained(folder)
    return folder


def saved_run(folder: Path, given: Recipe) -> Path:
    torch.manual_seed(1)
    learner = build_learner(given)
    load_frozen_encoder(learner.model, given)
    tensors = gather_tensors(learner, build_optimizers(learner, given.optim))
    save_checkpoint(folder, tensors, {"step": 2, "recipe": given.model_dump(mode="json")})
    return folder


def cache_folder_of(given: Recipe, capsys) -> str:
    torch.manual_seed(1)
    model = build_learner(given).model
    load_frozen_encoder(model, given)
    use_latent_cache(SimpleNamespace(recipe=given, model=model, accelerator=SimpleNamespace(print=print, num_processes=1)))
    return capsys.readouterr().out.rpartition(" ")[2]


def test_equal_encoders_at_two_paths_share_stored_latents_and_another_does_not(dino: Path, tmp_path: Path, capsys):
    copy, other = shutil.copytree(dino, tmp_path / "copy"), shutil.copytree(dino, tmp_path / "other")
    fields = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**fields, "_name_or_path": "elsewhere", "id2label": {"0": "cat"}, "x": "y"}))
    weights = load_file(other / "model.safetensors")
    save_file({name: value + (name == "layernorm.bias") for name, value in weights.items()}, other / "model.safetensors")
    one, two, three = (
        with_frozen_encoder(recipe(f"hf:{folder}", cache=str(tmp_path / "cache")), None) for folder in (dino, copy, other)
    )
    first = cache_folder_of(one, capsys)
    assert cache_folder_of(two, capsys) == first
    assert cache_folder_of(three, capsys) != first
    last = find_checkpoint(saved_run(tmp_path / "run", one))
    assert cache_folder_of(with_frozen_encoder(one, last), capsys) == first


def test_the_architecture_of_a_dino_names_no_path_also_not_one_that_an_earlier_version_recorded(dino: Path):
    given = with_frozen_encoder(recipe(f"hf:{dino}"), None)
    recorded = given.model_dump(mode="json")
    recorded["model"]["frozen_encoder"]["network"]["config"]["_name_or_path"] = str(dino)
    for it in (given, parse_config(Recipe, recorded, source="state.json")):
        assert it == given
        assert "secret-project" not in portable_recipe(it).model_dump_json()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attn_implementation", "kernels-community/x", "attn_implementation refers to code or files outside"),
        ("_attn_implementation", "kernels-community/x", "_attn_implementation refers to code or files outside"),
        ("auto_map", {"AutoModel": "x--y"}, "auto_map refers to code or files outside"),
        ("model_type", "bert", "model_type is 'bert'; expected one of dinov2"),
        ("model_type", ["dinov2"], r"model_type is \['dinov2'\]; expected one of dinov2"),
        ("hidden_size", 10**12, "hidden_size is 1000000000000; expected an integer from 1"),
        ("patch_size", None, "patch_size is None; expected an integer"),
        ("num_register_tokens", 10**12, "num_register_tokens is 1000000000000; expected an integer from 0"),
        ("mlp_ratio", 10**6, "mlp_ratio is 1000000; expected above 0, at most 64"),
        ("num_channels", 1, "only models of three colours"),
        ("hidden_act", "unheard", "does not describe a valid model"),
    ],
)
def test_a_checkpoint_of_others_whose_dino_config_is_not_valid_is_refused_in_one_line(
    dino: Path, tmp_path: Path, key: str, value: object, message: str
):
    run = saved_run(tmp_path / "run", with_frozen_encoder(recipe(f"hf:{dino}"), None))
    assert load_model(run)[0].encoder.net.patch_px == 8
    state = json.loads((folder := next(run.glob("checkpoints/*")) / "state.json").read_text())
    state["recipe"]["model"]["frozen_encoder"]["network"]["config"][key] = value
    write_state(folder.parent, {name: it for name, it in state.items() if name != "digest"})
    with pytest.raises(ConfigError, match=rf"model\.frozen_encoder\.network\.config.*{message}") as error:
        load_model(run)
    assert "\n" not in str(error.value)


def test_a_dino_config_without_its_sizes_is_refused():
    network = {"kind": "dino", "config": {"model_type": "dinov2", "patch_size": 8}}
    fields = {"model": {"kind": "causal", "frozen_encoder": {"source": "x", "network": network}}}
    with pytest.raises(ConfigError, match="hidden_size is missing"):
        parse_config(Recipe, fields, "x.yaml")
