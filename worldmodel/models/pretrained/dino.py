"""DINOv2 and DINOv3 of `transformers` as frozen encoders of frames (Oquab et al. 2023; Siméoni et al. 2025)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor

from worldmodel.models.blocks.layers import capture_outputs
from worldmodel.models.pretrained.encoder_only import EncoderOnly, repeated
from worldmodel.models.pretrained.files import check_numbers, check_weights_fit, read_config_file
from worldmodel.models.pretrained.from_transformers import load_strictly
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.world_model import SharedContext, check_forecast, check_size

KINDS = {
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}  # model_type of config.json -> class of transformers
FPS = 4.0  # frames have no rate of their own; this one is that of V-JEPA 2
MAX_FRAMES = 64  # of a window; frames are encoded one by one, so this only bounds memory
MAX_HORIZON = 16  # steps of a forecast, which are all equal
_DEFAULTS = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 224, "patch_size": 14}


class DinoFrames(EncoderOnly):
    """Implements WorldModel, FrameWise and Layered. A latent is a patch token after the last norm, as in DINO-WM."""

    target_scope: Literal["past", "window"] = "past"
    tubelet_size = 1
    max_context = MAX_FRAMES
    max_horizon = MAX_HORIZON

    def __init__(self, config: Any, size_px: int | None = None) -> None:
        """Build an untrained model; `config` is that of transformers, of one of KINDS.

        size_px: of frames; None: that of training. DINOv2 interpolates its positions, DINOv3 computes them for any size.
        """
        import transformers

        super().__init__()
        self.net = getattr(transformers, KINDS[config.model_type])(config).requires_grad_(False)
        self.fps, self.patch_px = FPS, config.patch_size
        self.size_px = size_px or config.image_size // config.patch_size * config.patch_size

    @property
    def latent_shape(self) -> tuple[int, int]:
        return (self.size_px // self.patch_px) ** 2, self.net.config.hidden_size

    @property
    def architecture(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.net.config.to_json_string(use_diff=False))
        return {"dino": config}

    def reinitialised(self) -> DinoFrames:
        return DinoFrames(self.net.config)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        check_size(self, frames)
        return self._patches(self.net(frames.flatten(0, 1)).last_hidden_state, len(frames))

    def last_latent(self, context: Tensor) -> Tensor:
        return self.encode(context[:, -1:])[:, 0]

    @torch.no_grad()
    def encode_context_and_target(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.encode(frames)
        return latents, latents

    def forecast_from_latents(
        self, latents: Tensor, context_steps: Sequence[int], steps: int, shared: SharedContext | None = None
    ) -> Tensor:
        begun = 0 if shared is None else shared.latents.shape[1]
        check_forecast(self, begun + latents.shape[1], steps)
        last = [
            latents[:, count - begun - 1] if count > begun or shared is None else shared.latents[shared.row, count - 1]
            for count in context_steps
        ]
        return torch.stack([repeated(latent, steps) for latent in last], dim=1)

    def forecast_all(self, frames: Tensor) -> Tensor:
        return repeat(self.encode(frames), "b t n d -> b t k n d", k=self.max_horizon)

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Patch tokens only, without the class token and registers. "patches" include positions, where they are added."""
        check_size(self, frames)
        inner = self.net.model if hasattr(self.net, "model") else self.net.encoder
        modules = {"patches": self.net.embeddings, **{f"block {i}": block for i, block in enumerate(inner.layer, 1)}}
        with capture_outputs(modules) as outputs:
            last = self.net(frames.flatten(0, 1)).last_hidden_state
        return {name: self._patches(tokens, len(frames)) for name, tokens in {**outputs, "output": last}.items()}

    def _patches(self, tokens: Tensor, batch: int) -> Tensor:
        """The patch tokens, which come last: [B*T, 1 + registers + N, D] -> [B, T, N, D]."""
        return rearrange(tokens[:, -self.latent_shape[0] :], "(b t) n d -> b t n d", b=batch)


def dino_config(fields: dict[str, Any]) -> Any:
    """The config of transformers from the fields of its config.json."""
    import transformers

    name = KINDS[fields["model_type"]].removesuffix("Model") + "Config"
    return getattr(transformers, name).from_dict(fields)


def load_dino(folder: Path) -> DinoFrames:
    """Load a folder of one of KINDS, of transformers 4 or 5. Raises PretrainedError if any weight is missing or unknown."""
    given = read_config_file(folder)
    check_numbers(given, _DEFAULTS, folder)
    layers, width = (given.get(name, _DEFAULTS[name]) for name in ("num_hidden_layers", "hidden_size"))
    check_weights_fit(4 * layers * width**2, folder)
    net = load_strictly(KINDS[given["model_type"]], folder)
    if net.config.num_channels != 3:
        raise PretrainedError(f"{folder}: only models of three colours are supported, this one has {net.config.num_channels}")
    model = DinoFrames(net.config)
    model.net = net.requires_grad_(False)
    return model
