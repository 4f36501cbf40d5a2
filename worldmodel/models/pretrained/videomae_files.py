"""Files of VideoMAE encoders in three published layouts: the original code, its folders on the hub, and `transformers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldmodel.models.pretrained.files import check_numbers, check_weights_fit, read_config_file, read_tensors, read_torch_file
from worldmodel.models.pretrained.layouts import PretrainedError, TensorPair, both, rest_of_block, to_ours
from worldmodel.models.pretrained.videomae_encoder import ClipEncoderConfig, FrozenClips

V2 = "VideoMAEv2"  # model_type of the hub's folders: VideoMAEv2_Base, ...
_V2_DEFAULTS: dict[str, Any] = {
    "img_size": 224,
    "patch_size": 16,
    "num_frames": 16,
    "tubelet_size": 2,
    "embed_dim": 768,
    "depth": 12,
    "num_heads": 12,
    "mlp_ratio": 4.0,
}  # of model_config -> the fields of ClipEncoderConfig, in its order
_V2_FIXED: dict[str, Any] = {
    "in_chans": 3,
    "qkv_bias": True,
    "qk_scale": None,
    "init_values": 0.0,
    "use_learnable_pos_emb": False,
    "cos_attn": False,
}  # what our module computes; a file with another value is refused
_HF_DEFAULTS: dict[str, Any] = {
    "image_size": 224,
    "patch_size": 16,
    "num_frames": 16,
    "tubelet_size": 2,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_HF_FIXED: dict[str, Any] = {"num_channels": 3, "qkv_bias": True, "qv_bias": True, "hidden_act": "gelu"}
_CLASSIFIER_EPS = 1e-5  # transformers gives the norm before a classifier the default of torch
_CLASSIFIER = ("head.weight", "head.bias")  # of fine-tuned and of distilled models; it is not read
_PRETRAINING = ("decoder.", "encoder_to_decoder.", "mask_token")  # beside `encoder.` in files of pretraining; not read


# --- the original code and its folders on the hub --------------------------------------------------------------------
def load_videomae_v2_folder(folder: Path) -> FrozenClips:
    """Load a folder of the hub. Its config.json names code of its own, which is neither needed nor run.

    Raises PretrainedError that names what does not fit.
    """
    given = read_config_file(folder, allowed=("auto_map",)).get("model_config")
    if not isinstance(given, Mapping):
        raise PretrainedError(f"{folder}/config.json has no model_config, which names the sizes of a {V2}")
    _refuse_other_values(given, _V2_FIXED, folder)
    check_numbers(given, _V2_DEFAULTS, folder)
    config = ClipEncoderConfig(
        **dict(zip(ClipEncoderConfig.model_fields, (given.get(k, v) for k, v in _V2_DEFAULTS.items()), strict=False)),
        norm_eps=(eps := given.get("layer_norm_eps", 1e-6)),
        final_norm_eps=eps,
    )
    check_weights_fit(4 * config.depth * config.width**2, folder)
    tensors = {name.removeprefix("model."): value for name, value in read_tensors(folder).items()}
    return _load_original(tensors, config, folder)


def load_videomae_v2(file: Path, config: ClipEncoderConfig) -> FrozenClips:
    """Load a file of the original code into an encoder of these sizes, which the file does not contain.

    The file is one of pretraining (its encoder is read), of fine-tuning or of a distilled model. Raises PretrainedError that
    names every key that does not fit; a classifier and a decoder are left out.
    """
    content = read_torch_file(file)
    section = next((name for name in ("model", "module") if isinstance(content.get(name), Mapping)), None)
    return _load_original(content if section is None else content[section], config, file)


def _load_original(tensors: Mapping[str, Tensor], config: ClipEncoderConfig, source: object) -> FrozenClips:
    if any(name.startswith("encoder.") for name in tensors):
        kept = {k: v for k, v in tensors.items() if not k.startswith(_PRETRAINING)}
        tensors, norm = {name.removeprefix("encoder."): value for name, value in kept.items()}, "norm"
    else:
        norm = "fc_norm" if "fc_norm.weight" in tensors or "norm.weight" not in tensors else "norm"
    named = {name: value for name, value in tensors.items() if name not in _CLASSIFIER}
    return _loaded(named, list(_original(config, norm)), config, source)


def _original(c: ClipEncoderConfig, norm: str) -> Iterator[TensorPair]:
    yield TensorPair("patch_embed.proj.weight", "patch.weight", (c.width, 3, c.tubelet_size, c.patch_px, c.patch_px))
    yield TensorPair("patch_embed.proj.bias", "patch.bias")
    for i in range(c.depth):
        theirs, ours = f"blocks.{i}", f"blocks.layers.{i}"
        yield TensorPair(f"{theirs}.attn.qkv.weight", f"{ours}.attention.qkv.weight")
        for part in ("q_bias", "k_bias", "v_bias"):
            yield TensorPair(f"{theirs}.attn.{part}", f"{ours}.attention.qkv.bias", (c.width,))
        yield from both(f"{theirs}.attn.proj", f"{ours}.attention.out")
        yield from rest_of_block(theirs, ours)
    yield from both(norm, "norm")


# --- transformers ----------------------------------------------------------------------------------------------------
def has_decoder(folder: Path) -> bool:
    """Whether a folder of transformers holds the decoder of VideoMAE too, which predicts pixels."""
    return any(name.startswith("decoder.") for name in read_tensors(folder))


def load_videomae_encoder(folder: Path) -> FrozenClips:
    """Load a folder of VideoMAEModel or VideoMAEForVideoClassification. Raises PretrainedError that names what does not fit."""
    given = read_config_file(folder)
    _refuse_other_values(given, _HF_FIXED, folder)
    check_numbers(given, _HF_DEFAULTS, folder)
    *sizes, hidden = (given.get(key, value) for key, value in _HF_DEFAULTS.items())
    tensors = {name.removeprefix("videomae."): value for name, value in read_tensors(folder).items()}
    norm = "fc_norm" if "fc_norm.weight" in tensors else "layernorm" if not given.get("use_mean_pooling", True) else None
    width = given.get("hidden_size", _HF_DEFAULTS["hidden_size"])
    config = ClipEncoderConfig(
        **dict(zip(ClipEncoderConfig.model_fields, sizes, strict=False)),
        mlp_ratio=hidden / width,
        norm_eps=(eps := given.get("layer_norm_eps", 1e-12)),
        final_norm_eps={"layernorm": eps, "fc_norm": _CLASSIFIER_EPS, None: None}[norm],
    )
    check_weights_fit(4 * config.depth * width**2, folder)
    for old, new in (("q_bias", "query.bias"), ("v_bias", "value.bias")):  # names of transformers 4
        tensors = {name.replace(f"attention.{old}", f"attention.{new}"): value for name, value in tensors.items()}
    named = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
    return _loaded(named, list(_transformers(config, norm)), config, folder)


def _transformers(c: ClipEncoderConfig, norm: str | None) -> Iterator[TensorPair]:
    projection = "embeddings.patch_embeddings.projection"
    yield TensorPair(f"{projection}.weight", "patch.weight", (c.width, 3, c.tubelet_size, c.patch_px, c.patch_px))
    yield TensorPair(f"{projection}.bias", "patch.bias")
    for i in range(c.depth):
        theirs, ours = f"encoder.layer.{i}", f"blocks.layers.{i}"
        for part in ("query", "key", "value"):
            yield TensorPair(f"{theirs}.attention.attention.{part}.weight", f"{ours}.attention.qkv.weight", (c.width, c.width))
            yield TensorPair(f"{theirs}.attention.attention.{part}.bias", f"{ours}.attention.qkv.bias", (c.width,))
        for name, own in (
            ("attention.output.dense", "attention.out"),
            ("layernorm_before", "norm_attention"),
            ("layernorm_after", "norm_mlp"),
            ("intermediate.dense", "mlp.0"),
            ("output.dense", "mlp.2"),
        ):
            yield from both(f"{theirs}.{name}", f"{ours}.{own}")
    if norm is not None:
        yield from both(norm, "norm")


# --- both ------------------------------------------------------------------------------------------------------------
def _loaded(tensors: Mapping[str, Tensor], pairs: list[TensorPair], config: ClipEncoderConfig, source: object) -> FrozenClips:
    """Load tensors strictly. Keys have no bias in these models; it is zero in ours."""
    absent = [pair.theirs for pair in pairs if pair.theirs.endswith(("k_bias", "attention.key.bias"))]
    if given := [name for name in absent if name in tensors]:
        raise PretrainedError(f"weights in {source} do not fit: {given[0]} is not part of this model")
    model = FrozenClips(config)
    complete = {**tensors, **{name: torch.zeros(config.width) for name in absent}}
    model.encoder.load_state_dict(to_ours(pairs, complete, model.encoder.state_dict(), source))
    return model


def _refuse_other_values(given: Mapping[str, Any], fixed: Mapping[str, Any], folder: Path) -> None:
    if other := [f"{key} {given[key]}" for key, value in fixed.items() if given.get(key, value) != value]:
        raise PretrainedError(f"{folder}: {', '.join(other)} is not supported; the result would differ from the original model")
