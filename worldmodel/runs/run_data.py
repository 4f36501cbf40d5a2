"""Find the training data of a run, from any working directory and also after the project was moved.

Training writes absolute paths and the run folder into RUN/recipe.yaml and into checkpoints. Where a
manifest is no longer at its absolute path, the same path relative to the run folder is tried, so
that a project can be moved as a whole. Runs of earlier versions have relative paths. These are tried
in the folders above the run folder, the nearest first, and then in the working directory. A manifest
with other content is never used as that of the run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldmodel.checkpoint import Checkpoint
from worldmodel.config import ConfigError, parse_config, read_config_file
from worldmodel.data.windows import WindowSource
from worldmodel.files.json_files import read_json_object
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.models.pretrained.hub import HUGGINGFACE
from worldmodel.models.targets import FrozenTarget
from worldmodel.recipe import Recipe
from worldmodel.storage.urls import is_url

DIGESTS = "data"  # key of a checkpoint's state: Manifest.digest() of each manifest
RUN_FOLDER = "run_folder"  # key of a checkpoint's state: the absolute path of the run folder when it was written
_MAX_NAMED = 3  # paths in a message
_CHECKPOINT = re.compile(r"(?:damaged-)?[0-9]+")  # name of its folder in RUN/checkpoints


@dataclass(frozen=True)
class RunData:
    """The manifests of a run, in the order of data.manifest, and a message about each one that was not found."""

    manifests: tuple[Path | str | None, ...]  # str: a URL
    missing: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe with these manifest paths. Raises ManifestError where one of them is missing."""
        if self.missing:
            raise ManifestError("; ".join(self.missing))
        return _with_manifests(recipe, [str(path) for path in self.manifests])


def find_data(recipe: Recipe, checkpoint: Checkpoint | None = None, given: Sequence[str] = ()) -> RunData:
    """Find the manifests of a run.

    given: manifests that the user names instead; their content is not compared with that of the run.
    Without a checkpoint, the paths of the recipe are relative to the working directory.
    Raises ManifestError where `given` has another number of manifests than the recipe.
    """
    named = recipe.data.manifests
    if given:
        if len(given) != len(named):
            raise ManifestError(f"{len(given)} manifests are given; this run has {len(named)}: {', '.join(named)}")
        named, checkpoint = tuple(given), None
    if checkpoint is None:
        paths = [name if is_url(name) else Path(os.path.abspath(name)) for name in named]
        is_missing = [isinstance(path, Path) and not path.is_file() for path in paths]
        missing = tuple(f"{name}: no such manifest" for name, absent in zip(named, is_missing, strict=True) if absent)
        return RunData(tuple(None if absent else path for path, absent in zip(paths, is_missing, strict=True)), missing)
    found: list[Path | str | None] = []
    problems: list[str] = []
    for index, name in enumerate(named):
        path, problem = _find(checkpoint, recipe, index, name)
        found.append(path)
        problems += [problem] if path is None else []
    return RunData(tuple(found), tuple(problems))


def resolve_paths(recipe: Recipe, last: Checkpoint | None) -> Recipe:
    """Make the paths of a recipe absolute, for a new run or to resume after the checkpoint `last`.

    On resume, a manifest that is not at the path of the recipe is searched for where the manifest of
    the run lies; the recipe must name the same file. `init_from` and the run of a frozen teacher
    keep the spelling that the run has recorded, where both name the same path.
    """
    written = [name if is_url(name) else os.path.abspath(name) for name in recipe.data.manifests]
    if last is not None:
        began = parse_config(Recipe, last.state["recipe"], source=f"{last.folder}/state.json")
        recorded, is_missing = began.data.manifests, not all(is_url(name) or os.path.exists(name) for name in written)
        if is_missing and len(recorded) == len(written):
            found = find_data(began, last).manifests
            for index, (given, path) in enumerate(zip(recipe.data.manifests, found, strict=True)):
                is_moved = not is_url(written[index]) and not os.path.exists(written[index]) and path is not None
                if is_moved and same_path(last, recorded[index], given, recipe):
                    written[index] = str(path)
    resolved = _with_manifests(recipe, written)
    target = recipe.model.target
    if recipe.init_from is not None:
        init_from = _resolved_weights(last, "init_from", recipe.init_from, recipe)
        resolved = resolved.model_copy(update={"init_from": init_from})
    if isinstance(target, FrozenTarget):
        new_target = target.model_copy(update={"run": _recorded_or_absolute(last, "model.target.run", target.run, recipe)})
        model = recipe.model.model_copy(update={"target": new_target})
        resolved = resolved.model_copy(update={"model": model})
    frozen = getattr(recipe.model, "frozen_encoder", None)
    if frozen is not None:
        source = _resolved_weights(last, "model.frozen_encoder.source", frozen.source, recipe)
        new_frozen = frozen.model_copy(update={"source": source})
        resolved = resolved.model_copy(update={"model": recipe.model.model_copy(update={"frozen_encoder": new_frozen})})
    return resolved


