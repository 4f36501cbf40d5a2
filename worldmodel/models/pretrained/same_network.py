"""Whether weights mean the same in another model: settings that tensors do not show, such as the number of attention heads."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from worldmodel.models import ModelConfig
from worldmodel.models.causal import CausalConfig
from worldmodel.models.condition import ActionStatistics
from worldmodel.models.masked import MaskedConfig
from worldmodel.models.targets import EmaTarget, FrozenTarget

# Settings of a model that training may change, because its network computes the same. All others are compared, also new ones.
_OF_TRAINING = {
    "kind",
    "masks",
    "target",
    "distance",
    "rollout_steps",
    "rollout_context",
    "rollouts",
    "tokens_kept",
    "activation_checkpointing",
    "frozen_encoder",
    "condition",
    "lora",
}  # the last three, `kind` and part of `target` are compared by themselves


def network_problems(ours: ModelConfig, theirs: ModelConfig, source: str) -> list[str]:
    """Say why weights of the model `theirs` compute something else in the model `ours`, one line for each reason.

    A line names the overrides that fit. source: where `theirs` comes from, for messages. Frozen encoders are not compared.
    """
    problems = []
    if overrides := list(_overrides(ours, theirs)):
        problems.append(f"{source} is another model than that of the recipe; set {' '.join(overrides)}")
    if theirs.lora is not None and ours.lora is None:
        adapters = _override("model.lora", theirs.lora.model_dump(mode="json"))
        problems.append(
            f"{source} has LoRA adapters, and the recipe has no model.lora; to start from the adapted weights, export it with "
            f"`python -m worldmodel.export {source} --to model:FOLDER` and set init_from=FOLDER; to train its adapters "
            f"further, set {adapters}"
        )
    if isinstance(ours.target, EmaTarget) and isinstance(theirs.target, FrozenTarget) and theirs.target.encoder != ours.encoder:
        problems.append(
            f"{source} has a frozen teacher with another encoder than model.encoder, so no EMA teacher can start as it; "
            f"set {_override('model.target', {'kind': 'frozen', 'run': source})}"
        )
    return problems


def _overrides(ours: ModelConfig, theirs: ModelConfig) -> Iterator[str]:
    """The settings of `ours` that differ from those of `theirs`, as overrides."""
    if ours.kind != theirs.kind:
        yield f"model.kind={theirs.kind}"
        ours = type(theirs)()
    mine, given = _settings(ours), _settings(theirs)
    frozen, their_frozen = (getattr(config, "frozen_encoder", None) for config in (ours, theirs))
    if their_frozen is not None:  # `encoder` is filled in later
        del mine["encoder"], given["encoder"]
        if frozen is None:
            yield _override("model.frozen_encoder", {"source": their_frozen.source})
    elif frozen is not None:
        yield "model.frozen_encoder=null"
    for name in sorted(given, key=lambda name: isinstance(given[name], dict)):  # parts of the model last
        yield from _differences(f"model.{name}", mine[name], given[name])
    if (ours.target.kind == "pixels") != (theirs.target.kind == "pixels"):
        yield _override("model.target", theirs.target.model_dump(mode="json"))
    if ours.lora is not None and theirs.lora is not None:
        yield from _differences("model.lora", ours.lora.model_dump(mode="json"), theirs.lora.model_dump(mode="json"))
    if isinstance(ours, CausalConfig) and isinstance(theirs, CausalConfig):
        yield from _condition_overrides(ours, theirs)


def _settings(config: ModelConfig) -> dict[str, Any]:
    found = {name: value for name, value in config.model_dump(mode="json").items() if name not in _OF_TRAINING}
    if isinstance(config, MaskedConfig):
        found["predictor"]["mask_tokens"] = config.predictor.mask_tokens or len(config.masks)
    return found


def _condition_overrides(ours: CausalConfig, theirs: CausalConfig) -> Iterator[str]:
    """Differences of the actions that the predictor takes: their kind, and the numbers by which they are normalised."""
    mine, given = ours.condition, theirs.condition
    if mine is None or given is None:
        if mine is not given:
            yield _override("model.condition", None if given is None else given.model_dump(mode="json"))
        return
    yield from _differences("model.condition.kind", mine.kind, given.kind)
    yield from _differences("model.condition.actions", mine.actions, given.actions)
    own, other = mine.statistics, given.statistics
    if own is not None and other is not None and not _normalise_equally(own, other):
        yield _override("model.condition.statistics", other.model_dump(mode="json"))


def _normalise_equally(one: ActionStatistics, two: ActionStatistics) -> bool:
    """Whether the same recorded actions become the same input of the predictor. Not every version recorded units."""
    parts = [(it.actions_per_step, it.action_mean, it.action_std, it.action_names) for it in (one, two)]
    units_are_known = bool(one.action_units and two.action_units)
    return parts[0] == parts[1] and (not units_are_known or one.action_units == two.action_units)


def _differences(path: str, mine: Any, given: Any) -> Iterator[str]:
    if isinstance(mine, Mapping) and isinstance(given, Mapping) and mine.keys() == given.keys():
        for name, value in given.items():
            yield from _differences(f"{path}.{name}", mine[name], value)
    elif mine != given:
        yield _override(path, given)


def _override(path: str, value: Any) -> str:
    """`a.b=value` as it is written in a shell."""
    return shlex.quote(f"{path}={value if isinstance(value, str) else json.dumps(value)}")
