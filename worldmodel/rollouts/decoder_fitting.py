"""Teach a small decoder to draw what a trained model's latents hold. The model itself is not touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from worldmodel.checkpoint import Checkpoint, add_file, find_checkpoint, load_into, load_model
from worldmodel.data.loader import DataConfig, held_out, open_windows
from worldmodel.data.order import rng
from worldmodel.models.decoder import Decoder, decoder_loss
from worldmodel.models.pixels import to_float
from worldmodel.models.world_model import WorldModel
from worldmodel.recipe import Recipe
from worldmodel.runs.run_data import find_data

_CHUNK = 8  # windows encoded at once


def fit_decoder(
    run: Path,
    device: torch.device,
    updates: int | None = None,
    say: Callable[[str], None] = print,
    data: DataConfig | None = None,
) -> Decoder:
    """Train a decoder for the run's best checkpoint and store it there: RUN/checkpoints/<best>/decoder-<digest>.safetensors.

    Windows of the training split are decoded and encoded once and kept; the decoder then learns from frames of them drawn
    at random. Deterministic given the recipe. `data` says where the run's data lies, where that is known already; else it is
    looked for. Raises ManifestError where it is missing. In a folder that cannot be written to, the decoder is not stored.
    """
    checkpoint = find_checkpoint(run)
    model, recipe = load_model(checkpoint.folder, device)
    data = data or find_data(recipe, checkpoint).recipe(recipe).data
    config, count = recipe.decoder, recipe.decoder.max_steps if updates is None else updates
    train, held = (
        held_out(windows, n).frames
        for windows, n in zip(open_windows(data, recipe.window, recipe.seed, crops=False), (config.windows, 32), strict=True)
    )
    latents = encoded(model, train, device)
    decoder = new_decoder(model, recipe).to(device)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.lr)
    f = model.tubelet_size
    moments = rearrange(train, "b (t f) h w c -> (b t) f h w c", f=f)
    places = rearrange(latents, "b t n d -> (b t) 1 n d")
    for update in range(count):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - update / count)
        chosen = torch.from_numpy(rng(recipe.seed, 4, update).integers(len(moments), size=config.batch_size))
        loss = decoder_loss(decoder(places[chosen].to(device)), to_float(moments[chosen].to(device)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (update + 1) % max(1, count // 5) == 0:
            say(f"decoder   {update + 1}/{count} updates, loss {loss.item():.4f}")
    say(f"decoder   mean error of a colour on held-out windows {colour_error(decoder, model, held, device):.3f} (0 to 1)")
    if not checkpoint.folder.is_dir():
        say(f"decoder   not stored: {checkpoint.folder} was removed meanwhile by the training that goes on")
    elif not os.access(checkpoint.folder, os.W_OK):
        say(f"decoder   not stored: {checkpoint.folder} cannot be written to")
    else:
        add_file(checkpoint, "decoder", decoder.state_dict())
    return decoder.eval()


def load_decoder(checkpoint: Checkpoint, model: WorldModel, recipe: Recipe, device: torch.device) -> Decoder | None:
    """The decoder stored in a checkpoint; None if it has none."""
    weights = checkpoint.tensors("decoder")
    if not weights:
        return None
    decoder = new_decoder(model, recipe)
    load_into(decoder, weights, checkpoint.folder)
    return decoder.to(device).eval()


def new_decoder(model: WorldModel, recipe: Recipe) -> Decoder:
    places, features = model.latent_shape
    return Decoder(recipe.decoder.net, features=features, places=places, tubelet_size=model.tubelet_size, seed=recipe.seed)


@torch.no_grad()
def encoded(model: WorldModel, frames: Tensor, device: torch.device) -> Tensor:
    """uint8 [B, T, H, W, 3] -> latents [B, T/f, N, D] on the CPU."""
    return torch.cat([model.encode(model.normalise(chunk.to(device))).cpu() for chunk in frames.split(_CHUNK)])


@torch.no_grad()
def colour_error(decoder: Decoder, model: WorldModel, frames: Tensor, device: torch.device) -> float:
    """Mean absolute difference of colour of held-out windows from their drawing, on a scale of 0 to 1."""
    drawn = decoder(encoded(model, frames, device).to(device))
    truth = to_float(frames.to(device))
    small = torch.nn.functional.interpolate(truth.flatten(0, 1), size=drawn.shape[-2:], mode="area")
    return (drawn.flatten(0, 1) - small).abs().mean().item()
