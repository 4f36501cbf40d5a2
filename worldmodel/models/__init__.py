"""Model families. A new family is a new file here and a line in FAMILIES, ModelConfig and TrainedModel.

The config of a family provides what a recipe needs before the model is built: `check(window)`, the reasons why it does not
work with a window; `latent_sizes(window)` (worldmodel.models.latents.LatentSizes); `latent_grid(window)`,
`num_tubelets(window)`, `target`, `normalised` and `distance`. The model has `encoder` and `predictor`, each with `blocks`, and
a `teacher` or None: these parts are compiled, sharded and saved by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from worldmodel.config import Config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.blocks.lora import add_adapters
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel

ModelConfig = Annotated[CausalConfig | MaskedConfig, Field(discriminator="kind")]
TrainedModel = CausalWorldModel | MaskedWorldModel

FAMILIES: dict[type[Config], Callable[..., TrainedModel]] = {CausalConfig: CausalWorldModel, MaskedConfig: MaskedWorldModel}


def build_model(config: Config, window: WindowConfig) -> TrainedModel:
    """Build a model with freshly initialised weights, drawn from torch's global generator."""
    model = FAMILIES[type(config)](config, window)
    if isinstance(config, CausalConfig | MaskedConfig) and config.lora is not None:
        add_adapters(model, config.lora)
    return model
