"""Model families. A new one is a file here and a line below."""

from __future__ import annotations

from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.window import WindowConfig

ModelConfig = CausalConfig  # becomes a union by `kind` with the second family


def build_model(config: ModelConfig, window: WindowConfig) -> CausalWorldModel:
    """A model with fresh weights; its randomness comes from torch's global generator."""
    return CausalWorldModel(config, window)
