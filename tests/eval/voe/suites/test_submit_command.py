"""From a benchmark with secret labels to the file of answers, compared with the traces by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eval.__main__ import main
from worldmodel.video import write_video

RECIPE = """
window: {frames: 8, fps: 7.5, size_px: 16}
model:
  kind: causal
  encoder: {patch_px: 8, width: 16, depth: 1, heads: 2, latent_dim: 4, head_width: 16}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 6}
  rollout_steps: 0
"""
SCENES = ("O1/0001_O1_test_visible_static_nobj1", "O2/0017", "O3/0002_O3_test_occluded_dynamic_2_nobj3")


@pytest.fixture
def evaluate(tmp_path):
    """(suite, name of OUT, more options) -> OUT, by an untrained network."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run(suite: str, name: str, *options: str) -> Path:
        out = tmp_path / name
        model = ["--model", f"untrained:{tmp_path / 'recipe.yaml'}"]
        assert main(["voe", *model, "--suite", suite, "--out", str(out), "--window", "8", *options]) == 0
        return out

    return run


@pytest.fixture
def intphys(tmp_path, make_scene) -> Path:
    rng = np.random.default_rng(0)
    for scene in SCENES:
        videos = {video: (np.repeat(rng.integers(0, 255, 8), 2).tolist(), None) for video in "1234"}  # 16 frames, 15 a second
        make_scene(tmp_path / "intphys/test" / scene, videos)
    return tmp_path / "intphys"


