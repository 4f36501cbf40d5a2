"""How bfloat16 in parts of a model changes the surprise of `eval voe`: the error of differences of pairs, and the speed.

    python -m benchmarks.eval_precision RUN SUITE [--pieces 4] [--calibration-videos 25]

SUITE is a folder of the built-in suite. A piece is 8 trials. The calibration is that of float32 for all variants. The error is
that of the difference of surprise of a pair (impossible minus possible), root mean square, relative to the median of these
differences. A pair changes sides where its difference changes the sign. CPU time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.measure import add_out, describe_machine, markdown_table, write_results
from eval import precision
from eval.subject import open_subject
from eval.voe.suites import open_suite
from eval.voe.surprise.calibration import Calibration, fit_whitenings
from eval.voe.surprise.calibration_videos import find_calibration_videos
from eval.voe.surprise.forecasting import MODEL_ONLY
from eval.voe.surprise.scoring import SurpriseScorer
from eval.voe.surprise.video_batches import VideoReader, in_pieces
from eval.voe.surprise.windows import WindowOptions, plan_windows
from worldmodel.models.blocks.layers import Blocks
from worldmodel.process.arguments import whole_number

FORECASTS = ("forecast_from_latents", "forecast_all", "forecast", "rollout")
VARIANTS = {
    "everything in bfloat16": (precision.METHODS, False),
    "encoder in float32": (FORECASTS, False),
    "residual stream in float32": (precision.METHODS, True),
    "both": (FORECASTS, True),
}
"""Methods that run in bfloat16, and whether the states between the blocks stay in float32."""
SCORERS = ("whitened", "latent distance")
Surprises = Mapping[tuple[str, str, str], float]
"""Mean surprise by windows, scorer and video."""


def open_model(run: Path, methods: tuple[str, ...], residual_in_float32: bool) -> Any:
    """The model of a run with these methods in bfloat16."""
    with mock.patch.object(precision, "METHODS", methods):
        model: Any = open_subject(str(run), torch.device("cpu"), "bf16" if methods else "fp32").model
    for module in model.modules() if residual_in_float32 else ():
        if isinstance(module, Blocks):
            module.register_forward_pre_hook(lambda _module, given: (given[0].float(), *given[1:]))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--pieces", type=whole_number(1), default=4)
    parser.add_argument("--calibration-videos", type=whole_number(2), default=25)
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    device, suite = torch.device("cpu"), open_suite(f"builtin:{args.suite}")
    subject = open_subject(str(args.run), device)
    assert subject.model is not None
    plan = plan_windows(WindowOptions(), subject.model, suite)
    reader = VideoReader(plan, subject.model.size_px, "center_crop")
    possible = find_calibration_videos(None, suite, subject).videos[: args.calibration_videos]
    pieces = in_pieces(suite.trials)
    chosen = pieces[:: max(1, len(pieces) // args.pieces)][: args.pieces]
    videos = [(video, partial(plan.for_trial, t, video.fps)) for piece in chosen for t in piece for video in t.videos]
    groups = reader.read(videos).groups

    def scorer_of(model: Any) -> SurpriseScorer:
        return SurpriseScorer(model, plan, device, forecasters=MODEL_ONLY)

    calibration_groups = reader.read((video, plan.for_calibration) for video in possible).groups
    assert len(calibration_groups) == 1, "the calibration videos of the built-in suite are equally long"
    calibration = Calibration(fit_whitenings(scorer_of(subject.model).error_moments(calibration_groups[0])))

    def surprises(model: Any) -> tuple[Surprises, float]:
        found, start = defaultdict(list), time.process_time()
        for block in (block for group in groups for block in scorer_of(model).traces(group, calibration)):
            for video_id, values in zip(block.video_ids, block.surprise, strict=True):
                found[block.windows, str(block.scorer), video_id].append(float(np.mean(values)))
        return {key: float(np.mean(values)) for key, values in found.items()}, time.process_time() - start

    exact, exact_s = surprises(subject.model)
    rows, results = [], {}
    for name, variant in VARIANTS.items():
        changed, changed_s = surprises(open_model(args.run, *variant))
        for windows in ("locked", "sliding"):
            for scorer in SCORERS:
                one, other = (np.array([*differences(chosen, of, windows, scorer)]) for of in (exact, changed))
                error = float(np.sqrt(np.mean((one - other) ** 2)) / np.median(np.abs(one)))
                sides = int((np.sign(one) != np.sign(other)).sum())
                rows.append(
                    [name, windows, scorer, f"{100 * error:.2f} %", f"{sides} of {len(one)}", f"{exact_s / changed_s:.2f}"]
                )
                results[f"{name}, {windows}, {scorer}"] = {"error": error, "changed_sides": sides, "pairs": len(one)}
    machine = describe_machine(("torch",))
    print(f"{machine.line()}\n")
    print(markdown_table(("variant", "windows", "scorer", "error", "pairs that change sides", "speed-up"), rows))
    write_results(args.out, machine, {"variants": results})


def differences(pieces: Any, surprise: Surprises, windows: str, scorer: str) -> Iterator[float]:
    """Surprise of the impossible minus that of the possible video, for each pair that has such windows."""
    for trial in (trial for piece in pieces for trial in piece):
        for pair in trial.pairs:
            keys = [(windows, scorer, trial.videos[index].video_id) for index in (pair.impossible, pair.possible)]
            if all(key in surprise for key in keys):
                yield surprise[keys[0]] - surprise[keys[1]]


if __name__ == "__main__":
    main()
