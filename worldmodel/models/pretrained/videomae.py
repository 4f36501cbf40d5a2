"""VideoMAE through `transformers`, asked as a world model: the published baseline that predicts pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Generator, Tensor, nn

from worldmodel.models.layers import outputs_of
from worldmodel.models.pixels import standardise, to_float, unstandardised
from worldmodel.models.pretrained.files import check_numbers, check_weights_fit, read_config_file, read_tensors
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.tubelets import imagined_pixels, normalised_tubelets
from worldmodel.models.world_model import check_context, check_forecast, check_size, latent_distance

MOST_PLACES = 1 << 18  # tokens of a clip, each of which has a row in a table of positions
_DEFAULTS = {  # of transformers' VideoMAEConfig: its files leave out what is so
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
FPS = 7.5  # they were trained on every fourth frame of films of about 30 a second; no file says it


class VideoMAE(nn.Module):
    """Implements WorldModel and Layered. A latent is a tubelet's pixels, each colour less its mean, over its deviation.

    A forecast is what the decoder fills in where all of the future is masked: only the context is given to the network, which
    sees as many frames at once as it was trained on.
    """

    target_scope: Literal["past", "window"] = "past"

    def __init__(self, config: Any) -> None:
        """`config` is a transformers.VideoMAEConfig; fresh weights."""
        from transformers import VideoMAEForPreTraining

        super().__init__()
        self.net = VideoMAEForPreTraining(config)
        self.fps = FPS
        self.size_px = config.image_size
        self.tubelet_size = config.tubelet_size
        self.frames: int = config.num_frames
        self.max_span: int | None = config.num_frames
        self.max_context = config.num_frames - config.tubelet_size
        self.max_steps = config.num_frames // config.tubelet_size - 1

    @property
    def latent_shape(self) -> tuple[int, int]:
        c = self.net.config
        return (c.image_size // c.patch_size) ** 2, c.num_channels * c.tubelet_size * c.patch_size**2

    @property
    def architecture(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.net.config.to_json_string(use_diff=False))
        return {"videomae": config}

    def reborn(self) -> VideoMAE:
        return VideoMAE(self.net.config)

    def normalise(self, frames: Tensor) -> Tensor:
        return standardise(to_float(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """The normalised pixels of each tubelet, as its loss sees them; no network is asked."""
        check_size(self, frames)
        return normalised_tubelets(unstandardised(frames), self.tubelet_size, self.net.config.patch_size)

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int) -> Tensor:
        check_forecast(self, context.shape[1], steps)
        check_size(self, context)
        padded, masked = self._padded(context)
        places = self.latent_shape[0]
        filled = self.net(padded, bool_masked_pos=masked).logits
        return rearrange(filled[:, : steps * places], "b (t n) d -> b t n d", n=places)

    @torch.no_grad()
    def imagine(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """One step at a time, what was predicted painted and seen; `generator` is not used."""
        check_context(self, context.shape[1])
        return imagined_pixels(self, context, steps, self.net.config.patch_size)

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Of its encoder, which no target comes from; "patches" have their positions added. Frames that a window lacks are
        masked."""
        check_size(self, frames)
        padded, masked = self._padded(frames)
        net = self.net.videomae
        within = {"patches": net.embeddings, **{f"block {i}": block for i, block in enumerate(net.encoder.layer, 1)}}
        with outputs_of(within) as seen:
            output = net(padded, bool_masked_pos=masked).last_hidden_state
        places = self.latent_shape[0]
        return {
            name: rearrange(tokens, "b (t n) d -> b t n d", n=places) for name, tokens in {**seen, "output": output}.items()
        }

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, "l2")

    def _padded(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """As many frames as the network takes, blank after those given, and which tokens are masked: all after them."""
        batch, shown = frames.shape[:2]
        blank = frames.new_zeros(batch, self.frames - shown, *frames.shape[2:])
        number = torch.arange(self.frames // self.tubelet_size * self.latent_shape[0], device=frames.device)
        masked = number >= shown // self.tubelet_size * self.latent_shape[0]
        return torch.cat((frames, blank), dim=1), masked.expand(batch, -1)


def load_videomae(folder: Path) -> VideoMAE:
    """From a folder of VideoMAEForPreTraining.

    Raises PretrainedError where weights are missing or left over: a decoder left at random would predict noise without a word.
    """
    from transformers import VideoMAEForPreTraining

    given = read_config_file(folder)
    check_numbers(given, _DEFAULTS, folder)
    c = {key: given.get(key, value) for key, value in _DEFAULTS.items()}
    places = (c["image_size"] // c["patch_size"]) ** 2 * (c["num_frames"] // c["tubelet_size"])
    if places > MOST_PLACES:
        raise PretrainedError(f"{folder}/config.json describes clips of {places:,} tokens; at most {MOST_PLACES:,} are read")
    encoder = c["num_hidden_layers"] * (4 * c["hidden_size"] + 2 * c["intermediate_size"]) * c["hidden_size"]
    decoder_width = 4 * c["decoder_hidden_size"] + 2 * c["decoder_intermediate_size"]
    check_weights_fit(encoder + c["decoder_num_hidden_layers"] * decoder_width * c["decoder_hidden_size"], folder)
    read_tensors(folder)  # damaged files are told by name
    net, report = VideoMAEForPreTraining.from_pretrained(
        folder, output_loading_info=True, local_files_only=True, use_safetensors=True, dtype=torch.float32
    )
    problems = [f"{key} is missing" for key in sorted(report["missing_keys"])]
    problems += [f"{key} has no place in this model" for key in sorted(report["unexpected_keys"])]
    problems += [f"{key} is of another shape" for key, *_ in sorted(report["mismatched_keys"])]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise PretrainedError(f"weights in {folder} do not fit VideoMAEForPreTraining: {shown}")
    if not net.config.norm_pix_loss or net.config.num_channels != 3:
        raise PretrainedError(
            f"{folder}: only VideoMAE that predicts normalised pixels of three colours is read (norm_pix_loss)"
        )
    model = VideoMAE(net.config)
    model.net = net
    return model
