"""Checkpoints that are whole or not there: written beside, synced, renamed; safetensors and JSON, nothing unpickled.

    RUN/checkpoints/00000500/{model,ema,optimizer,decoder}.safetensors   tensors by name
                             state.json      written last: sha256 of each file, the recipe, update, samples
    RUN/best.json            which checkpoint had the highest held-out skill

The same files come out of one process, DDP and FSDP2, and load into any of them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from worldmodel.atomic import remove_parts, replacing, replacing_folder, write_json
from worldmodel.config import parse
from worldmodel.folder_lock import hold_folder
from worldmodel.models import TrainedModel, build_model
from worldmodel.optim import Optimizers
from worldmodel.outputs import sha256_of
from worldmodel.recipe import Recipe

FORMAT = 1
_PREFIXES = {"ema": "model.teacher.", "model": "model.", "objectives": "objectives."}  # file -> names in the learner


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; says which, and what is still whole."""


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    state: dict[str, Any]  # state.json

    @property
    def update(self) -> int:
        return int(self.state["update"])

    def has(self, name: str) -> bool:
        """Whether it holds "model", "ema", "optimizer", "objectives" or "decoder"."""
        return f"{name}.safetensors" in self.state["sha256"]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of one of its files; empty where it has none."""
        return load_file(self.folder / f"{name}.safetensors") if self.has(name) else {}


# --- writing ---------------------------------------------------------------------------------------------------------
def gather(learner: nn.Module, optimizers: Optimizers) -> dict[str, dict[str, Tensor]]:
    """All tensors of a run as whole tensors on the CPU, by file; every rank must call it, the main one gets the content."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(learner, options=options)
    found: dict[str, Any] = dict(get_optimizer_state_dict(learner, optimizers, options=options))
    moments = found.get("state", {})  # empty on all ranks but the first
    files: dict[str, dict[str, Tensor]] = {file: {} for file in _PREFIXES}
    for key, value in weights.items():
        file, prefix = next((file, prefix) for file, prefix in _PREFIXES.items() if key.startswith(prefix))
        files[file][key.removeprefix(prefix)] = value
    return {
        **files,
        "optimizer": {f"{name}/{part}": v for name, parts in moments.items() for part, v in parts.items()},
    }


def save_checkpoint(run: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> Path:
    """Write RUN/checkpoints/<update>; on the main process alone. Raises CheckpointError, the last good one untouched."""
    folder = run / "checkpoints" / f"{state['update']:08d}"
    remove_parts(folder.parent)
    try:
        with replacing_folder(folder) as part:
            digests = {}
            for name, content in tensors.items():
                if content:
                    file = part / f"{name}.safetensors"
                    with replacing(file) as whole:
                        save_file({key: value.contiguous() for key, value in content.items()}, whole)
                    digests[file.name] = sha256_of(file)
            write_json(part / "state.json", {"format": FORMAT, **state, "sha256": digests})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(cannot_write(folder, error, run)) from error
    return folder


def cannot_write(path: Path, error: Exception, run: Path) -> str:
    """A message for a file of a run that could not be written: why, the last whole checkpoint, and what to do."""
    last = latest(run)
    whole = f"the last whole checkpoint is {last.folder}" if last else "there is no whole checkpoint yet"
    full = "No space left" in str(error) or "quota" in str(error)
    return f"{path} could not be written: {error}; {whole}. {'Make room' if full else 'Mend that'}, then start the run again"


def add_file(checkpoint: Checkpoint, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Put one more file (a decoder) into a checkpoint that is already whole; it counts once state.json names it.

    The checkpoint is locked meanwhile, since a training and rollouts of its run may add a decoder at the same time.
    """
    if not checkpoint.folder.is_dir():
        raise CheckpointError(f"{checkpoint.folder} was removed meanwhile, so that no {name} can be put into it")
    file, sums = checkpoint.folder / f"{name}.safetensors", checkpoint.state["sha256"]
    with hold_folder(checkpoint.folder, "wait until it is done", wait_s=60):
        try:
            with replacing(file) as part:
                save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, part)
                digest = sha256_of(part)
                if file.exists():  # while it is replaced the checkpoint does without
                    sums.pop(file.name, None)
                    write_json(checkpoint.folder / "state.json", checkpoint.state)
            sums[file.name] = digest
            write_json(checkpoint.folder / "state.json", checkpoint.state)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file} could not be written: {error}; the checkpoint itself is whole") from error


def note_best(run: Path, name: str, skill: float | None) -> None:
    """Remember the checkpoint with the highest mean held-out skill."""
    if skill is None:
        return
    best = _best(run)
    if best is None or skill > best["skill"]:
        write_json(run / "best.json", {"checkpoint": name, "skill": skill})


def prune(run: Path, keep: int, update: int) -> None:
    """Remove all but the last `keep` checkpoints up to `update` and the best.

    Later ones are of a future that was given up, when a damaged checkpoint was passed over for an earlier one.
    """
    best = best_name(run)
    past = [folder for folder in _folders(run) if int(folder.name) <= update]
    for folder in _folders(run):
        if folder not in past or (folder not in past[-keep:] and folder.name != best):
            shutil.rmtree(folder, ignore_errors=True)  # a rollout may be putting a decoder into it: the next time, then


# --- finding ---------------------------------------------------------------------------------------------------------
def latest(run: Path, warn: Any = None) -> Checkpoint | None:
    """The last whole checkpoint; `warn(text)` hears of those that were passed over."""
    for folder in reversed(_folders(run)):
        try:
            return open_checkpoint(folder)
        except CheckpointError as error:
            if warn:
                warn(f"{error}; passing over it for an earlier one")
    return None


def open_checkpoint(folder: Path) -> Checkpoint:
    """Check every file against its digest. Raises CheckpointError for one that is cut short, changed or of another format."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no state.json, so it was not finished") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}/state.json cannot be read: {error}") from None
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise CheckpointError(f"{folder} has format {found}, this version reads {FORMAT}")
    if not isinstance(state.get("sha256"), dict):
        raise CheckpointError(f"{folder}/state.json has no digests (sha256) to check its files against")
    for name, digest in state["sha256"].items():
        file = folder / Path(name).name
        if not file.is_file() or sha256_of(file) != digest:
            raise CheckpointError(f"{file} is missing or not what was written")
    return Checkpoint(folder, state)


