"""Names that configuration keys and log columns had in earlier versions.

An old key in a recipe is an error that gives the new name. Checkpoints and logs of earlier versions
are read with the new names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = {  # dotted path of the old key ("*" is any name) -> the new name of its last part
    "train.updates": "max_steps",
    "train.micro_batches": "grad_accum_steps",
    "train.silent_rank_s": "rank_timeout_s",
    "optim.warmup_updates": "warmup_steps",
    "optim.final_share": "min_lr_ratio",
    "augment.flip_share": "hflip_prob",
    "data.max_bad_share": "max_failed_fraction",
    "model.checkpoint_activations": "activation_checkpointing",
    "model.encoder.frames_per_latent": "tubelet_size",
    "model.encoder.places_per_side": "latent_grid",
    "model.target.encoder.frames_per_latent": "tubelet_size",
    "model.target.encoder.places_per_side": "latent_grid",
    "model.predictor.token_side": "patch_merge",
    "model.masks.seen_share": "visible_time_fraction",
    "objectives.*.imagined_weight": "rollout_weight",
    "objectives.*.clip_std_weight": "temporal_std_weight",
    "objectives.*.moments_apart": "per_timestep",
    "health.warmup_share": "warmup_fraction",
    "health.dead_std": "collapse_std",
    "health.min_content_share": "min_content_fraction",
    "decoder.updates": "max_steps",
}
COLUMNS = {  # of metrics.jsonl, health.jsonl and bad_clips.jsonl
    "update": "step",
    "wait_share": "data_wait_fraction",
    "ids_hash": "batch_hash",
    "cov_offdiag": "corr_offdiag",
    "directions": "max_rank",
    "effective_rank_pooled": "effective_rank_with_position",
    "position_share": "position_fraction",
    "clips_per_s": "samples_per_s",
}


def new_name(path: tuple[str, ...]) -> str | None:
    """The new name of the last part of a path of keys, such as ("train", "updates"); None where it was not renamed."""
    for old, new in KEYS.items():
        parts = old.split(".")
        if len(parts) == len(path) and all(part in ("*", key) for part, key in zip(parts, path, strict=True)):
            return new
    return None


def with_new_keys(recipe: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """A recipe of an earlier version with the keys of this version. Values and all other keys are unchanged.

    path: the keys that lead to `recipe`; empty for a whole recipe.
    """
    return {new_name((*path, key)) or key: _renamed_below(value, (*path, key)) for key, value in recipe.items()}


def _renamed_below(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return with_new_keys(value, path)
    if isinstance(value, list):
        return [_renamed_below(item, path) for item in value]
    return value


def with_new_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a log of an earlier version with the column names of this version."""
    return {COLUMNS.get(name, name): value for name, value in row.items()}