@pytest.fixture
def intphys2(tmp_path) -> Path:
    """Two scenes of Main, whose impossible videos flicker, and six videos of HeldOut, of which two do."""
    root, rng = tmp_path / "intphys2", np.random.default_rng(1)
    columns = ["SceneIndex", "name", "file_name", "condition", "env", "type"]

    def make(path: Path, flickers: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        greys = rng.integers(0, 255, 12) if flickers else np.full(12, rng.integers(90, 160))
        write_video(path, np.repeat(greys, 10).astype(np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8), 60.0)

    with_header = [columns]
    for scene in ("1", "2"):
        for index, kind in enumerate(("1_Possible", "1_Impossible", "2_Possible", "2_Impossible")):
            name = f"m{scene}{index}"
            make(root / "Main/Videos" / f"{name}.mp4", "Impossible" in kind)
            with_header.append([scene, name, f"Videos/{name}.mp4", "Permanence", "None", kind])
    with (root / "Main/metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(with_header)
    for name in ("a", "b", "c", "d", "e", "f"):
        make(root / "HeldOut/Videos" / f"{name}.mp4", name in "be")
    return root


def surprise_by_hand(out: Path, context_s: float) -> dict[str, float]:
    """Mean over windows of the mean over steps of the latent distance, from the traces alone."""
    rows = pq.read_table(out / "traces.parquet").to_pylist()
    windows: dict[tuple[str, float], list[float]] = {}
    for row in rows:
        if (row["scorer"], row["windows"]) == ("latent distance", "sliding") and abs(row["context_s"] - context_s) < 1e-6:
            windows.setdefault((row["video_id"], row["window_start_s"]), []).append(row["surprise"])
    videos: dict[str, list[float]] = {}
    for (video, _), steps in windows.items():
        videos.setdefault(video, []).append(float(np.mean(steps)))
    return {video: float(np.mean(values)) for video, values in videos.items()}


def test_every_video_of_intphys_test_gets_a_plausibility(intphys, evaluate, tmp_path, capsys):
    out = evaluate(f"intphys:{intphys}", "out")
    assert "python -m eval submit" in capsys.readouterr().out
    assert main(["submit", str(out), "--to", str(tmp_path / "answer.txt")]) == 0
    assert "12 answers by latent distance, with a context of 0.267 s" in capsys.readouterr().out
    surprise = surprise_by_hand(out, 2 / 7.5)  # the shortest of the published contexts
    low, high = min(surprise.values()), max(surprise.values())
    lines = dict(line.split() for line in (tmp_path / "answer.txt").read_text().splitlines())
    assert set(lines) == {f"{scene}/{video}" for scene in SCENES for video in "1234"}
    for name, plausible in lines.items():
        assert float(plausible) == pytest.approx((high - surprise[name.replace("/", "__")]) / (high - low), abs=1e-6)


def test_answers_use_the_given_context(intphys, evaluate, tmp_path, capsys):
    out = evaluate(f"intphys:{intphys}", "out", "--contexts", "4")
    assert main(["submit", str(out), "--to", str(tmp_path / "answer.txt"), "--scorer", "latent copy"]) == 0
    assert "by latent copy, with a context of 0.533 s" in capsys.readouterr().out
    assert main(["submit", str(out), "--to", str(tmp_path / "answer.txt"), "--scorer", "oracle"]) == 2
    assert "has no scorer 'oracle'; it has latent distance" in capsys.readouterr().err


def test_half_of_held_out_is_possible_unless_main_gives_a_threshold(intphys2, evaluate, tmp_path):
    out = evaluate(f"intphys2:{intphys2}?part=HeldOut", "out", "--contexts", "4")
    main_out = evaluate(f"intphys2:{intphys2}?part=Main", "main", "--contexts", "4")
    answers = tmp_path / "answers.jsonl"

    def possible(*options: str) -> set[str]:
        assert main(["submit", str(out), "--to", str(answers), *options]) == 0
        rows = [json.loads(line) for line in answers.read_text().splitlines()]
        assert [row["row_id"] for row in rows] == list("abcdef")
        return {row["row_id"] for row in rows if row["model_answer"] == 1}

    surprise = surprise_by_hand(out, 4 / 6)
    assert possible() == set(sorted(surprise, key=lambda video: surprise[video])[:3])
    assert possible("--threshold-from", str(main_out)) == {"a", "c", "d", "f"}


def test_a_suite_that_cannot_be_answered_is_a_one_line_error(intphys, intphys2, evaluate, tmp_path, capsys):
    held_out = evaluate(f"intphys2:{intphys2}?part=HeldOut", "held_out", "--contexts", "4")
    main_out = evaluate(f"intphys2:{intphys2}?part=Main", "main", "--contexts", "2")
    test = evaluate(f"intphys:{intphys}", "test")
    capsys.readouterr()
    for given, message in (
        ([main_out], "its labels are public"),
        ([tmp_path / "nowhere"], "is not a finished evaluation"),
        ([held_out, "--threshold-from", main_out], "Evaluate again with the same --contexts"),
        ([held_out, "--threshold-from", test], "of another suite or model"),
        ([held_out, "--threshold-from", held_out], "needs both possible and impossible videos"),
        ([test, "--threshold-from", main_out], "--threshold-from is for IntPhys 2"),
    ):
        assert main(["submit", *map(str, given), "--to", str(tmp_path / "answers")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    assert not (tmp_path / "answers").exists()


def test_a_video_that_could_not_be_read_is_reported_with_its_reason(intphys2, evaluate, tmp_path, capsys):
    out = evaluate(f"intphys2:{intphys2}?part=HeldOut", "out", "--contexts", "4")
    (out / ".outputs.jsonl").unlink()  # the digests of what is changed here
    protocol = json.loads((out / "protocol.json").read_text())
    rows = pq.read_table(out / "traces.parquet").to_pylist()
    table = pq.read_table(out / "traces.parquet")
    pq.write_table(table.filter([row["video_id"] != "c" for row in rows]), out / "traces.parquet")
    (out / "protocol.json").write_text(json.dumps({**protocol, "left_out": {"c": "truncated: it ends early"}}))
    assert main(["submit", str(out), "--to", str(tmp_path / "answers")]) == 2
    assert "1 of 6 videos have no answer, and each needs one; c: truncated: it ends early" in capsys.readouterr().err
