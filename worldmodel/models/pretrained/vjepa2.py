"""V-JEPA 2 weights in two published layouts, that of `transformers` and that of the original code, and MaskedWorldModel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.data.window_config import WindowConfig
from worldmodel.files.atomic import atomic_path, write_json
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel
from worldmodel.models.masks import MaskConfig
from worldmodel.models.pretrained.files import (
    check_numbers,
    check_weights_fit,
    read_config_file,
    read_tensors,
    read_torch_file,
)
from worldmodel.models.pretrained.layouts import PretrainedError, TensorPair, both, rest_of_block, to_ours, to_theirs
from worldmodel.models.targets import EmaTarget, FrozenTarget, SharedTarget
from worldmodel.models.video_encoder import NORM_EPS, VideoEncoderConfig

FPS = 4.0  # of the frames that the released models were trained on; their files do not state it, ours do
_MAX_FPS = 1000
UNUSED_TABLES = ("pos_embed", "predictor_pos_embed")
"""Tables of positions that released original files contain, although models with rotary positions do not use them."""

_DEFAULTS: dict[str, Any] = {  # of transformers' VJEPA2Config: its files omit fields that have these values
    "patch_size": 16,
    "crop_size": 256,
    "frames_per_clip": 64,
    "tubelet_size": 2,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "mlp_ratio": 4.0,
    "pred_hidden_size": 384,
    "pred_num_attention_heads": 12,
    "pred_num_hidden_layers": 12,
    "pred_num_mask_tokens": 10,
    "pred_mlp_ratio": 4.0,
}
_FIXED: dict[str, Any] = {  # what our modules compute; a file with another value is refused
    "in_chans": 3,
    "layer_norm_eps": NORM_EPS,
    "qkv_bias": True,
    "hidden_act": "gelu",
    "drop_path_rate": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


# --- transformers ----------------------------------------------------------------------------------------------------
def load_huggingface(folder: Path) -> MaskedWorldModel:
    """Load a folder with config.json and *.safetensors. Its one encoder encodes contexts and targets.

    Raises PretrainedError that names what does not fit.
    """
    config, window = read_config(read_config_file(folder), folder)
    e, p = config.encoder, config.predictor
    patches = 3 * e.tubelet_size * e.patch_px**2 * e.width
    check_weights_fit(patches + 4 * (e.depth * e.width**2 + p.depth * p.width**2) + (p.mask_tokens or 0) * p.width, folder)
    tensors = read_tensors(folder)
    model = MaskedWorldModel(config, window)
    model.load_state_dict(to_ours(list(_huggingface(config)), tensors, model.state_dict(), folder))
    return model


def save_huggingface(model: MaskedWorldModel, folder: Path) -> None:
    """Write a folder that `transformers` opens as VJEPA2Model. The teacher, if any, becomes the encoder, as in released models.

    Raises PretrainedError for a model that this layout cannot hold.
    """
    _check_representable(model)
    weights = model.state_dict()
    weights |= {
        name.replace("teacher.", "encoder.", 1): value for name, value in weights.items() if name.startswith("teacher.")
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "model.safetensors") as part:
        save_file(to_theirs(list(_huggingface(model.config)), weights), part, {"format": "pt"})
    write_json(folder / "config.json", written_config(model))


def read_config(given: Mapping[str, Any], where: object) -> tuple[MaskedConfig, WindowConfig]:
    """Convert a config.json of VJEPA2Model into our configs."""
    if other := [f"{key} {given[key]}" for key, value in _FIXED.items() if given.get(key, value) != value]:
        raise PretrainedError(f"{where}: {', '.join(other)} is not supported; the result would differ from the original model")
    check_numbers(given, _DEFAULTS, where)
    c, fps = {key: given.get(key, value) for key, value in _DEFAULTS.items()}, given.get("fps", FPS)
    if type(fps) not in (int, float) or not 0 < fps <= _MAX_FPS:
        raise PretrainedError(f"{where}: fps is {fps!r}; expected frames per second above 0, at most {_MAX_FPS}")
    encoder = VideoEncoderConfig(
        patch_px=c["patch_size"],
        tubelet_size=c["tubelet_size"],
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_ratio=c["mlp_ratio"],
    )
    predictor = MaskPredictorConfig(
        width=c["pred_hidden_size"],
        depth=c["pred_num_hidden_layers"],
        heads=c["pred_num_attention_heads"],
        mlp_ratio=c["pred_mlp_ratio"],
        mask_tokens=c["pred_num_mask_tokens"],
    )
    window = WindowConfig(frames=c["frames_per_clip"], fps=fps, size_px=c["crop_size"])
    target = SharedTarget(stop_gradient=True)
    config = MaskedConfig(encoder=encoder, predictor=predictor, target=target, tiled_rotary=True)
    return config.model_copy(update={"masks": _masks(config, window)}), window


def _masks(config: MaskedConfig, window: WindowConfig) -> tuple[MaskConfig, ...]:
    """Masks for a model whose files name none: at most one for each mask token, and of a kind that fits the grid of tokens.

    Only further training uses them. The default ones, blocks of the picture, would cover a grid of 2 x 2 tokens.
    """
    masks = config.masks[: config.predictor.mask_tokens]
    steps = window.frames // config.encoder.tubelet_size
    if not any(mask.check(steps, config.token_grid(window)) for mask in masks):
        return masks
    return (MaskConfig(blocks=0, visible_time_fraction=(0.5, 0.5)),) * len(masks)


def written_config(model: MaskedWorldModel) -> dict[str, Any]:
    """Convert a model into the config.json of VJEPA2Model, the inverse of `read_config`."""
    e, p = model.config.encoder, model.config.predictor
    values = (
        e.patch_px, model.size_px, model.window.frames, e.tubelet_size, e.width, e.heads, e.depth, e.mlp_ratio,
        p.width, p.heads, p.depth, len(model.predictor.mask_tokens), p.mlp_ratio,
    )  # fmt: skip
    return {
        "architectures": ["VJEPA2Model"],
        "model_type": "vjepa2",
        "fps": model.window.fps,
        **dict(zip(_DEFAULTS, values, strict=True)),
        **_FIXED,
    }


def _huggingface(config: MaskedConfig) -> Iterator[TensorPair]:
    e, p = config.encoder, config.predictor
    patches = (e.width, 3, e.tubelet_size, e.patch_px, e.patch_px)
    yield TensorPair("encoder.embeddings.patch_embeddings.proj.weight", "encoder.patch.weight", patches)
    yield TensorPair("encoder.embeddings.patch_embeddings.proj.bias", "encoder.patch.bias")
    yield from _split_blocks("encoder.layer", "encoder.blocks.layers", e.depth, e.width)
    yield from both("encoder.layernorm", "encoder.norm")
    yield from both("predictor.embeddings.predictor_embeddings", "predictor.embed")
    tokens = p.mask_tokens or len(config.masks)
    yield TensorPair("predictor.embeddings.mask_tokens", "predictor.mask_tokens", (tokens, 1, 1, p.width))
    yield from _split_blocks("predictor.layer", "predictor.blocks.layers", p.depth, p.width)
    yield from both("predictor.layernorm", "predictor.norm")
    yield from both("predictor.proj", "predictor.head")


def _split_blocks(theirs: str, ours: str, depth: int, width: int) -> Iterator[TensorPair]:
    for i in range(depth):
        for name in ("query", "key", "value"):
            yield TensorPair(f"{theirs}.{i}.attention.{name}.weight", f"{ours}.{i}.attention.qkv.weight", (width, width))
            yield TensorPair(f"{theirs}.{i}.attention.{name}.bias", f"{ours}.{i}.attention.qkv.bias", (width,))
        yield from both(f"{theirs}.{i}.attention.proj", f"{ours}.{i}.attention.out")
        yield from rest_of_block(f"{theirs}.{i}", f"{ours}.{i}")


# --- original --------------------------------------------------------------------------------------------------------
def load_original(file: Path, model: MaskedWorldModel, unused: Sequence[str] = ()) -> None:
    """Load a checkpoint of the original code into a model of its architecture, which the file does not contain.

    `encoder` becomes the encoder and `target_encoder` the teacher; a model without a teacher uses `target_encoder` for both,
    as the released models do. `unused`: keys that are ignored, such as UNUSED_TABLES. Tables of positions are refused
    otherwise, because weights of V-JEPA 1, which have the same names, need them. Raises PretrainedError.
    """
    pairs = {theirs: _original(ours, model.config) for ours, theirs in _sections(model)}
    model.load_state_dict(load_sections(file, pairs, model.state_dict(), unused))


def load_sections(
    file: Path, pairs: Mapping[str, Sequence[TensorPair]], state: Mapping[str, Tensor], unused: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Read sections of a checkpoint of the original code, and convert each by its table of tensors; see `load_original`.

    state: our tensors, for their shapes. Nothing but tensors is unpickled. Raises PretrainedError.
    """
    content = read_torch_file(file)
    loaded = dict[str, Tensor]()
    for theirs, table in pairs.items():
        if theirs not in content:
            raise PretrainedError(f"{file} has no {theirs!r}; it holds {', '.join(map(str, content))}")
        bare = {re.sub(r"^(module\.)?(backbone\.)?", "", key): value for key, value in content[theirs].items()}
        tensors = {key: value for key, value in bare.items() if key not in unused}
        loaded |= to_ours(table, tensors, state, f"{file}, {theirs!r}")
    return loaded


