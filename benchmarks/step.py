"""A whole training step of the V-JEPA family beside its peers, its growth, and training steps beside an older commit.

    python -m benchmarks.step [--cases tiny128 tiny64 small224] [--rounds 7] [--out FILE.json]
    python -m benchmarks.step --growth [masked | causal] | --attention | --profile | --against COMMIT [RECIPE.yaml ...]

A step is forward, backward, optimizer and EMA teacher. The peers are a slow, obvious implementation of V-JEPA 2's step
(benchmarks/steps/vjepa2_reference.py) and VJEPA2Model of `transformers`, with the same weights, frames and masks, so all
compute the same loss. One thread; set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import add_out, describe_machine, markdown_table, paired, write_results
from benchmarks.steps.against import compare
from benchmarks.steps.attention_sizes import SIZES as ATTENTION_SIZES
from benchmarks.steps.attention_sizes import measure_attention
from benchmarks.steps.cases import CASES
from benchmarks.steps.contenders import CONTENDERS, Precision, build_step
from benchmarks.steps.growth import SIZES as GROWN_SIZES
from benchmarks.steps.growth import measure_growth
from benchmarks.steps.operations import least_times
from benchmarks.steps.probe import probe
from worldmodel.process.arguments import whole_number
from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.recipe import DEMO_RECIPE

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PEAK_SIDE = 2048  # rows and columns of the matrices that measure the peak
MIB = 1 << 20
SHOWN = 20  # operations in a profile


def product(precision: Precision) -> Callable[[], object]:
    """A product of two large square matrices: the floor of a step."""
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE).to(DTYPES[precision])
    return lambda: left @ right


def flops_of_step(case: str) -> int:
    """FLOPs of the matrix products of one of our steps, those of attention included."""
    step = build_step("ours", CASES[case], "fp32")
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def compare_peers(names: list[str], rounds: int) -> dict[str, Any]:
    """Compare steps of all contenders; print and return the results."""
    contenders = [name for name in CONTENDERS if name != "transformers" or find_spec("transformers")]
    rows, found = [], {}
    for name in names:
        flops = flops_of_step(name)
        for precision in PRECISIONS:
            steps: dict[str, Callable[[], object]] = {c: build_step(c, CASES[name], precision) for c in contenders}
            losses = {contender: step() for contender, step in steps.items()}
            comparison = paired({**steps, "product": product(precision)}, rounds)
            peaks = {c: probe(contender=c, case=name, precision=precision).peak_bytes for c in contenders}
            peak_flops = 2 * PEAK_SIDE**3 / comparison.cpu_s("product")
            share = flops / comparison.cpu_s("ours") / peak_flops
            others = [c for c in contenders if c != "ours"]
            rows.append([
                CASES[name].title(), precision, f"{1e3 * comparison.cpu_s('ours'):.0f}",
                *(f"{comparison.ratio(c, 'ours')}" for c in others),
                *(f"{peaks['ours'] / peaks[c]:.2f}" for c in others),
                f"{peaks['ours'] / MIB:.0f}", f"{peak_flops / 1e9:.0f}", f"{100 * share:.0f} %",
            ])  # fmt: skip
            print(*rows[-1], sep=" | ", flush=True)
            found[f"{name} {precision}"] = {
                "losses": losses, "flops": flops, "peak_flops_per_s": peak_flops, "share_of_peak": share, "peak_bytes": peaks,
                "steps": comparison.as_json("ours"),
            }  # fmt: skip
    others = [c for c in contenders if c != "ours"]
    headers = ["case", "precision", "ours, CPU ms", *(f"{c} / ours" for c in others)]
    headers += [*(f"memory, ours / {c}" for c in others), "ours, MiB", "peak, GFLOP/s", "share of peak"]
    print("\n" + markdown_table(headers, rows))
    return found


def compare_growth(families: Sequence[str]) -> dict[str, Any]:
    """Measure exponents of time and memory; print and return them. Emulated bfloat16 is left out."""
    precisions = [precision for precision in PRECISIONS if precision == "fp32" or multiplies_bfloat16(torch.device("cpu"))]
    wanted = [(family, precision, varied) for family in families for precision in precisions for varied in GROWN_SIZES[family]]
    found = {" ".join(each): measure_growth(*each) for each in wanted}
    rows = [
        [g.family, g.varied, g.precision, ", ".join(map(str, g.uses)),
         ", ".join(f"{1e3 * use.cpu_s:.0f}" for use in g.uses.values()), f"{g.time_exponent:.2f}",
         ", ".join(f"{use.peak_bytes / MIB:.0f}" for use in g.uses.values()), f"{g.memory_exponent:.2f}"]
        for g in found.values()
    ]  # fmt: skip
    print(markdown_table(["family", "varied", "precision", "sizes", "CPU ms", "exponent", "MiB", "exponent"], rows))
    return {name: asdict(growth) for name, growth in found.items()}


def compare_attention(rounds: int) -> dict[str, Any]:
    """Measure attention by products against torch's kernel; print and return the results."""
    rows, found = [], {}
    for precision in PRECISIONS:
        for size in ATTENTION_SIZES:
            comparison = measure_attention(size, DTYPES[precision], rounds)
            names = [name for name in comparison.samples if name != "torch"]
            rows.append([precision, " x ".join(map(str, size)), *(str(comparison.ratio("torch", name)) for name in names)])
            found[f"{precision} {size}"] = comparison.as_json("torch")
    print(markdown_table(["precision", "B x H x S x F", *(f"torch / {name}" for name in names)], rows))
    return found


