"""Train joint-embedding predictive models (JEPA) on video. `data_prep` and `eval` build on this library.

The names below are imported when they are first used, so that programs that only prepare data do not load PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldmodel.checkpoint import load_model
    from worldmodel.manifest import Manifest
    from worldmodel.models.pretrained.load import load_pretrained
    from worldmodel.recipe import Recipe, read_recipe
    from worldmodel.rollouts.prediction import roll_out
    from worldmodel.video import VideoError, VideoInfo, inspect_video, read_frames, write_video

_MODULES = {
    "load_model": "worldmodel.checkpoint",
    "Manifest": "worldmodel.manifest",
    "load_pretrained": "worldmodel.models.pretrained.load",
    "Recipe": "worldmodel.recipe",
    "read_recipe": "worldmodel.recipe",
    "roll_out": "worldmodel.rollouts.prediction",
    "VideoError": "worldmodel.video",
    "VideoInfo": "worldmodel.video",
    "inspect_video": "worldmodel.video",
    "read_frames": "worldmodel.video",
    "write_video": "worldmodel.video",
}

__all__ = [
    "Manifest",
    "Recipe",
    "VideoError",
    "VideoInfo",
    "inspect_video",
    "load_model",
    "load_pretrained",
    "read_frames",
    "read_recipe",
    "roll_out",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'worldmodel' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