def require_data(recipe: Recipe, last: Checkpoint | None) -> None:
    """Raise ManifestError where a run that resumes after `last` does not find its data."""
    missing = [path for path in recipe.data.manifests if not is_url(path) and not Path(path).exists()]
    if last is not None and missing:
        raise ManifestError(
            f"{', '.join(missing)}: no such manifest, and the run's data is not found relative to {recipe.run} either. "
            "If it was moved, resume with data.manifest=NEW/PATH"
        )


def same_path(last: Checkpoint, recorded: str, given: str, recipe: Recipe) -> bool:
    """Whether a path in a recipe names the same file as the path that a run has recorded.

    True for the same file, for a relative path that is the end of the other path, and for paths that
    are equal relative to the run folder (the file was moved together with the run).
    """
    if os.path.realpath(recorded) == os.path.realpath(given):
        return True
    short, long = sorted((Path(recorded), Path(given)), key=lambda path: path.is_absolute())
    if not short.is_absolute() and Path(os.path.abspath(long)).parts[-len(short.parts) :] == short.parts:
        return True
    before = _relative_to_run(recorded, last.state)
    return before is not None and before == _relative(os.path.abspath(given), os.path.abspath(recipe.run))


def _recorded(last: Checkpoint | None, field: str) -> str | None:
    """The text of a field, such as model.target.run, in the recipe of a checkpoint."""
    node: Any = {} if last is None else last.state["recipe"]
    for part in field.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, str) else None


def _recorded_or_absolute(last: Checkpoint | None, field: str, given: str, recipe: Recipe) -> str:
    """The recorded spelling of a path where both name the same file, else the absolute path. A URL stays as it is."""
    if is_url(given):
        return given
    recorded = _recorded(last, field)
    if last is not None and recorded is not None and same_path(last, recorded, given, recipe):
        return recorded
    return os.path.abspath(given)


def _resolved_weights(last: Checkpoint | None, field: str, given: str, recipe: Recipe) -> str:
    """As `_recorded_or_absolute`, after the prefix "hf:" of published weights. An id on the hub is no path and is kept."""
    if not given.startswith(HUGGINGFACE):
        return _recorded_or_absolute(last, field, given, recipe)
    recorded, where = _recorded(last, field), given.removeprefix(HUGGINGFACE)
    name = recorded.removeprefix(HUGGINGFACE) if recorded is not None and recorded.startswith(HUGGINGFACE) else None
    if last is not None and name is not None and same_path(last, name, where, recipe):
        return HUGGINGFACE + name
    return HUGGINGFACE + os.path.abspath(where) if os.path.isdir(where) else given


def _with_manifests(recipe: Recipe, paths: Sequence[str]) -> Recipe:
    manifest = paths[0] if isinstance(recipe.data.manifest, str) else tuple(paths)
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"manifest": manifest})})


def run_folder_of(checkpoint: Checkpoint) -> Path:
    """The run folder that a checkpoint lies in (RUN/checkpoints/NUMBER), absolute.

    A checkpoint elsewhere, such as one that was exported or downloaded, is its own run folder: what lies in the folders above
    it belongs to something else.
    """
    folder = Path(os.path.abspath(checkpoint.folder))
    return folder.parent.parent if _is_in_a_run(folder) else folder


