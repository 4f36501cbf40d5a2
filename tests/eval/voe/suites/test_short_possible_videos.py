"""Calibration videos that are too few or too short: a note or a one-line error, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eval.__main__ import main
from eval.errors import EvalError
from eval.voe.scorers import Fit
from eval.voe.surprise.calibration import fit_whitenings
from eval.voe.surprise.calibration_videos import CalibrationSource, plan_calibration, reachable_steps
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Video
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import write_video

RECIPE = """
window: {frames: 24, fps: 12, size_px: 16}
data: {manifest: nowhere.parquet}
model:
  kind: causal
  encoder: {patch_px: 8, tubelet_size: 2, width: 16, depth: 1, heads: 2, latent_dim: 4, head_width: 16}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 6}
  rollout_steps: 0
"""
PLAN = WindowPlan(fps=5, frames=16, stride=2, contexts=(2, 4), horizon=6, tubelet_size=2, max_context=24)
LONG, SHORT, SHORTER_THAN_A_LATENT = (60, 12.0), (24, 12.0), (1, 12.0)
MANIFESTS = {
    "one": [LONG],
    "two": [LONG, LONG],
    "two short": [SHORT, SHORT],
    "one long, others short": [LONG, SHORT, SHORT, SHORT],
    "one long, others of a frame": [LONG, *[SHORTER_THAN_A_LATENT] * 4],
    "of a frame": [SHORTER_THAN_A_LATENT] * 4,
    "shorter than two latents": [(3, 12.0)] * 4,
    "fast": [(12, 120.0)] * 4,
    "slow": [(4, 1.0)] * 4,
}


def noise(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, 16, 16, 3), np.uint8)


@pytest.fixture
def possible(tmp_path):
    """[(frames, fps)] -> a manifest of videos of these lengths and rates, all in split val."""

    def make(sizes: list[tuple[int, float]]) -> Path:
        clips = []
        for index, (frames, fps) in enumerate(sizes):
            path = tmp_path / "possible" / f"{index}.mp4"
            path.parent.mkdir(exist_ok=True)
            write_video(path, noise(frames, index), fps)
            size = (16, 16, 0, "h264")
            span = (0.0, frames / fps)
            clips.append(Clip(f"{index:016d}", str(path), None, *span, fps, frames, *size, "val", None, None, "t", f"{index}"))
        write_manifest(tmp_path / "possible.parquet", clips, command="test", config={})
        return tmp_path / "possible.parquet"

    return make


@pytest.fixture
def grasp(tmp_path) -> Path:
    """Three pairs of 5 s, at the rate of the published protocol."""
    for test, count in (("Collision", 2), ("Gravity", 1)):
        for kind in ("P", "IP"):
            for number in range(count):
                path = tmp_path / "grasp" / f"{kind}_{test}" / f"{number:03d}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_video(path, noise(25, number + 10 * (kind == "P")), 5.0)
    return tmp_path / "grasp"


@pytest.fixture
def evaluate(tmp_path, grasp, capsys):
    """(manifest, more options) -> exit code, standard error, protocol.json."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run(manifest: Path, *options: str):
        model, out = f"untrained:{tmp_path / 'recipe.yaml'}", tmp_path / "out"
        command = ["voe", "--model", model, "--suite", f"grasp:{grasp}", "--calibration", str(manifest), "--out", str(out)]
        code = main([*command, *options])
        file = out / "protocol.json"
        protocol = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        return code, capsys.readouterr().err, protocol

    return run


def video(frames: int, fps: float) -> Video:
    return Video("name", "path.mp4", fps, frames, True)


def test_a_horizon_is_calibrated_where_two_videos_reach_it():
    assert reachable_steps(PLAN, [25, 25]) == 6
    assert reachable_steps(PLAN, [25, 10, 6]) == 4  # ten frames: a context of two, and four latents of two
    assert reachable_steps(PLAN, [25]) == 0
    assert reachable_steps(PLAN, [25, 3]) == 0  # a context of two frames, and one frame is no latent


def test_a_default_horizon_is_lowered_and_a_requested_one_is_refused():
    short = CalibrationSource("m.parquet", [video(24, 12.0), video(24, 12.0)])
    found = plan_calibration(PLAN, short, None)
    assert found.plan.horizon == 4
    assert "up to 1.6 s (4 latent steps) instead of 2.4 s (6 latent steps)" in found.notes[0]
    with pytest.raises(EvalError, match="reach 4; give --horizon 8"):
        plan_calibration(PLAN, short, "12")
    whole = plan_calibration(PLAN, CalibrationSource("m.parquet", [video(60, 12.0)] * 2), None)
    assert (whole.plan, whole.notes) == (PLAN, ())


