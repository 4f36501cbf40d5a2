"""`eval sweep` over augmentation: its conclusion, and the whole command, terminated and resumed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matplotlib.image import imread

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.commands.sweep import load_sweep
from eval.sweeps.augmentation.results import conclusion, direction
from eval.sweeps.augmentation.strengths import PARTS
from eval.sweeps.config import find_sweep

RECIPE = """
data: {{manifest: {videos}/train.parquet, batch_size: 4, workers: 0}}
window: {{frames: 24, fps: 12, size_px: 64}}
model:
  kind: causal
  encoder: {{patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}}
  predictor: {{width: 24, depth: 1, heads: 2, horizons: 8}}
  rollout_steps: 0
train: {{log_every: 1}}
health: {{windows: 2}}
"""
SWEEP = """
kind: augmentation
recipe: recipe.yaml
seeds: [0]
data: {{manifest: {videos}/train.parquet, split: train, folds: 3}}
"""


def test_the_shipped_sweep_is_valid():
    config = load_sweep(find_sweep(Path("augmentation")))
    assert config.strengths == (0.0, 0.25, 0.5, 1.0)
    assert config.parts == tuple(PARTS)


def change(value: float) -> dict:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "seeds": {"0": value, "1": value}}


def rows(spread: float = 0.03, seeds: int = 2, **changes: dict) -> list[dict]:
    """Results of two strengths; trainings with other seeds differ by `spread`."""
    alone = {"seeds": {str(seed): {"value": 0.5 + spread * seed} for seed in range(seeds)}}
    changes = {name: {**entry, "seeds": dict.fromkeys(alone["seeds"], entry["value"])} for name, entry in changes.items()}
    weakest = {"name": "strength 0", "strength": 0.0, "scores": dict.fromkeys(changes, alone)}
    strongest = {**weakest, "name": "strength 1", "strength": 1.0}
    strongest["scores"] = {name: {**alone, "change": entry} for name, entry in changes.items()}
    return [{"name": "untrained"}, weakest, strongest]


def test_a_change_counts_where_it_exceeds_the_variation_over_videos_and_seeds():
    assert direction(change(0.05), 0.03) == 1
    assert direction(change(-0.05), 0.03) == -1
    assert direction(change(0.01), 0.0) == 0  # the interval over videos contains 0
    assert direction(change(0.05), 0.06) == 0  # another seed changes as much


def test_the_trade_off_shows_only_where_position_is_lost_and_something_is_gained():
    up, down, flat = change(0.1), change(-0.1), change(0.0)
    assert "**There is a trade-off, for colour**" in conclusion(rows(position=down, shape=flat, colour=up))
    assert "position is lost, nothing is gained" in conclusion(rows(position=down, shape=flat, colour=down))
    assert "no position is lost, shape is gained" in conclusion(rows(position=flat, shape=up, colour=flat))
    assert "no position is lost, nothing is gained" in conclusion(rows(position=up, shape=flat, colour=down))
    assert "no position is lost, nothing is gained" in conclusion(rows(0.2, position=down, shape=up, colour=up))


def test_the_variation_between_seeds_is_reported():
    moved = {"position": change(-0.1), "shape": change(0.1), "colour": change(0.1)}
    assert "one training each: another seed may differ; strengths tried: 0, 1" in conclusion(rows(seeds=1, **moved))
    assert "2 seeds each, which differ by up to 0.030, 0.030, 0.030 at one strength" in conclusion(rows(**moved))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos for training and probing, a recipe, and a sweep."""
    folder = tmp_path_factory.mktemp("videos")
    assert data_prep(["synthesize", str(folder), "--train", "40", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE.format(videos=folder))
    (folder / "sweep.yaml").write_text(SWEEP.format(videos=folder))
    return folder


def command(videos: Path, out: Path, *options: str) -> list[str]:
    return ["sweep", str(videos / "sweep.yaml"), *options, "--out", str(out)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["strengths=[0]"], "strengths"),
        (["strengths=[0.5,0.5]"], "at least two different strengths are needed"),
        (["strengths=[0,2]"], "strengths"),
        (["parts=[zoom]"], "zoom is not one of crop, flip, colour, blur"),
        (["max_steps=1"], "max_steps"),
        (["data.split=test"], "no clip has split 'test'"),
        (["kind=other"], "kind"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_before_any_training(videos: Path, tmp_path: Path, capsys, options, message):
    assert main(command(videos, tmp_path / "out", *options)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eval ")]
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_terminated_sweep_resumes_and_ends_with_table_and_figure(videos: Path, tmp_path: Path):
    options = ("strengths=[0,1]", "parts=[crop,colour]", "seeds=[0]", "max_steps=40")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    first, second = (tmp_path / "runs" / f"strength{strength}-seed0" for strength in (0, 1))
    arguments = [sys.executable, "-m", "eval", *command(videos, tmp_path, *options)]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 120
        while steps_done(second) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)  # as from a scheduler: the training process gets no signal
        message, _ = process.communicate(timeout=60)
    assert process.returncode == 130, message
    stopped = steps_done(second)
    assert stopped < 40
    assert (second / "checkpoints" / f"{stopped:08d}" / "state.json").exists()
    before = (first / "metrics.jsonl").stat().st_mtime_ns

    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (first / "metrics.jsonl").stat().st_mtime_ns == before  # it was finished
    assert steps_done(second) == 40
    assert f"after step {stopped}" in done.stdout
    results = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["name"] for row in results["rows"]] == ["pixels", "untrained", "strength 0", "strength 1"]
    scores = results["rows"][3]["scores"]
    weakest = results["rows"][2]["scores"]
    for prop in ("position", "shape", "colour"):
        assert scores[prop]["change"]["value"] == pytest.approx(scores[prop]["value"] - weakest[prop]["value"])
        assert scores[prop]["seeds"]["0"]["value"] == pytest.approx(scores[prop]["value"])
    assert results["rows"][3]["augment"]["hue"] == pytest.approx(0.2)
    assert results["rows"][3]["augment"]["blur_px"] == 0
    csv_rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert {row["row"] for row in csv_rows} == {row["name"] for row in results["rows"]}
    assert imread(tmp_path / "sweep.png").ndim == 3
    assert "From strength 0 to strength 1" in done.stdout


def steps_done(run: Path) -> int:
    """The last step in the log."""
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []
    return rows[-1]["step"] if rows else 0
