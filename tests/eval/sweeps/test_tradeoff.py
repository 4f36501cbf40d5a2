"""`eval tradeoff`: what it concludes, and the command whole, told to stop and gone on with."""

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
from eval.sweeps.tradeoff_tables import direction, outcome

RECIPE = """
data: {{manifest: {films}/train.parquet, batch_size: 4, workers: 0}}
window: {{frames: 24, fps: 12, size_px: 64}}
model:
  kind: causal
  encoder: {{patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}}
  predictor: {{width: 24, depth: 1, heads: 2, horizons: 8}}
  rollout_steps: 0
train: {{log_every: 1}}
health: {{windows: 2}}
"""


def change(value: float) -> dict:
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "seeds": {"0": value, "1": value}}


def found(spread: float = 0.03, seeds: int = 2, **changes: dict) -> dict:
    """Of two strengths, whose trainings differ by `spread`."""
    alone = {"seeds": {str(seed): {"value": 0.5 + spread * seed} for seed in range(seeds)}}
    changes = {name: {**it, "seeds": dict.fromkeys(alone["seeds"], it["value"])} for name, it in changes.items()}
    weakest = {"name": "strength 0", "strength": 0.0, "scores": dict.fromkeys(changes, alone)}
    strongest = {**weakest, "name": "strength 1", "strength": 1.0}
    strongest["scores"] = {name: {**alone, "change": it} for name, it in changes.items()}
    return {"rows": [{"name": "untrained"}, weakest, strongest]}


def test_a_change_is_no_luck_where_it_is_more_than_films_and_seeds_differ():
    assert direction(change(0.05), 0.03) == 1
    assert direction(change(-0.05), 0.03) == -1
    assert direction(change(0.01), 0.0) == 0  # the interval over films holds 0
    assert direction(change(0.05), 0.06) == 0  # another seed does as much


def test_the_trade_off_shows_only_where_something_is_gained_for_position():
    up, down, flat = change(0.1), change(-0.1), change(0.0)
    assert "**The trade-off shows, for colour**" in outcome(found(position=down, shape=flat, colour=up))
    assert "position is lost, nothing is gained" in outcome(found(position=down, shape=flat, colour=down))
    assert "no position is lost, shape is gained" in outcome(found(position=flat, shape=up, colour=flat))
    assert "no position is lost, nothing is gained" in outcome(found(position=up, shape=flat, colour=down))
    assert "no position is lost, nothing is gained" in outcome(found(0.2, position=down, shape=up, colour=up))


def test_what_luck_there_is_is_said():
    moved = {"position": change(-0.1), "shape": change(0.1), "colour": change(0.1)}
    assert "one training each: another seed may differ; strengths tried: 0, 1" in outcome(found(seeds=1, **moved))
    assert "2 seeds each, which differ by up to 0.030, 0.030, 0.030 at one strength" in outcome(found(**moved))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films to learn from and to be probed on, and a recipe."""
    folder = tmp_path_factory.mktemp("films")
    assert data_prep(["synthesize", str(folder), "--train", "40", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE.format(films=folder))
    return folder


def command(films: Path, out: Path, *options: str) -> list[str]:
    probed = ["--data", str(films / "train.parquet"), "--split", "train", "--folds", "3"]
    return ["tradeoff", str(films / "recipe.yaml"), "--out", str(out), *probed, *options]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--strengths", "0"], "--strengths 0: at least two"),
        (["--parts", "zoom"], "zoom is none of crop, flip, colour, blur"),
        (["--updates", "1"], "--updates 1: at least 2"),
        (["--split", "test"], "no clip has split 'test'"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_trained(films: Path, tmp_path: Path, capsys, options, said):
    assert main(command(films, tmp_path / "out", *options)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("eval ")]
    assert said in line
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_told_to_stop_it_goes_on_from_there_and_ends_with_table_and_figure(films: Path, tmp_path: Path):
    asked = command(films, tmp_path, "--strengths", "0,1", "--parts", "crop,colour", "--seeds", "1", "--updates", "40")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    first, second = (tmp_path / "runs" / f"strength{strength}-seed0" for strength in (0, 1))
    words = [sys.executable, "-m", "eval", *asked]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 120
        while updates(second) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)  # as a scheduler does: the training is not told
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    stopped = updates(second)
    assert stopped < 40
    assert (second / "checkpoints" / f"{stopped:08d}" / "state.json").exists()
    before = (first / "metrics.jsonl").stat().st_mtime_ns

    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (first / "metrics.jsonl").stat().st_mtime_ns == before  # it was finished
    assert updates(second) == 40
    assert f"after update {stopped}" in done.stdout
    told = json.loads((tmp_path / "tradeoff.json").read_text())
    assert [row["name"] for row in told["rows"]] == ["pixels", "untrained", "strength 0", "strength 1"]
    scores = told["rows"][3]["scores"]
    weakest = told["rows"][2]["scores"]
    for prop in ("position", "shape", "colour"):
        assert scores[prop]["change"]["value"] == pytest.approx(scores[prop]["value"] - weakest[prop]["value"])
        assert scores[prop]["seeds"]["0"]["value"] == pytest.approx(scores[prop]["value"])
    assert told["rows"][3]["augment"]["hue"] == pytest.approx(0.2)
    assert told["rows"][3]["augment"]["blur_px"] == 0
    rows = list(csv.DictReader((tmp_path / "tradeoff.csv").open()))
    assert {row["row"] for row in rows} == {row["name"] for row in told["rows"]}
    assert imread(tmp_path / "tradeoff.png").ndim == 3
    assert "From strength 0 to strength 1" in done.stdout


def updates(run: Path) -> int:
    """The last one that is logged."""
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []
    return rows[-1]["step"] if rows else 0
