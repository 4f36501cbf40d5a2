"""The model card of an export: a README.md with what the model is, its data, recipe, health and scores.

It has no path of this machine: of manifests and run folders only the names remain.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from worldmodel.checkpoint import Checkpoint
from worldmodel.config.config import dump_config
from worldmodel.files.json_files import read_json_object
from worldmodel.files.log_rows import read_rows
from worldmodel.models import TrainedModel
from worldmodel.models.pretrained.hub import HUGGINGFACE, MODEL_ID
from worldmodel.models.weights_hash import weights_hash
from worldmodel.recipe import Recipe
from worldmodel.runs.run_data import run_folder_of
from worldmodel.storage.urls import is_url, split_version, stays_below

_HEALTH = ("effective_rank", "max_rank", "std_min", "corr_offdiag", "position_fraction")


def model_card(checkpoint: Checkpoint, model: TrainedModel, recipe: Recipe, layout: str, model_id: str | None = None) -> str:
    """The text of README.md. layout: "hf" (for transformers) or "model" (for worldmodel.load_model).

    model_id: on the Hugging Face hub, if it will be uploaded there.
    """
    return "\n".join(_lines(checkpoint, model, recipe, layout, model_id)) + "\n"


def portable_recipe(recipe: Recipe) -> Recipe:
    """The recipe without paths of this machine: folders and files keep their last name only; caches are left out."""
    data = recipe.model_dump(mode="json")
    data |= {"run": _last_name(recipe.run), "upload_to": None}
    names = [_last_name(path) for path in recipe.data.manifests]
    data["data"] |= {"manifest": names[0] if isinstance(recipe.data.manifest, str) else names, "make": None}
    if recipe.init_from is not None:
        data["init_from"] = _last_name(recipe.init_from)
    if (target := data["model"]["target"])["kind"] == "frozen":
        target |= {"run": _last_name(target["run"])} | ({"cache": None} if "cache" in target else {})
    if (frozen := data["model"].get("frozen_encoder")) is not None:
        frozen |= {"source": _last_name(frozen["source"]), "cache": None}
    return Recipe.model_validate(data)


def _lines(checkpoint: Checkpoint, model: TrainedModel, recipe: Recipe, layout: str, model_id: str | None) -> Iterator[str]:
    state, window = checkpoint.state, recipe.window
    name, here = model_id or run_folder_of(checkpoint).name, "" if layout == "hf" else "hf:"
    source = "FOLDER" if model_id is None else f"{here}{model_id}"
    (height, width), millions = window.frame_px, sum(p.numel() for p in model.parameters()) / 1e6
    yield from ("---", f"library_name: {'transformers' if layout == 'hf' else 'worldmodel'}")
    yield from ("pipeline_tag: video-classification", "tags: [jepa, world-model, video, worldmodel]", "---", "")
    yield from (f"# {name}", "", f"A joint-embedding predictive model of video, kind `{recipe.model.kind}`, {millions:.2f} M")
    yield f"weights. A window is {window.frames} frames of {width} x {height} px at {window.fps:g} frames per second."
    yield from ("No licence is stated here; the owner of the model adds one.", "", "## Load", "", "```python")
    if layout == "hf":
        yield from ("from transformers import VJEPA2Model", f'model = VJEPA2Model.from_pretrained("{source}")', "```", "")
        if height != width:
            yield "transformers computes positions of squares only: its outputs for the frames of training, which are not"
            yield from ("square, differ from those of this model.", "")
    else:
        yield from ("from worldmodel import load_model", f'model, recipe = load_model("{source}")', "```", "")
    yield from ("## Training data", "", *_data(state, recipe), "", "## Health", "", *_health(checkpoint), "", "## Scores", "")
    yield from (*_scores(checkpoint, model), "")
    yield from ("## Recipe", "", "```yaml", dump_config(portable_recipe(recipe)).rstrip(), "```")


def _data(state: Mapping[str, Any], recipe: Recipe) -> Iterator[str]:
    windows = state.get("windows") or [None] * len(recipe.data.manifests)
    digests = state.get("data") or [None] * len(recipe.data.manifests)
    for path, count, digest in zip(recipe.data.manifests, windows, digests, strict=False):
        size = "" if count is None else f", {count:,} windows"
        yield f"- {_last_name(path)}{size}" + ("" if digest is None else f", digest `{digest[:16]}`")
    steps = f"{state['step']:,} steps"
    yield f"\n{steps}, {state['samples']:,} samples." if "samples" in state else f"\n{steps}."
    if recipe.init_from is not None:
        yield f"The weights began as those of `{_last_name(recipe.init_from)}`."


def _health(checkpoint: Checkpoint) -> Iterator[str]:
    rows = [row for row in read_rows(run_folder_of(checkpoint) / "health.jsonl") if row.get("step", 0) <= checkpoint.step]
    if not rows:
        yield "No health check is known for these weights."
        return
    last = rows[-1]
    yield f"Verdict at step {last.get('step')}: **{last.get('verdict')}** ({last.get('advice')})."
    yield from ("", "| measure | value |", "|---|---:|")
    yield from (f"| {name} | {last[name]:.3g} |" for name in _HEALTH if isinstance(last.get(name), int | float))
    skills = {key: value for key, value in last.items() if key.startswith("skill/") and isinstance(value, int | float)}
    yield from (f"| forecast {key} s | {value:.3f} |" for key, value in skills.items() if math.isfinite(value))


def _scores(checkpoint: Checkpoint, model: TrainedModel) -> Iterator[str]:
    """Tables of `eval voe` in the run folder, of these weights only."""
    found, digest = False, None
    for protocol in sorted(run_folder_of(checkpoint).glob("*/protocol.json")):
        try:
            evaluated = read_json_object(protocol, ValueError)
            table = (protocol.parent / "table.md").read_text(encoding="utf-8").strip()
            evaluated_hash, evaluated_step = evaluated["model"]["hash"], evaluated["model"]["step"]
            suite = f"{evaluated['suite']['name']}, {evaluated['suite']['trials']} trials"
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if evaluated_step != checkpoint.step:
            continue
        digest = digest or weights_hash(model)
        if evaluated_hash == digest:
            found = True
            yield from (f"### Violation of expectation: {suite}", "", table, "")
    if not found:
        yield "No evaluation of these weights lies in the run folder. `python -m eval voe --out RUN/voe` writes one there; of a"
        yield "run at a URL, upload the folder that it writes to the URL of the run."


def _last_name(path: str) -> str:
    """The last name of a path or URL. Of a model on the Hugging Face hub `hf:OWNER/NAME`, of a folder like it `hf:NAME`."""
    plain = split_version(path)[0].rstrip("/")
    name = os.path.basename(plain)
    if not plain.startswith(HUGGINGFACE):
        return name
    model_id = plain.removeprefix(HUGGINGFACE).removeprefix("//")
    if re.fullmatch(MODEL_ID, model_id) and stays_below(model_id) and not os.path.isdir(model_id):
        return f"{HUGGINGFACE}{model_id}"
    return name if is_url(path) else f"{HUGGINGFACE}{name}"
