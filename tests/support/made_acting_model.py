"""A small run that takes actions, with random weights and both heads."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from worldmodel.models import build_model
from worldmodel.objectives import build_objective
from worldmodel.recipe import Recipe
from worldmodel.runs.acting import ActingModel

FRAMES, SIZE_PX = 4, 16
STATISTICS = {"actions_per_step": 2, "action_mean": (1.0, -1.0), "action_std": (2.0, 0.5), "action_names": ("x", "y")}
OBJECTIVES = {"forecast": {"kind": "forecast"}, "inverse": {"kind": "idm"}, "steps": {"kind": "steps_to_go"}}


def made_recipe(depth: int = 1, tubelet_size: int = 1, target: dict | None = None) -> Recipe:
    return Recipe.model_validate(
        {
            "window": {"frames": FRAMES, "fps": 5, "size_px": SIZE_PX},
            "augment": {"hflip_prob": 0},
            "model": {
                "kind": "causal",
                "encoder": {"patch_px": 8, "width": 8, "heads": 2, "latent_dim": 6, "head_width": 8}
                | {"tubelet_size": tubelet_size},
                "predictor": {"width": 16, "depth": depth, "heads": 2, "horizons": 1},
                "target": target or {"kind": "shared", "stop_gradient": True},
                "rollout_steps": 1,
                "rollout_context": 1,
                "condition": {"kind": "added", "statistics": STATISTICS},
            },
            "objectives": OBJECTIVES,
        }
    )


def made_acting(recipe: Recipe | None = None) -> ActingModel:
    recipe = recipe or made_recipe()
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window).eval()
    sizes = recipe.model.latent_sizes(recipe.window)
    inverse, steps = (build_objective(recipe.objectives[name], sizes) for name in ("inverse", "steps"))
    return ActingModel(model, recipe, model.action_input, inverse, steps)


def pictures(frames: int, batch: int = 2) -> torch.Tensor:
    """uint8 [B, T, H, W, 3]"""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, frames, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8, generator=generator)


def checkpoint_of(acting: ActingModel) -> SimpleNamespace:
    """What `find_checkpoint` would return for its run."""
    heads = {"inverse": acting.inverse_head, "steps": acting.steps_head}
    tensors = {f"{name}.{key}": value for name, head in heads.items() for key, value in head.state_dict().items()}
    return SimpleNamespace(folder="made", step=1, tensors=lambda _name: tensors)
