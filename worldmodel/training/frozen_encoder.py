"""The frozen encoder of a run (`model.frozen_encoder: {source: ...}`): its architecture and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from worldmodel.checkpoint import Checkpoint, CheckpointError, load_into, load_model
from worldmodel.config import ConfigError, parse_config
from worldmodel.models import TrainedModel
from worldmodel.models.blocks.lora import merge_adapters
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.dino import DinoFrames
from worldmodel.models.pretrained.frozen_encoder import (
    ClipNetwork,
    DinoNetwork,
    FrameNetwork,
    FrozenEncoder,
    FrozenEncoderConfig,
    Network,
    TubeletNetwork,
)
from worldmodel.models.pretrained.hub import HUGGINGFACE
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained
from worldmodel.models.pretrained.videomae_encoder import FrozenClips
from worldmodel.models.weights_hash import weights_hash
from worldmodel.recipe import Recipe
from worldmodel.training.setup import TrainingSetup
from worldmodel.training.target_cache import TargetCache


def with_frozen_encoder(recipe: Recipe, last: Checkpoint | None) -> Recipe:
    """Return the recipe with the architecture and the sizes of `model.frozen_encoder` filled in, if it has one.

    They are read from its source, or, when resuming, from the last checkpoint of this run. Raises ConfigError if the source
    is missing or does not fit.
    """
    given, before = _frozen_encoder(recipe), None
    if last is not None:
        before = _frozen_encoder(parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json"))
        if _source(before) != _source(given):
            raise ConfigError(
                [
                    f"model.frozen_encoder: this run has {_source(before)}, the recipe has {_source(given)}; "
                    "start another run (run=FOLDER)"
                ]
            )
    if given is None:
        return recipe
    network = before.network if before is not None else _open(given.source)[0]
    assert network is not None
    if given.network not in (None, network):
        raise ConfigError([f"model.frozen_encoder.network is not that of {given.source}; remove it, training fills it in"])
    try:
        sizes = network.sizes(recipe.window.size_px)
    except ValueError as error:
        raise ConfigError([f"model.frozen_encoder: {error}"]) from None
    if recipe.model.encoder not in (EncoderConfig(), sizes):
        raise ConfigError(["model.encoder describes a trained encoder, and model.frozen_encoder is set; remove one of them"])
    data = recipe.model_dump(mode="json")
    data["model"]["frozen_encoder"] |= {"network": network.model_dump(mode="json")}
    data["model"]["encoder"] = sizes.model_dump(mode="json")
    return parse_config(Recipe, data, source="the recipe with its frozen encoder")


def load_frozen_encoder(model: TrainedModel, recipe: Recipe) -> None:
    """Load the weights of the frozen encoder into a new model, strictly. Models without one are left unchanged."""
    given = _frozen_encoder(recipe)
    if given is not None:
        assert isinstance(model.encoder, FrozenEncoder)
        load_into(model.encoder.net, _open(given.source)[1], Path(given.source))


def use_latent_cache(setup: TrainingSetup) -> None:
    """Let the frozen encoder read its latents from `model.frozen_encoder.cache`, if it has one. Call it with loaded weights."""
    config, encoder = _frozen_encoder(setup.recipe), setup.model.encoder
    if config is None or config.cache is None:
        return
    assert isinstance(encoder, FrozenEncoder)
    parts = (weights_hash(encoder.net), repr(config.network), str(config.frames_at_once), setup.recipe.train.precision)
    folder = Path(config.cache) / hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    processes, limit_bytes = setup.accelerator.num_processes, int(config.cache_gb * 1e9)
    cache = TargetCache(folder, limit_bytes, processes=processes, field="model.frozen_encoder.cache")
    encoder.cache = cache
    setup.accelerator.print(f"latents of {len(cache):,} frames are stored in {folder}")


def _open(source: str) -> tuple[Network, Mapping[str, Tensor]]:
    """The architecture and the weights of the encoder of a run or of published weights; of its targets where it has two."""
    try:
        if source.startswith(HUGGINGFACE):
            model: object = load_pretrained(source.removeprefix(HUGGINGFACE))
        else:
            trained = load_model(source)[0]
            merge_adapters(trained)
            model = trained
    except (PretrainedError, CheckpointError) as error:
        raise ConfigError([f"model.frozen_encoder.source: {error}"]) from None
    if isinstance(model, DinoFrames):
        return DinoNetwork(config=model.architecture["dino"]), model.state_dict()
    if isinstance(model, FrozenClips):
        return ClipNetwork(encoder=model.config), model.encoder.state_dict()
    if isinstance(model, MaskedWorldModel):
        net: nn.Module = model.teacher or model.encoder
        encoder = net.config  # of a frozen teacher, which may have other sizes than the trained encoder
        return TubeletNetwork(encoder=encoder, tiled_rotary=model.config.tiled_rotary), net.state_dict()
    if isinstance(model, CausalWorldModel) and model.config.frozen_encoder is None:
        net = model.teacher or model.encoder
        network = FrameNetwork(encoder=net.config, size_px=model.size_px, normalise_latents=model.config.normalise_latents)
        return network, net.state_dict()
    raise ConfigError(
        [
            f"model.frozen_encoder.source: {source} holds a {type(model).__name__}, whose encoder cannot be used; expected a "
            "run, or a V-JEPA 2, DINOv2, DINOv3, VideoMAE encoder or VideoMAE v2"
        ]
    )


def _frozen_encoder(recipe: Recipe) -> FrozenEncoderConfig | None:
    return recipe.model.frozen_encoder if isinstance(recipe.model, CausalConfig) else None


def _source(config: FrozenEncoderConfig | None) -> str:
    return "none" if config is None else config.source
