"""Export a trained model in the layout of V-JEPA 2: `python -m worldmodel.export RUN --to hf:FOLDER|vjepa2:FILE`.

    hf:FOLDER      config.json and model.safetensors, which `transformers` opens as VJEPA2Model
    vjepa2:FILE    a checkpoint of the original code (`encoder`, `predictor`, `target_encoder`)

The model must be of kind masked with tiled_rotary true. What was written is read back and compared with the model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    from worldmodel.process import interrupts, streams

    streams.survive_broken_streams()
    interrupts.exit_at_once("export")

import torch
from torch import Tensor

from worldmodel.checkpoint import CheckpointError, load_model
from worldmodel.config import ConfigError
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.outputs import ForeignFileError, output_file, output_folder
from worldmodel.models.masked import MaskedWorldModel
from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.vjepa2 import load_huggingface, load_original, save_huggingface, save_original
from worldmodel.process.arguments import check_utf8

LAYOUTS = ("hf", "vjepa2")
ANOTHER_TARGET = "export to another path"


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and export; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder (its best checkpoint) or checkpoint folder")
    parser.add_argument("--to", required=True, metavar="hf:FOLDER|vjepa2:FILE", help="layout and path of the export")
    args = parser.parse_args(argv)
    check_utf8(parser, args)
    layout, _, target = args.to.partition(":")
    if layout not in LAYOUTS or not target:
        parser.error(f"--to {args.to}: expected hf:FOLDER or vjepa2:FILE")
    try:
        export(args.run, layout, Path(target))
    except (CheckpointError, ConfigError, PretrainedError, ForeignFileError, FolderLockError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"{args.run} exported to {target}")
    return 0


def export(run: Path, layout: str, target: Path) -> None:
    """Write the model of a run to `target`. Raises PretrainedError if the layout cannot represent the model.

    Raises ForeignFileError, before anything is written, if a file of that name exists that an earlier export did not write.
    """
    model, _ = load_model(run)
    if not isinstance(model, MaskedWorldModel):
        raise PretrainedError(f"{run} holds a {model.config.kind} model; only models of kind masked can be exported")
    if layout == "hf":
        with output_folder(target, ["config.json", "model.safetensors"], ANOTHER_TARGET):
            save_huggingface(model, target)
            _check_equal(load_huggingface(target).encoder, model.teacher or model.encoder, target)
        return
    with output_file(target, ANOTHER_TARGET):
        save_original(model, target)
        copy = MaskedWorldModel(model.config, model.window)
        load_original(target, copy)
        _check_equal(copy, model, target)


def _check_equal(found: torch.nn.Module, expected: torch.nn.Module, target: Path) -> None:
    """Raise PretrainedError unless both modules have the same weights, bit for bit."""
    weights: dict[str, Tensor] = expected.state_dict()
    wrong = [name for name, value in found.state_dict().items() if not torch.equal(value, weights[name])]
    if wrong:
        raise PretrainedError(f"{target} differs from the model in {', '.join(wrong[:3])}; do not use it, and export again")


if __name__ == "__main__":
    sys.exit(main())
