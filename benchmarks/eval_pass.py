"""Run the model over videos of a suite as `eval voe` does, with the packages on PYTHONPATH: started by benchmarks/eval.py.

Each line on standard input asks for one pass; the answer is a line of JSON with the CPU seconds of each part. The traces of the
first pass are written to the file that is named as the last argument but one. The last one is the precision.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from eval.subject import open_subject
from eval.voe.suites import open_suite
from eval.voe.surprise.calibration import Calibration, SlopeSums, fit_whitenings
from eval.voe.surprise.calibration_videos import find_calibration_videos
from eval.voe.surprise.forecasting import ABLATIONS_IN_LOCKED, ALL_FORECASTERS, MASKED_IN_LOCKED
from eval.voe.surprise.scoring import SurpriseScorer
from eval.voe.surprise.traces import write_traces
from eval.voe.surprise.video_batches import VideoReader, in_pieces
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, merge_moments
from eval.voe.surprise.windows import WindowOptions, plan_windows

CALIBRATION_VIDEOS_AT_ONCE = 25


def main(run: str, suite_folder: str, pieces: int, calibration_videos: int, traces_file: str, precision: str) -> None:
    device = torch.device("cpu")
    torch.set_num_threads(1)
    options = [] if precision == "fp32" else [precision]  # earlier versions know float32 only
    subject, suite = open_subject(run, device, *options), open_suite(f"builtin:{suite_folder}")  # type: ignore[arg-type]
    assert subject.model is not None
    plan = plan_windows(WindowOptions(), subject.model, suite)
    reader = VideoReader(plan, subject.model.size_px, "center_crop")
    source = find_calibration_videos(None, suite, subject).videos[:calibration_videos]
    chunks = [source[first : first + CALIBRATION_VIDEOS_AT_ONCE] for first in range(0, len(source), CALIBRATION_VIDEOS_AT_ONCE)]
    possible = [group for some in chunks for group in reader.read((video, plan.for_calibration) for video in some).groups]
    trials = in_pieces(suite.trials)
    chosen = trials[:: max(1, len(trials) // pieces)][:pieces]
    videos = [[(v, partial(plan.for_trial, trial, v.fps)) for trial in piece for v in trial.videos] for piece in chosen]
    groups = [group for some in videos for group in reader.read(some).groups]
    scorer = SurpriseScorer(subject.model, plan, device, forecasters=ABLATIONS_IN_LOCKED)

    def error_moments() -> Calibration:
        moments: dict[ErrorKey, ErrorMoments] = {}
        for group in possible:
            merge_moments(moments, replace(scorer, forecasters=ALL_FORECASTERS).error_moments(group))
        return Calibration(fit_whitenings(moments))

    def slope(calibration: Calibration) -> Calibration:
        with_control = replace(scorer, forecasters=MASKED_IN_LOCKED)
        sums = sum((with_control.slope_sums(group, calibration) for group in possible), SlopeSums())
        return replace(calibration, control_slope=sums.slope)

    def one_pass() -> tuple[dict[str, float], list]:
        times = [time.process_time()]
        calibration = error_moments()
        times.append(time.process_time())
        calibration = slope(calibration)
        times.append(time.process_time())
        blocks = [block for group in groups for block in scorer.traces(group, calibration)]
        blocks += [block for group in groups for block in scorer.path_traces(group)]
        times.append(time.process_time())
        parts = ("error covariances", "control variate", "traces")
        return {name: end - start for name, start, end in zip(parts, times[:-1], times[1:], strict=True)}, blocks

    write_traces(Path(traces_file), one_pass()[1])
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(one_pass()[0]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
