"""Train a small decoder that draws the latents of a trained model. The model itself is not changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from worldmodel.checkpoint import Checkpoint, add_file, find_checkpoint, load_into, load_model
from worldmodel.data.loader import DataConfig, open_windows, read_fixed_batch
from worldmodel.data.order import keyed_rng
from worldmodel.models.decoder import Decoder, decoder_loss
from worldmodel.models.pixels import to_float
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe
from worldmodel.runs.run_data import find_data

_CHUNK = 8  # windows encoded at once
_HELD_OUT_WINDOWS = 32  # on which the error of the decoder is reported


def fit_decoder(
    run: Path,
    device: torch.device,
    steps: int | None = None,
    report: Callable[[str], None] = print,
    data: DataConfig | None = None,
) -> Decoder:
    """Train a decoder for the run's best checkpoint and store it there: RUN/checkpoints/<best>/decoder-<digest>.safetensors.

    Windows of the training split are read and encoded once; the decoder is then trained on random frames of them. The
    result is a function of the recipe. steps: training steps, by default those of the recipe. data: where the run's data are,
    if that is already known. Raises ManifestError if the data are missing. In a read-only folder the decoder is not stored.
    """
    checkpoint = find_checkpoint(run)
    model, recipe = load_model(checkpoint.folder, device)
    data = data or find_data(recipe, checkpoint).recipe(recipe).data
    config, total = recipe.decoder, recipe.decoder.max_steps if steps is None else steps
    train_windows, held_out_windows = open_windows(data, recipe.window, recipe.seed, crops=False)
    train = read_fixed_batch(train_windows, config.windows).frames
    held_out = read_fixed_batch(held_out_windows, _HELD_OUT_WINDOWS).frames
    frames = rearrange(train, "b (t f) h w c -> (b t) f h w c", f=model.tubelet_size)
    latents = rearrange(encode_windows(model, train, device), "b t n d -> (b t) 1 n d")
    decoder = new_decoder(model, recipe).to(device)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.lr)
    for step in range(total):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - step / total)
        chosen = torch.from_numpy(keyed_rng(recipe.seed, 4, step).integers(len(frames), size=config.batch_size))
        loss = decoder_loss(decoder(latents[chosen].to(device)), to_float(frames[chosen].to(device)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, total // 5) == 0:
            report(f"decoder   step {step + 1}/{total}, loss {loss.item():.4f}")
    error = colour_error(decoder, model, held_out, device)
    report(f"decoder   mean absolute colour error on held-out windows {error:.3f} (colours are 0 to 1)")
    if not checkpoint.folder.is_dir():
        report(f"decoder   not stored: {checkpoint.folder} was removed meanwhile by the training run, which is not finished")
    elif not os.access(checkpoint.folder, os.W_OK):
        report(f"decoder   not stored: {checkpoint.folder} cannot be written to")
    else:
        add_file(checkpoint, "decoder", decoder.state_dict())
    return decoder.eval()


def load_decoder(checkpoint: Checkpoint, model: WorldModel, recipe: Recipe, device: torch.device) -> Decoder | None:
    """Load the decoder stored in a checkpoint; None if there is none."""
    weights = checkpoint.tensors("decoder")
    if not weights:
        return None
    decoder = new_decoder(model, recipe)
    load_into(decoder, weights, checkpoint.folder)
    return decoder.to(device).eval()


def new_decoder(model: WorldModel, recipe: Recipe) -> Decoder:
    """Build an untrained decoder for a model, as the recipe configures it."""
    tokens, features = model.latent_shape
    return Decoder(recipe.decoder.net, features=features, tokens=tokens, tubelet_size=model.tubelet_size, seed=recipe.seed)


@torch.no_grad()
def encode_windows(model: WorldModel, frames: Tensor, device: torch.device) -> Tensor:
    """Encode uint8 [B, T, H, W, 3] in chunks -> latents [B, T/f, N, D] on the CPU."""
    return torch.cat([model.encode(model.normalise(chunk.to(device))).cpu() for chunk in frames.split(_CHUNK)])


@torch.no_grad()
def colour_error(decoder: Decoder, model: WorldModel, frames: Tensor, device: torch.device) -> float:
    """Mean absolute difference between the colours (0 to 1) of windows and of their decoded latents."""
    decoded = decoder(encode_windows(model, frames, device).to(device))
    truth = to_float(frames.to(device))
    small = F.interpolate(truth.flatten(0, 1), size=decoded.shape[-2:], mode="area")
    return (decoded.flatten(0, 1) - small).abs().mean().item()
