"""Export a trained model: `python -m worldmodel.export RUN --to hf:FOLDER|model:FOLDER|vjepa2:FILE`.

    hf:FOLDER      config.json and model.safetensors, which `transformers` opens as VJEPA2Model
    model:FOLDER   a checkpoint without optimizer state, which `worldmodel.load_model` opens, here and from the hub
    vjepa2:FILE    a checkpoint of the original code (`encoder`, `predictor`, `target_encoder`)

A folder gets a model card, README.md, with data, recipe, health and scores. --push hands it to the Hugging Face hub.
hf: and vjepa2: need a model of kind masked with tiled_rotary true. What was written is read back and compared with the model.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

if __name__ == "__main__":
    from worldmodel.process import interrupts, streams

    streams.survive_broken_streams()
    interrupts.exit_at_once("export")

import torch
from safetensors.torch import save_file
from torch import Tensor

from worldmodel.checkpoint import Checkpoint, CheckpointError, find_checkpoint, load_model, write_state
from worldmodel.checkpoint.shards import FILE_OF_RANK
from worldmodel.config import ConfigError
from worldmodel.files.atomic import atomic_path, write_text
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.outputs import ForeignFileError, output_file, output_folder, sha256_of
from worldmodel.models.blocks.lora import merge_adapters
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.hub import push_folder
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2 import load_huggingface, load_original, save_huggingface, save_original
from worldmodel.process.arguments import check_names, path_or_url
from worldmodel.recipe import Recipe
from worldmodel.runs.model_card import model_card, portable_recipe

LAYOUTS = ("hf", "model", "vjepa2")
ANOTHER_TARGET = "export to another path"
CARD = "README.md"
_STATE_FIELDS = ("step", "samples", "seconds", "skill", "windows", "data", "random")  # without machine and paths


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and export; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run_help = "run folder (its best checkpoint) or checkpoint folder, also a URL"
    parser.add_argument("run", type=path_or_url, metavar="RUN", help=run_help)
    target_help = "layout and path of the export"
    parser.add_argument("--to", required=True, metavar="hf:FOLDER|model:FOLDER|vjepa2:FILE", help=target_help)
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this model id on the Hugging Face hub")
    parser.add_argument("--private", action="store_true", help="if --push creates the model id, create it as private")
    args = parser.parse_args(argv)
    check_names(parser, args)
    layout, _, target = args.to.partition(":")
    if layout not in LAYOUTS or not target:
        parser.error(f"--to {args.to}: expected hf:FOLDER, model:FOLDER or vjepa2:FILE")
    if args.push and layout == "vjepa2":
        parser.error("--push uploads a folder with a model card; use --to hf:FOLDER or --to model:FOLDER")
    try:
        files = export(args.run, layout, Path(target), args.push)
        print(f"{args.run} exported to {target}")
        if args.push:
            print(f"uploaded to {push_folder(Path(target), args.push, files, args.private)}")
    except (CheckpointError, ConfigError, PretrainedError, ForeignFileError, FolderLockError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def export(run: Path | str, layout: str, target: Path, model_id: str | None = None) -> list[str]:
    """Write the model of a run to `target`; return the names of the files. model_id: on the hub, for its card.

    Raises PretrainedError if the layout cannot represent the model; ForeignFileError, before anything is written, if a file of
    that name exists that an earlier export did not write.
    """
    checkpoint = find_checkpoint(run)
    model, recipe = load_model(checkpoint.folder)
    card = model_card(checkpoint, model, recipe, layout, model_id)
    merge_adapters(model)
    if layout == "model":
        return _export_checkpoint(checkpoint, recipe, model, target, card)
    if not isinstance(model, MaskedWorldModel):
        raise PretrainedError(
            f"{run} holds a {model.config.kind} model; only models of kind masked fit this layout. Use --to model:FOLDER"
        )
    if layout == "hf":
        files = ["config.json", "model.safetensors", CARD]
        with output_folder(target, files, ANOTHER_TARGET):
            save_huggingface(model, target)
            written = load_huggingface(target)
            _check_equal(written.encoder, model.teacher or model.encoder, target)
            _check_equal(written.predictor, model.predictor, target)
            write_text(target / CARD, card)
        return files
    with output_file(target, ANOTHER_TARGET):
        save_original(model, target)
        copy = MaskedWorldModel(model.config, model.window)
        load_original(target, copy)
        _check_equal(copy, model, target)
    return [target.name]


def _export_checkpoint(checkpoint: Checkpoint, recipe: Recipe, model: torch.nn.Module, target: Path, card: str) -> list[str]:
    """Copy weights and decoder, with merged adapters and without shards, and a state.json without paths of this machine."""
    state = checkpoint.state
    copied = [file for file in state["sha256"] if not file.startswith("optimizer") and not FILE_OF_RANK.fullmatch(file)]
    joined = {found["name"] for file in state["sha256"] if (found := FILE_OF_RANK.fullmatch(file))} - {"optimizer"}
    weights = [*copied, *(f"{name}.safetensors" for name in sorted(joined))]
    files = [*weights, "state.json", CARD]
    with output_folder(target, files, ANOTHER_TARGET):
        for file in weights:
            with atomic_path(target / file) as part:
                if file == "model.safetensors" and recipe.model.lora is not None:  # the adapters are part of the weights now
                    merged = {key: value for key, value in model.state_dict().items() if not key.startswith("teacher.")}
                    save_file({key: value.contiguous() for key, value in merged.items()}, part)
                elif file in copied:
                    shutil.copyfile(checkpoint.folder / file, part)
                else:
                    save_file(checkpoint.tensors(file.removesuffix(".safetensors")), part)
        kept = {key: value for key, value in state.items() if key in _STATE_FIELDS}
        digests = {file: sha256_of(target / file) for file in weights}
        merged_recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"lora": None})})
        portable = portable_recipe(merged_recipe).model_dump(mode="json")
        write_state(target, {**kept, "recipe": portable, "sha256": digests})
        _check_equal(load_model(target)[0], model, target)
        write_text(target / CARD, card)
    return files


def _check_equal(found: torch.nn.Module, expected: torch.nn.Module, target: Path) -> None:
    """Raise PretrainedError unless both modules have the same weights, bit for bit."""
    weights: dict[str, Tensor] = expected.state_dict()
    wrong = [name for name, value in found.state_dict().items() if not torch.equal(value, weights[name])]
    if wrong:
        raise PretrainedError(f"{target} differs from the model in {', '.join(wrong[:3])}; do not use it, and export again")


if __name__ == "__main__":
    sys.exit(main())