def _is_in_a_run(folder: Path) -> bool:
    return folder.parent.name == "checkpoints" and _CHECKPOINT.fullmatch(folder.name) is not None


# --- search ----------------------------------------------------------------------------------------------------------
def _find(checkpoint: Checkpoint, recipe: Recipe, index: int, name: str) -> tuple[Path | str | None, str]:
    """The path of a manifest, or None and a message with the paths that were tried."""
    if is_url(name):  # it does not move with the run; the run compares its digest when it begins
        return name, ""
    tried: list[Path] = []
    mismatching: list[Path] = []
    records = _recorded_states(checkpoint)
    for path in _candidate_paths(checkpoint, records, index, name):
        if path in tried:
            continue
        tried.append(path)
        if path.is_file():
            if any(_is_manifest_of_run(path, record, index, recipe) for record in records):
                return path, ""
            mismatching.append(path)
    if mismatching:
        return None, f"{mismatching[0]} is not the data that this run was trained on (its clips differ)"
    if Path(name).is_absolute():
        return None, f"{' and '.join(map(str, tried[:_MAX_NAMED]))}: no such manifest"
    run = run_folder_of(checkpoint)
    return None, f"{name}: no such manifest in {run}, in the folders above it, or in {Path.cwd()}"


def _candidate_paths(checkpoint: Checkpoint, records: Sequence[Mapping[str, Any]], index: int, name: str) -> Iterator[Path]:
    """Paths where a manifest may be, the most likely first."""
    run = run_folder_of(checkpoint)
    names = [*_manifest_in_recipe_file(run, index), name]
    for path in filter(os.path.isabs, names):
        yield Path(path)
    for path in filter(os.path.isabs, names):
        for record in records:
            if (relative := _relative_to_run(path, record)) is not None:
                yield Path(os.path.normpath(run / relative))
    for path in names:
        if not os.path.isabs(path):
            yield from (Path(os.path.normpath(folder / path)) for folder in (run, *run.parents))
            yield Path(os.path.abspath(path))


def _manifest_in_recipe_file(run: Path, index: int) -> list[str]:
    """The manifest path in RUN/recipe.yaml. It is newer than that of the best checkpoint after a move and a resume."""
    try:
        manifest = read_config_file(run / "recipe.yaml")["data"]["manifest"]
        return [str([manifest][index] if isinstance(manifest, str) else manifest[index])]
    except (ConfigError, KeyError, IndexError, TypeError):
        return []


def _recorded_states(checkpoint: Checkpoint) -> list[Mapping[str, Any]]:
    """The states of this checkpoint and of the last checkpoint of the run."""
    if not _is_in_a_run(Path(os.path.abspath(checkpoint.folder))):
        return [checkpoint.state]
    last = sorted(checkpoint.folder.parent.glob("[0-9]*/state.json"))[-1:]
    try:
        return [checkpoint.state, *(read_json_object(path, ValueError) for path in last)]
    except (OSError, ValueError):
        return [checkpoint.state]


def _is_manifest_of_run(path: Path, record: Mapping[str, Any], index: int, recipe: Recipe) -> bool:
    """Whether a run was trained on a manifest, by its digest, else by its number of training windows."""
    try:
        manifest = Manifest.open(path)
        if isinstance(digests := record.get(DIGESTS), list):
            return index < len(digests) and bool(manifest.digest() == digests[index])
        windows = record.get("windows")
        return windows is None or bool(len(WindowSource(manifest, "train", recipe.window)) == windows[index])
    except (ManifestError, IndexError):
        return False


def _relative_to_run(path: str, record: Mapping[str, Any]) -> str | None:
    """A path relative to the run folder at the time of the record; None where that folder is unknown."""
    folder = record.get(RUN_FOLDER)
    return _relative(path, folder) if isinstance(folder, str) and os.path.isabs(path) else None


def _relative(path: str, folder: str) -> str | None:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # on another drive of Windows
        return None
