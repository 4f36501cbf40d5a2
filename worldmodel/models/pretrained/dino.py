"""DINOv2 and DINOv3 of `transformers` as frozen encoders of frames (Oquab et al. 2023; Siméoni et al. 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange, repeat
from torch import Tensor

from worldmodel.models.blocks.layers import capture_outputs
from worldmodel.models.pretrained.encoder_only import EncoderOnly, repeated
from worldmodel.models.pretrained.files import (
    CONFIG,
    MAX_INTEGER,
    check_weights_fit,
    number_problems,
    read_config_file,
    reference_problems,
    short_text,
)
from worldmodel.models.pretrained.from_transformers import config_fields, load_strictly
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
_DEFAULTS: dict[str, Any] = {  # numbers that are checked; files omit fields that have the default of their class
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 224,
    "patch_size": 14,
    "num_channels": 3,
    "intermediate_size": 1536,
    "mlp_ratio": 4.0,
}


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
        return {"dino": config_fields(self.net.config)}

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


def field_problems(fields: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the fields of a config.json, one line for each: they may come from others, and build a model.

    Fields that make transformers load other code or files are refused, as are other kinds and impossible numbers.
    """
    problems = [*reference_problems(fields), *number_problems(fields, _DEFAULTS)]
    kind, registers = fields.get("model_type"), fields.get("num_register_tokens", 0)
    if not isinstance(kind, str) or kind not in KINDS:
        problems.append(f"model_type is {short_text(kind)}; expected one of {', '.join(KINDS)}")
    if type(registers) is not int or not 0 <= registers <= MAX_INTEGER:
        problems.append(f"num_register_tokens is {short_text(registers)}; expected an integer from 0 to {MAX_INTEGER}")
    if fields.get("num_channels", 3) != 3:
        problems.append(f"only models of three colours are supported, this one has {short_text(fields['num_channels'])}")
    return problems


def dino_config(fields: Mapping[str, Any]) -> Any:
    """The config of transformers from the fields of its config.json, which `field_problems` has checked."""
    import transformers

    name = KINDS[fields["model_type"]].removesuffix("Model") + "Config"
    return getattr(transformers, name).from_dict(dict(fields))


def load_dino(folder: Path) -> DinoFrames:
    """Load a folder of one of KINDS, of transformers 4 or 5. Raises PretrainedError if any weight is missing or unknown."""
    given = read_config_file(folder)
    if problems := field_problems(given):
        raise PretrainedError(f"{folder / CONFIG}: {problems[0]}")
    layers, width = (given.get(name, _DEFAULTS[name]) for name in ("num_hidden_layers", "hidden_size"))
    check_weights_fit(4 * layers * width**2, folder)
    net = load_strictly(KINDS[given["model_type"]], folder)
    model = DinoFrames(net.config)
    model.net = net.requires_grad_(False)
    return model
