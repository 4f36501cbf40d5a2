"""Possible videos that are too few or too short to calibrate a model's errors on: told, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eval.__main__ import main
from eval.errors import EvalError
from eval.voe.surprise.calibration import fit_all
from eval.voe.surprise.calibration_reach import calibration, reachable_steps
from eval.voe.surprise.whitening import ErrorMoments
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Film
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
    """[(frames, fps)] -> a manifest of such videos, all in split val."""

    def make(sizes: list[tuple[int, float]]) -> Path:
        clips = []
        for place, (frames, fps) in enumerate(sizes):
            path = tmp_path / "possible" / f"{place}.mp4"
            path.parent.mkdir(exist_ok=True)
            write_video(path, noise(frames, place), fps)
            size = (16, 16, 0, "h264")
            span = (0.0, frames / fps)
            clips.append(Clip(f"{place:016d}", str(path), None, *span, fps, frames, *size, "val", None, None, "t", f"{place}"))
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
    """(manifest, more options) -> exit code, what was said on standard error, protocol.json."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run(manifest: Path, *options: str):
        model, out = f"untrained:{tmp_path / 'recipe.yaml'}", tmp_path / "out"
        ask = ["physics", "--model", model, "--suite", f"grasp:{grasp}", "--lawful", str(manifest), "--out", str(out)]
        code = main([*ask, *options])
        said = out / "protocol.json"
        return code, capsys.readouterr().err, json.loads(said.read_text(encoding="utf-8")) if said.exists() else None

    return run


def film(frames: int, fps: float) -> Film:
    return Film("name", "path.mp4", fps, frames, True)


def test_a_horizon_is_calibrated_where_two_videos_reach_it():
    assert reachable_steps(PLAN, [25, 25]) == 6
    assert reachable_steps(PLAN, [25, 10, 6]) == 4  # ten frames: two are seen, four latents of two are forecast
    assert reachable_steps(PLAN, [25]) == 0
    assert reachable_steps(PLAN, [25, 3]) == 0  # two frames are seen, and one is no latent


def test_a_horizon_that_nobody_asked_for_is_lowered_and_one_that_was_asked_for_is_refused():
    short = [film(24, 12.0), film(24, 12.0)]
    found = calibration(PLAN, short, "m.parquet", None)
    assert found.plan.horizon == 4
    assert "up to 1.6 s (4 latent steps) instead of 2.4 s (6 latent steps)" in found.notes[0]
    with pytest.raises(EvalError, match="reach 4; give --horizon 8"):
        calibration(PLAN, short, "m.parquet", "12")
    whole = calibration(PLAN, [film(60, 12.0)] * 2, "m.parquet", None)
    assert (whole.plan, whole.notes) == (PLAN, ())


def test_two_kinds_of_windows_of_one_video_are_no_two_videos():
    dice = np.random.default_rng(0)
    moments = {name: ErrorMoments.empty(2, 1, 3) for name in ("locked/model", "free/model")}
    for it in moments.values():
        it.films, it.count = 1, np.ones(2)
        it.gram += dice.random(it.gram.shape)
    with pytest.raises(ValueError, match="1 possible videos"):
        fit_all(moments)


def test_a_fit_to_fewer_films_that_reach_less_far_is_left_out():
    moments = {name: ErrorMoments.empty(2, 1, 3) for name in ("free/model", "free/model, 25 films")}
    for name, it in moments.items():
        it.films, it.count = 25, np.array([25.0, 0 if name.endswith("films") else 25])
        it.gram += np.eye(3)
    assert set(fit_all(moments)) == {"free/model"}


def test_short_possible_videos_lower_the_horizon_and_the_report_says_so(evaluate, possible, tmp_path):
    code, said, protocol = evaluate(possible([SHORT] * 4))
    assert code == 0
    assert "up to 1.6 s (4 latent steps) instead of 2.4 s" in said
    assert protocol["windows"]["horizon_s"] == pytest.approx(1.6)
    assert protocol["whitening"]["films"] == 4
    assert any("instead of 2.4 s" in note for note in protocol["notes"])
    assert "instead of 2.4 s" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    rows = pq.read_table(tmp_path / "out" / "traces.parquet").to_pylist()
    assert all(np.isfinite(row["surprise"]) for row in rows)
    assert "whitened" in {row["scorer"] for row in rows}


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_any_possible_videos_give_an_evaluation(manifest, evaluate, possible):
    code, said, protocol = evaluate(possible(MANIFESTS[manifest]), "--ablate-whitening")
    assert code == 0, said
    usable = manifest in ("two", "two short", "one long, others short", "slow")
    assert (protocol["whitening"] is not None) == usable
    assert any(note.startswith("No whitened surprise: ") for note in protocol["notes"]) != usable


def test_a_possible_video_that_cannot_be_read_is_told(evaluate, possible, tmp_path):
    manifest = possible([LONG] * 3)
    (tmp_path / "possible" / "1.mp4").write_bytes(b"no video")
    code, _, protocol = evaluate(manifest)
    assert (code, protocol["whitening"]["films"]) == (0, 2)
    assert any(
        note.startswith("1 of 3 possible videos were left out of the calibration, such as") for note in protocol["notes"]
    )


def test_where_the_long_videos_cannot_be_read_a_shorter_horizon_is_asked_for(evaluate, possible, tmp_path):
    manifest = possible([LONG, LONG, SHORT, SHORT])
    for name in "01":
        (tmp_path / "possible" / f"{name}.mp4").write_bytes(b"no video")
    code, said, _ = evaluate(manifest)
    assert code == 2
    assert "2 of 4 possible videos were left out" in said
    assert "which reach 4 of 6 latent steps" in said
    assert evaluate(manifest, "--horizon", "8", "--fresh")[0] == 0


def test_a_suite_of_videos_too_short_for_a_window_is_refused_in_one_line(evaluate, possible, grasp):
    for path in grasp.glob("*/*.mp4"):
        write_video(path, noise(3, 0), 5.0)
    code, said, protocol = evaluate(possible([LONG] * 2))
    assert (code, protocol) == (2, None)
    assert "has 3 frames at 5 frames/s, and a window needs 4: 2 to see and 2 to forecast" in said


@pytest.mark.parametrize("manifest", MANIFESTS)
@pytest.mark.parametrize("command", ["score", "forecast", "probe"])
def test_other_commands_answer_or_refuse_in_one_line(command, manifest, possible, tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    model, path = f"untrained:{tmp_path / 'recipe.yaml'}", str(possible(MANIFESTS[manifest]))
    write_video(tmp_path / "asked.mp4", noise(36, 99), 12.0)
    ask = {
        "score": ["score", str(tmp_path / "asked.mp4"), "--model", model, "--lawful", path, "--out", str(tmp_path / "s.jsonl")],
        "forecast": ["forecast", "--model", model, "--data", path, "--out", str(tmp_path / "out")],
        "probe": ["probe", "--model", model, "--data", path, "--out", str(tmp_path / "out")],
    }[command]
    code = main(ask)
    said = capsys.readouterr().err
    assert code in (0, 2)
    if code:
        lines = [line for line in said.splitlines() if line.startswith(f"eval {command}: ")]
        assert len(lines) == 1, said
