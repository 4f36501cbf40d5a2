"""Estimate what a recipe needs: memory, FLOPs, traffic, decoding and time.

    python -m worldmodel.estimate configs/vit_b.yaml --kind h100
    python -m worldmodel.estimate configs/vit_s.yaml --gpus 1 --kind rtx4090 data.batch_size=32

Neither the videos nor a GPU are needed: the step runs on tensors without data. Speeds are assumptions, which are printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worldmodel.config import ConfigError
from worldmodel.data.loader import decode_size_px
from worldmodel.estimate.hardware import PROCESSORS
from worldmodel.estimate.reckoning import Assumptions, Estimate, estimate
from worldmodel.process.arguments import positive_number, whole_number
from worldmodel.process.streams import survive_broken_streams
from worldmodel.recipe import DEMO_RECIPE, Recipe, read_recipe, split_file_and_overrides
from worldmodel.runs.progress import format_duration


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and print the estimate. Exit code 2 for a recipe that is refused, 1 if it does not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m worldmodel.estimate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"YAML file (default: {DEMO_RECIPE.name})")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="override of a field")
    parser.add_argument("--gpus", type=whole_number(1), metavar="N", help="processes (default: those of the recipe, or 1)")
    parser.add_argument("--kind", choices=PROCESSORS, default="h100", help="processor of each process (default %(default)s)")
    default = Assumptions()
    numbers = parser.add_argument_group("assumptions")
    numbers.add_argument("--utilisation", type=positive_number("a number"), default=default.utilisation, metavar="X",
                         help="executed FLOPs per second / peak (default %(default)s)")  # fmt: skip
    numbers.add_argument("--source-fps", type=positive_number("a number"), default=default.source_fps, metavar="X",
                         help="frames per second of the video files (default %(default)s)")  # fmt: skip
    numbers.add_argument("--source-px", type=whole_number(1), metavar="PX",
                         help="short side of the video files (default: that of the decoded frames)")  # fmt: skip
    numbers.add_argument("--decode-ns", type=positive_number("a number"), default=default.decode_ns_per_px, metavar="NS",
                         help="CPU nanoseconds to decode a pixel (default %(default)s)")  # fmt: skip
    numbers.add_argument("--kbit-per-s", type=positive_number("a number"), default=default.kbit_per_s, metavar="X",
                         help="bit rate of the video files (default %(default)s)")  # fmt: skip
    args = parser.parse_intermixed_args(argv)
    file, overrides = split_file_and_overrides(args.recipe, args.overrides)
    assumptions = Assumptions(
        utilisation=args.utilisation,
        source_fps=args.source_fps,
        source_px=args.source_px,
        decode_ns_per_px=args.decode_ns,
        kbit_per_s=args.kbit_per_s,
    )
    try:
        recipe = read_recipe(None if file is None else Path(file), overrides)
        found = estimate(recipe, PROCESSORS[args.kind], args.gpus or recipe.processes or 1, assumptions)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe(recipe, found, assumptions))
    return 0 if found.fits else 1


def describe(recipe: Recipe, found: Estimate, assumptions: Assumptions) -> str:
    """The estimate in lines of text."""
    step, processor = found.step, found.processor
    unit = "GPU" if processor.is_gpu else "core"
    per_clip = found.model_flops / step.clips / 1e9
    recomputed = f" ({step.flops / step.clips / 1e9:,.1f} with recomputation)" if step.flops != found.model_flops else ""
    storage_mb = found.storage_bytes_per_s / 1e6
    peak = processor.peak_flops_per_s(recipe.train.precision)
    short_px = assumptions.source_px or decode_size_px(recipe.data, recipe.window, recipe.augment.crops)
    settings = [recipe.train.precision, recipe.train.parallel if found.processes > 1 else "one process"]
    settings += ["activation checkpointing"] if recipe.model.activation_checkpointing else []
    lines = [
        f"{recipe.run} on {found.processes} x {processor.name}: {', '.join(settings)}",
        f"batch       {recipe.data.batch_size} windows, {step.clips} per {unit}",
        f"parameters  {step.parameters / 1e6:.1f} M trained",
        "",
        f"memory per {unit}, GB (10^9 bytes)",
        f"  weights      {_gb(found.weights)}   with those of a teacher",
        f"  moments      {_gb(found.moments)}   of the optimizer",
        f"  activations  {_gb(found.activations)}   at the peak of a step, with the batch and the gradients that exist then",
        f"  buffers      {_gb(found.buffers)}   of {recipe.train.parallel}",
        f"  reserve      {_gb(found.reserve)}   assumed, for the context of the device and its allocator",
        f"  together     {_gb(found.peak_bytes)}   {_verdict(found)}",
        "",
        f"work         {per_clip:,.1f} GFLOP per window{recomputed}; {step.flops / 1e12:,.3g} TFLOP per step and {unit}",
        f"speed        {found.clips_per_s:,.3g} windows/s per {unit}, {1e3 * found.step_s:,.3g} ms per step",
        f"time         {format_duration(found.total_s)} for {recipe.train.max_steps:,} steps",
        f"traffic      {found.wire / 1e9:.2f} GB per {unit} and step, {found.wire / found.step_s / 1e9:.1f} GB/s",
        f"decoding     {found.decode_cores:.1f} cores per {unit}; the recipe has data.workers={recipe.data.workers}",
        f"storage      {storage_mb:.1f} MB/s per {unit}, {storage_mb * found.processes:.0f} in all",
        "",
        f"Assumed: {assumptions.utilisation:.0%} of the peak of {peak / 1e12:,.4g} TFLOP/s, no waiting for data or processes.",
        f"Videos of {assumptions.source_fps:g} fps, {assumptions.kbit_per_s:g} kbit/s and a short side of {short_px} px; "
        f"{assumptions.decode_ns_per_px:g} ns to decode a pixel.",
        "Memory is that without torch.compile, which needs less.",
    ]
    return "\n".join(lines)


def _gb(count: int) -> str:
    return f"{count / 1e9:8.2f}"


def _verdict(found: Estimate) -> str:
    memory = found.processor.memory_bytes
    if memory is None:
        return "in the memory of the machine"
    if found.fits:
        return f"of {memory / 1e9:.0f}"
    return f"of {memory / 1e9:.0f}: does not fit; lower data.batch_size, or set model.activation_checkpointing=true"


if __name__ == "__main__":
    survive_broken_streams()
    sys.exit(main())