def save_original(model: MaskedWorldModel, file: Path) -> None:
    """Write a checkpoint that the original code reads. Raises PretrainedError for a model that this layout cannot hold."""
    _check_representable(model)
    state = model.state_dict()
    content = {
        theirs: {f"module.backbone.{k}": v for k, v in to_theirs(_original(ours, model.config), state).items()}
        for ours, theirs in _sections(model)
    }
    with atomic_path(file) as part:
        torch.save(content, part)


def _check_representable(model: MaskedWorldModel) -> None:
    """Raise PretrainedError for a model that the published layouts cannot hold."""
    if not model.config.tiled_rotary or model.has_pixel_targets:
        raise PretrainedError("the layouts of V-JEPA 2 need a model with tiled_rotary true, and targets that are not pixels")
    if isinstance(model.config.target, FrozenTarget):
        raise PretrainedError(
            "a student and the frozen teacher of another run are two different encoders; the layouts of V-JEPA 2 hold one"
        )


def _sections(model: MaskedWorldModel) -> list[tuple[str, str]]:
    """Pairs of our module and the section of the file that holds it."""
    if isinstance(model.config.target, EmaTarget):
        return [("encoder", "encoder"), ("predictor", "predictor"), ("teacher", "target_encoder")]
    return [("encoder", "target_encoder"), ("predictor", "predictor")]


