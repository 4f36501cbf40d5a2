"""Model families. A new one is a file here and its line in FAMILIES, ModelConfig and TrainedModel.

A family's config says what a recipe must know of it: `check(window)` what makes it impossible, `latents_of(window)` what
it makes of it (worldmodel.models.latents.Extent), `latent_grid(window)`, `tokens(window)`, `target`, `normalised`, `distance`. Its
model has `encoder` and `predictor`, each with `blocks`, and a `teacher` or None: what is compiled, sharded and saved by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from worldmodel.config import Config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel

ModelConfig = Annotated[CausalConfig | MaskedConfig, Field(discriminator="kind")]
TrainedModel = CausalWorldModel | MaskedWorldModel

FAMILIES: dict[type[Config], Callable[..., TrainedModel]] = {CausalConfig: CausalWorldModel, MaskedConfig: MaskedWorldModel}


def build_model(config: Config, window: WindowConfig) -> TrainedModel:
    """A model with fresh weights; its randomness comes from torch's global generator."""
    return FAMILIES[type(config)](config, window)
