"""Measure training on one GPU: `python -m benchmarks.gpu --out gpu.json`. It takes at most eight minutes.

Speed, utilisation and memory of the recipes against their goals and the estimate; how often a step waits for the GPU; how many
windows the data workers decode; whether losses equal those of the CPU; mixed precision and compilation on and off. Each part
runs in a process of its own with a time limit, and a part that fails does not stop the others.

`--device cpu --miniature` runs all parts with tiny models on a CPU, to test this script.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import gpu_parts
from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from worldmodel.process.cores import usable_cores

TOTAL_S = 470.0
ESTIMATES_S = 90.0  # of TOTAL_S
GOALS = {"vit_b": 0.40, "vit_l": 0.45, "vjepa_vit_l": 0.45}  # model FLOPs utilisation in bf16


@dataclass(frozen=True)
class Part:
    """One measurement."""

    name: str
    limit_s: float
    run: Callable[..., dict[str, Any]]
    arguments: dict[str, Any]


def parts_of(device: str, miniature: bool) -> list[Part]:
    """All parts, the most important ones first."""
    common = {"device": device, "miniature": miniature}
    seconds = 0.1 if miniature else 6.0
    parts = [Part("device", 30, gpu_parts.device_facts, {"device": device})]
    for name, limit_s in (("vit_b", 100), ("vit_l", 110), ("vjepa_vit_l", 60)):
        parts.append(Part(f"recipe {name}", limit_s, gpu_parts.throughput, {"name": name, "seconds": seconds, **common}))
    for name in ("vit_s", "vjepa_vit_l"):
        parts.append(Part(f"waits {name}", 30, gpu_parts.synchronisations, {"name": name, **common}))
        parts.append(Part(f"losses {name}", 30, gpu_parts.loss_equality, {"name": name, "device": device}))
    feed_s = 0.5 if miniature else 10.0
    parts.append(Part("feed", 45, gpu_parts.feed_rate, {"name": "vit_b", "miniature": miniature, "seconds": feed_s}))
    for precision in ("fp32", "bf16"):
        for compiled in (False,) if miniature else (False, True):
            arguments = {"name": "vit_s", "seconds": seconds / 2, "precision": precision, "compile": compiled, **common}
            parts.append(Part(f"vit_s {precision}{' compiled' if compiled else ''}", 50, gpu_parts.throughput, arguments))
    return parts


def with_estimates(parts: Sequence[Part]) -> list[Part]:
    """Give each measurement of a recipe its estimate, so that no measurement spends its time on it.

    The estimates are computed at the same time, on processors alone. Where one fails or is not there after ESTIMATES_S, the
    part has none.
    """
    until = time.monotonic() + ESTIMATES_S

    def estimated(part: Part) -> dict[str, Any]:
        arguments = {key: value for key, value in part.arguments.items() if key != "seconds"}
        left_s = max(0.0, until - time.monotonic())
        return run_part(Part(part.name, left_s, gpu_parts.expected_of, arguments), left_s, start_method="spawn")

    wanted = [part for part in parts if part.run is gpu_parts.throughput]
    with ThreadPoolExecutor(max_workers=min(4, usable_cores())) as pool:
        answers = dict(zip((part.name for part in wanted), pool.map(estimated, wanted), strict=True))
    for name, answer in answers.items():
        if "failed" in answer:  # the speed is worth measuring without it
            print(f"{name}: no estimate ({answer['failed'][:200]})", flush=True)
    found = {name: answer["expected"] for name, answer in answers.items() if "expected" in answer}
    return [
        replace(part, arguments={**part.arguments, "expected": found[part.name]}) if part.name in found else part
        for part in parts
    ]


def run_part(part: Part, limit_s: float, start_method: str = "fork") -> dict[str, Any]:
    """Run a part in a process of its own. A part that fails or exceeds its limit returns {"failed": reason}.

    The parent never uses the GPU, so that forked children can. Parts that are run from several threads are spawned.
    """
    context: Any = multiprocessing.get_context(start_method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, part))
    started = time.monotonic()
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(limit_s) else {"failed": f"it took longer than {limit_s:.0f} s"}
    except EOFError:
        process.join(5)
        found = {"failed": f"the process ended with exit code {process.exitcode}"}
    process.join(0.5 if "failed" in found else 10)
    if process.is_alive():
        process.kill()
        process.join()
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def _child(sender: Connection, part: Part) -> None:
    try:
        found = part.run(**part.arguments)
    except Exception as error:  # any failure is a result
        found = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
    sender.send(found)


def tables(found: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown."""
    speed_rows, rows = [], []
    for name, result in found.items():
        if "failed" in result:
            rows.append([name, f"failed: {result['failed']}"])
        elif "step_ms" in result:
            goal = GOALS.get(name.removeprefix("recipe "))
            settings = [result["precision"], *(word for word in ("compile", "checkpointing") if result[word])]
            speed_rows.append([
                name, ", ".join(settings), _number(result["step_ms"]), _number(result["clips_per_s"]),
                _number(result["tflops_per_s"]), _percent(result["mfu"]), _percent(goal),
                _number(result["peak_gb"]), _number(result["estimated_gb"]),
            ])  # fmt: skip
        else:
            rows.append([name, ", ".join(f"{key} {_text(value)}" for key, value in result.items() if key != "seconds")])
    headers = ["part", "settings", "ms/step", "clips/s", "TFLOP/s", "MFU", "goal", "peak GB", "estimated GB"]
    return f"{markdown_table(headers, speed_rows)}\n\n{markdown_table(['part', 'result'], rows)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return " ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Run all parts, print tables, and write the results. Exit code 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--miniature", action="store_true", help="tiny models, to test this script")
    parser.add_argument("--only", metavar="WORD", default="", help="only the parts whose name contains this word")
    add_out(parser)
    args = parser.parse_args(argv)
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a check for GPUs does not start CUDA, which a fork would not survive
    importlib.import_module("torch._dynamo")  # a second that all parts would need
    deadline = time.monotonic() + TOTAL_S
    found: dict[str, dict[str, Any]] = {}
    for part in with_estimates([part for part in parts_of(args.device, args.miniature) if args.only in part.name]):
        left_s = deadline - time.monotonic()
        found[part.name] = run_part(part, min(part.limit_s, left_s)) if left_s > 1 else {"failed": "no time was left"}
        print(f"{part.name}: {found[part.name]}", flush=True)
    machine = describe_machine(("torch", "accelerate", "numpy", "av"))
    print(f"\n{machine.line()}\n\n{tables(found)}")
    write_results(args.out, machine, {"parts": found})
    return int(any("failed" in result for result in found.values()))


if __name__ == "__main__":
    raise SystemExit(main())