def test_two_kinds_of_window_of_one_video_do_not_count_as_two_videos():
    rng = np.random.default_rng(0)
    moments = {ErrorKey(kind, "model"): ErrorMoments.empty(2, 1, 3) for kind in ("locked", "sliding")}
    for entry in moments.values():
        entry.videos, entry.count = 1, np.ones(2)
        entry.gram += rng.random(entry.gram.shape)
    with pytest.raises(ValueError, match="1 possible videos"):
        fit_whitenings(moments)


def test_a_fit_to_fewer_videos_that_reach_less_far_is_left_out():
    full, fewer = ErrorKey("sliding", "model"), ErrorKey("sliding", "model", Fit(videos=25))
    moments = {key: ErrorMoments.empty(2, 1, 3) for key in (full, fewer)}
    for key, entry in moments.items():
        entry.videos, entry.count = 25, np.array([25.0, 0 if key == fewer else 25])
        entry.gram += np.eye(3)
    assert set(fit_whitenings(moments)) == {full}


def test_short_possible_videos_lower_the_horizon_and_the_report_says_so(evaluate, possible, tmp_path):
    code, stderr, protocol = evaluate(possible([SHORT] * 4))
    assert code == 0
    assert "up to 1.6 s (4 latent steps) instead of 2.4 s" in stderr
    assert protocol["windows"]["horizon_s"] == pytest.approx(1.6)
    assert protocol["whitening"]["videos"] == 4
    assert any("instead of 2.4 s" in note for note in protocol["notes"])
    assert "instead of 2.4 s" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    rows = pq.read_table(tmp_path / "out" / "traces.parquet").to_pylist()
    assert all(np.isfinite(row["surprise"]) for row in rows)
    assert "whitened" in {row["scorer"] for row in rows}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_any_possible_videos_give_an_evaluation(manifest, evaluate, possible):
    code, stderr, protocol = evaluate(possible(MANIFESTS[manifest]), "--ablate-whitening")
    assert code == 0, stderr
    usable = manifest in ("two", "two short", "one long, others short", "slow")
    assert (protocol["whitening"] is not None) == usable
    assert any(note.startswith("No whitened surprise: ") for note in protocol["notes"]) != usable


def test_a_possible_video_that_cannot_be_read_is_noted(evaluate, possible, tmp_path):
    manifest = possible([LONG] * 3)
    (tmp_path / "possible" / "1.mp4").write_bytes(b"no video")
    code, _, protocol = evaluate(manifest)
    assert (code, protocol["whitening"]["videos"]) == (0, 2)
    assert any(
        note.startswith("1 of 3 possible videos were left out of the calibration, such as") for note in protocol["notes"]
    )


def test_the_error_for_unreadable_long_videos_asks_for_a_shorter_horizon(evaluate, possible, tmp_path):
    manifest = possible([LONG, LONG, SHORT, SHORT])
    for name in "01":
        (tmp_path / "possible" / f"{name}.mp4").write_bytes(b"no video")
    code, stderr, _ = evaluate(manifest)
    assert code == 2
    assert "2 of 4 possible videos were left out" in stderr
    assert "which reach 4 of 6 latent steps" in stderr
    assert evaluate(manifest, "--horizon", "8", "--fresh")[0] == 0


def test_a_suite_of_videos_too_short_for_a_window_is_refused(evaluate, possible, grasp):
    for path in grasp.glob("*/*.mp4"):
        write_video(path, noise(3, 0), 5.0)
    code, stderr, protocol = evaluate(possible([LONG] * 2))
    assert (code, protocol) == (2, None)
    assert "has 3 frames at 5 frames/s, and a window needs 4: 2 to see and 2 to forecast" in stderr


@pytest.mark.parametrize("manifest", MANIFESTS)
@pytest.mark.parametrize("command", ["plausibility", "forecast", "probe"])
def test_other_commands_finish_or_print_a_one_line_error(command, manifest, possible, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    model, path = f"untrained:{tmp_path / 'recipe.yaml'}", str(possible(MANIFESTS[manifest]))
    write_video(tmp_path / "video.mp4", noise(36, 99), 12.0)
    arguments = {
        "plausibility": [
            "plausibility",
            str(tmp_path / "video.mp4"),
            "--model",
            model,
            "--calibration",
            path,
            "--out",
            str(tmp_path / "s.jsonl"),
        ],
        "forecast": ["forecast", "--model", model, "--data", path, "--out", str(tmp_path / "out")],
        "probe": ["probe", "--model", model, "--data", path, "--out", str(tmp_path / "out")],
    }[command]
    code = main(arguments)
    stderr = capsys.readouterr().err
    assert code in (0, 2)
    if code:
        lines = [line for line in stderr.splitlines() if line.startswith(f"eval {command}: ")]
        assert len(lines) == 1, stderr