def compare_operations(names: list[str], rounds: int) -> dict[str, Any]:
    """Profile our steps and those of the reference in bf16; print and return the time of each operation."""
    found = {}
    for name in names:
        steps = {contender: build_step(contender, CASES[name], "bf16") for contender in ("ours", "vjepa2")}
        least = found[name] = least_times(steps, rounds)
        totals = {contender: sum(times.values()) for contender, times in least.items()}
        order = sorted(set(least["ours"]) | set(least["vjepa2"]), key=lambda it: -max(least[c][it] for c in steps))[:SHOWN]
        rows = [
            [it, *(cell for c in steps for cell in (f"{least[c][it]:.1f}", f"{100 * least[c][it] / totals[c]:.1f}"))]
            for it in order
        ]
        rows.append(["all", *(cell for c in steps for cell in (f"{totals[c]:.0f}", "100"))])
        print(f"\n{CASES[name].title()}, bf16\n")
        print(markdown_table(["operation", "ours, ms", "%", "vjepa2, ms", "%"], rows))
    return found


def compare_commits(commit: str, recipes: list[Path], rounds: int) -> dict[str, Any]:
    """Compare training steps of recipes with those of another commit; print and return the results."""
    found = list(compare(commit, recipes, PRECISIONS, rounds))
    rows = [
        [s.recipe, s.precision, str(s.ratio), f"{s.loss_before:.7f}", f"{s.loss_now:.7f}"]
        for s in found
    ]  # fmt: skip
    print(markdown_table(["recipe", "precision", f"CPU time, {commit} / now", f"first loss, {commit}", "now"], rows))
    return {f"{s.recipe} {s.precision}": {**asdict(s), "ratio": asdict(s.ratio)} for s in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, help="with --against (default: that of the demo)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=whole_number(2), default=7)
    what = parser.add_mutually_exclusive_group()
    families, grown = list(GROWN_SIZES), "exponents of time and memory in frames, pixels and width"
    what.add_argument("--growth", nargs="*", choices=families, metavar="FAMILY", help=f"{grown}: of {' and '.join(families)}")
    what.add_argument("--attention", action="store_true", help="both implementations of attention, and sizes of a block")
    what.add_argument("--profile", action="store_true", help="time of a step by operation, ours and vjepa2's")
    what.add_argument("--against", metavar="COMMIT", help="training steps of recipes beside those of another commit")
    add_out(parser)
    args = parser.parse_args()
    if args.recipes and not args.against:
        parser.error("recipes are measured with --against COMMIT only")
    torch.set_num_threads(1)
    machine = describe_machine(("torch", "transformers"))
    print(machine.line() + "\n")
    if args.growth is not None:
        results = compare_growth(args.growth or families)
    elif args.attention:
        results = compare_attention(args.rounds)
    elif args.profile:
        results = compare_operations(args.cases, args.rounds)
    elif args.against:
        results = compare_commits(args.against, [file.resolve() for file in args.recipes] or [DEMO_RECIPE], args.rounds)
    else:
        results = compare_peers(args.cases, args.rounds)
    write_results(args.out, machine, {"results": results})


if __name__ == "__main__":
    main()
