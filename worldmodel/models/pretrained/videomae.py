"""VideoMAE of `transformers` as a world model: the published baseline that predicts pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Generator, Tensor, nn

from worldmodel.models.blocks.layers import capture_outputs
from worldmodel.models.pixels import standardise_, to_float, unstandardise
from worldmodel.models.pretrained.files import check_numbers, check_weights_fit, read_config_file
from worldmodel.models.pretrained.from_transformers import config_fields, load_strictly
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.tubelets import normalise_tubelets, rollout_pixels
from worldmodel.models.world_model import check_context, check_forecast, check_size, latent_distance

MAX_TOKENS = 1 << 18  # of a clip; each has a row in a table of positions
_DEFAULTS = {  # of transformers' VideoMAEConfig: its files omit fields that have these values
    "image_size": 224,
    "patch_size": 16,
    "num_channels": 3,
    "num_frames": 16,
    "tubelet_size": 2,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "decoder_num_attention_heads": 6,
    "decoder_hidden_size": 384,
    "decoder_num_hidden_layers": 4,
    "decoder_intermediate_size": 1536,
}
FPS = 7.5  # the models were trained on every fourth frame of videos with about 30 fps; their files do not state it


class VideoMAE(nn.Module):
    """Implements WorldModel and Layered. A latent is the pixels of a tubelet, normalised per colour.

    A forecast is the decoder's prediction when the whole future is masked: the network is given the context only, padded to
    the number of frames that it was trained on.
    """

    target_scope: Literal["past", "window"] = "past"

    def __init__(self, config: Any) -> None:
        """Build an untrained model; `config` is a transformers.VideoMAEConfig."""
        from transformers import VideoMAEForPreTraining

        super().__init__()
        self.net = VideoMAEForPreTraining(config)
        self.fps = FPS
        self.size_px = config.image_size
        self.tubelet_size = config.tubelet_size
        self.frames: int = config.num_frames
        self.max_span: int | None = config.num_frames
        self.max_context = config.num_frames - config.tubelet_size
        self.max_horizon = config.num_frames // config.tubelet_size - 1

    @property
    def latent_shape(self) -> tuple[int, int]:
        c = self.net.config
        return (c.image_size // c.patch_size) ** 2, c.num_channels * c.tubelet_size * c.patch_size**2

    @property
    def architecture(self) -> dict[str, Any]:
        return {"videomae": config_fields(self.net.config)}

    def reinitialised(self) -> VideoMAE:
        return VideoMAE(self.net.config)

    def normalise(self, frames: Tensor) -> Tensor:
        return standardise_(to_float(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Compute the normalised pixels of each tubelet, as the training loss sees them; the network is not used."""
        check_size(self, frames)
        return normalise_tubelets(unstandardise(frames), self.tubelet_size, self.net.config.patch_size)

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int) -> Tensor:
        check_forecast(self, context.shape[1], steps)
        check_size(self, context)
        padded, masked = self._padded(context)
        tokens_per_step = self.latent_shape[0]
        filled = self.net(padded, bool_masked_pos=masked).logits
        return rearrange(filled[:, : steps * tokens_per_step], "b (t n) d -> b t n d", n=tokens_per_step)

    @torch.no_grad()
    def rollout(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """One step at a time: predicted pixels become frames of the context. `generator` is not used."""
        check_context(self, context.shape[1])
        return rollout_pixels(self, context, steps, self.net.config.patch_size)

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Layers of the encoder, although targets do not come from it. "patches" include positions."""
        check_size(self, frames)
        padded, masked = self._padded(frames)
        net = self.net.videomae
        modules = {"patches": net.embeddings, **{f"block {i}": block for i, block in enumerate(net.encoder.layer, 1)}}
        with capture_outputs(modules) as outputs:
            last = net(padded, bool_masked_pos=masked).last_hidden_state
        tokens_per_step = self.latent_shape[0]
        return {
            name: rearrange(tokens, "b (t n) d -> b t n d", n=tokens_per_step)
            for name, tokens in {**outputs, "output": last}.items()
        }

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, "l2")

    def _padded(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Pad frames with zeros to the length of the network; return them and the mask of the padded tokens."""
        batch, given = frames.shape[:2]
        blank = frames.new_zeros(batch, self.frames - given, *frames.shape[2:])
        index = torch.arange(self.frames // self.tubelet_size * self.latent_shape[0], device=frames.device)
        masked = index >= given // self.tubelet_size * self.latent_shape[0]
        return torch.cat((frames, blank), dim=1), masked.expand(batch, -1)


def load_videomae(folder: Path) -> VideoMAE:
    """Load a folder of VideoMAEForPreTraining.

    Raises PretrainedError if weights are missing or unknown; otherwise an untrained decoder would predict noise unnoticed.
    """
    given = read_config_file(folder)
    check_numbers(given, _DEFAULTS, folder)
    c = {key: given.get(key, value) for key, value in _DEFAULTS.items()}
    tokens = (c["image_size"] // c["patch_size"]) ** 2 * (c["num_frames"] // c["tubelet_size"])
    if tokens > MAX_TOKENS:
        raise PretrainedError(
            f"{folder}/config.json describes clips of {tokens:,} tokens; at most {MAX_TOKENS:,} are supported"
        )
    encoder = c["num_hidden_layers"] * (4 * c["hidden_size"] + 2 * c["intermediate_size"]) * c["hidden_size"]
    decoder_width = 4 * c["decoder_hidden_size"] + 2 * c["decoder_intermediate_size"]
    check_weights_fit(encoder + c["decoder_num_hidden_layers"] * decoder_width * c["decoder_hidden_size"], folder)
    net = load_strictly("VideoMAEForPreTraining", folder)
    if not net.config.norm_pix_loss or net.config.num_channels != 3:
        raise PretrainedError(
            f"{folder}: only VideoMAE that predicts normalised pixels of three colours is supported (norm_pix_loss)"
        )
    model = VideoMAE(net.config)
    model.net = net
    return model
