"""Weights: checkpoints of a run, and folders of pretrained models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from worldmodel.checkpoint import CheckpointError, open_checkpoint
from worldmodel.config import ConfigError
from worldmodel.data.window_config import WindowConfig
from worldmodel.files.outputs import sha256_of
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.pretrained.vjepa2 import save_huggingface
from worldmodel.models.targets import SharedTarget
from worldmodel.models.video_encoder import VideoEncoderConfig

ERRORS = (CheckpointError, PretrainedError, ConfigError)


def seeds(folder: Path) -> Mapping[str, Path]:
    """A V-JEPA 2 with a few thousand weights in the layout of Hugging Face, and a checkpoint with the same tensors."""
    torch.manual_seed(0)
    config = MaskedConfig(
        encoder=VideoEncoderConfig(patch_px=8, tubelet_size=2, width=12, depth=1, heads=1),
        predictor=MaskPredictorConfig(width=12, depth=1, heads=1, mask_tokens=2),
        target=SharedTarget(stop_gradient=True),
        tiled_rotary=True,
    )
    model = MaskedWorldModel(config, WindowConfig(frames=4, fps=4, size_px=32))
    pretrained, checkpoint = folder / "pretrained", folder / "checkpoint"
    save_huggingface(model, pretrained)
    checkpoint.mkdir()
    weights = checkpoint / "model.safetensors"
    weights.write_bytes((pretrained / "model.safetensors").read_bytes())
    state = {"format": 1, "step": 5, "recipe": {}, "sha256": {"model.safetensors": sha256_of(weights)}}
    (checkpoint / "state.json").write_text(json.dumps(state))
    return {
        "config.json": pretrained / "config.json",
        "safetensors": pretrained / "model.safetensors",
        "state.json": checkpoint / "state.json",
        "checkpoint": weights,
    }


def reader(name: str, path: Path) -> Callable[[int], None]:
    if name in ("config.json", "safetensors"):
        return lambda turn: load_pretrained(str(path.parent))
    return lambda turn: open_checkpoint(path.parent) and None