def find_checkpoint(path: Path) -> Checkpoint:
    """From a run folder its best checkpoint, else its last; or a checkpoint folder itself."""
    if (path / "state.json").exists():
        return open_checkpoint(path)
    if not (path / "checkpoints").is_dir():
        raise CheckpointError(f"{path} is neither a run folder nor a checkpoint (no checkpoints/ and no state.json in it)")
    best = best_name(path)
    if best:
        try:
            return open_checkpoint(path / "checkpoints" / best)
        except CheckpointError as error:
            print(f"{error}; taking the last whole checkpoint instead of the best", file=sys.stderr)
    found = latest(path)
    if found is None:
        raise CheckpointError(
            f"{path}/checkpoints holds no whole checkpoint yet; the first is written at update checkpoint.every"
        )
    return found


def best_name(run: Path) -> str | None:
    best = _best(run)
    return None if best is None else str(best["checkpoint"])


def _best(run: Path) -> dict[str, Any] | None:
    try:
        best = json.loads((run / "best.json").read_text(encoding="utf-8"))
        return {"checkpoint": str(best["checkpoint"]), "skill": float(best["skill"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


# --- loading ---------------------------------------------------------------------------------------------------------
def restore(learner: nn.Module, optimizers: Optimizers, checkpoint: Checkpoint) -> None:
    """Put a checkpoint into a wrapped learner and its optimizers, exactly; every rank must call it."""
    restore_weights(learner, checkpoint)
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in checkpoint.tensors("optimizer").items():
        name, _, part = key.rpartition("/")
        moments.setdefault(name, {})[part] = value
    options = StateDictOptions(full_state_dict=True)
    state: dict[str, Any] = {**get_optimizer_state_dict(learner, optimizers, options=options), "state": moments}
    set_optimizer_state_dict(learner, optimizers, state, options=options)


def restore_weights(learner: nn.Module, checkpoint: Checkpoint, *, but: Sequence[str] = ()) -> None:
    """Weights alone, strictly: CheckpointError names every key that does not fit.

    What the learner has of the files named in `but` ("objectives", "ema") is left as it is.
    """
    options = StateDictOptions(full_state_dict=True)
    there: dict[str, Any] = get_model_state_dict(learner, options=options)
    weights: dict[str, Any] = {
        prefix + key: value
        for file, prefix in _PREFIXES.items()
        if file not in but
        for key, value in checkpoint.tensors(file).items()
    }
    for file in but:
        weights |= {key: value for key, value in there.items() if key.startswith(_PREFIXES[file])}
    _check_keys(weights, there, checkpoint.folder)
    set_model_state_dict(learner, weights, options=options)


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[TrainedModel, Recipe]:
    """The model of a run folder (its best checkpoint, else its last) or of one checkpoint, ready to be asked.

    Raises CheckpointError where there is none or its weights do not fit its recipe.
    """
    checkpoint = find_checkpoint(Path(path))
    recipe = parse(Recipe, checkpoint.state["recipe"], where=f"{checkpoint.folder}/state.json")
    model = build_model(recipe.model, recipe.window)
    load_into(model, model_tensors(checkpoint), checkpoint.folder)
    return model.to(device).eval(), recipe


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Strict load into a plain module, with one message for all that does not fit."""
    _check_keys(tensors, module.state_dict(), where)
    module.load_state_dict(tensors)


def model_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Weights of the model as its own state dict names them."""
    teacher = {"teacher." + k: v for k, v in checkpoint.tensors("ema").items()}
    return checkpoint.tensors("model") | teacher


def _check_keys(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path) -> None:
    problems = [f"{key} is missing" for key in wanted if key not in given]
    problems += [f"{key} is not part of this model" for key in given if key not in wanted]
    problems += [
        f"{key} is {tuple(given[key].shape)}, this model needs {tuple(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    if problems:
        shown = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise CheckpointError(f"weights in {where} do not fit the recipe's model: {shown}")


def _folders(run: Path) -> list[Path]:
    found = (run / "checkpoints").glob("[0-9]*")
    return sorted(folder for folder in found if folder.is_dir() and folder.name.isdigit())