def _original(module: str, config: MaskedConfig) -> list[TensorPair]:
    if module != "predictor":
        return encoder_pairs(module, config.encoder)
    p = config.predictor
    tokens = range(p.mask_tokens or len(config.masks))
    return [
        *both("predictor_embed", "predictor.embed"),
        *(TensorPair(f"mask_tokens.{i}", "predictor.mask_tokens", (1, 1, p.width)) for i in tokens),
        *fused_blocks("predictor_blocks", "predictor.blocks.layers", p.depth),
        *both("predictor_norm", "predictor.norm"),
        *both("predictor_proj", "predictor.head"),
    ]


def encoder_pairs(module: str, config: VideoEncoderConfig) -> list[TensorPair]:
    """The table of an encoder of the original code; `module` is our name of it."""
    patches = (config.width, 3, config.tubelet_size, config.patch_px, config.patch_px)
    return [
        TensorPair("patch_embed.proj.weight", f"{module}.patch.weight", patches),
        TensorPair("patch_embed.proj.bias", f"{module}.patch.bias"),
        *fused_blocks("blocks", f"{module}.blocks.layers", config.depth),
        *both("norm", f"{module}.norm"),
    ]


def fused_blocks(theirs: str, ours: str, depth: int) -> Iterator[TensorPair]:
    """Blocks whose query, key and value are one matrix, as in our layout."""
    for i in range(depth):
        yield from both(f"{theirs}.{i}.attn.qkv", f"{ours}.{i}.attention.qkv")
        yield from both(f"{theirs}.{i}.attn.proj", f"{ours}.{i}.attention.out")
        yield from rest_of_block(f"{theirs}.{i}", f"{ours}.{i}")
