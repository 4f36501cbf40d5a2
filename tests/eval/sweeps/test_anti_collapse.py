"""`eval sweep` over anti-collapse methods: its results, and the whole command, resumed."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.commands.sweep import load_sweep
from eval.errors import EvalError
from eval.sweeps.anti_collapse.results import agreement, latent_skill, over_seeds, summarise, verdict_text
from eval.sweeps.config import find_recipe, find_sweep
from eval.sweeps.grid import make_cells


def number(value: float, low: float | None = None, high: float | None = None, n: int = 10) -> dict:
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high, "n": n}


def test_an_interval_over_seeds_spans_those_of_all_seeds():
    got = over_seeds([number(0.5, 0.4, 0.6), number(0.7, 0.65, 0.75), None])
    assert got == {"value": pytest.approx(0.6), "low": 0.4, "high": 0.75, "seeds": 2, "n": 10}
    assert over_seeds([None, None]) is None


def test_latent_skill_is_against_the_better_baseline_at_the_nearest_horizon():
    skill = {"copy last": [number(0.9), number(0.8)], "mean": [number(0.1), number(0.95)]}
    forecast = {"horizons_s": [0.5, 1.0], "skill": {"direct": skill}}
    assert latent_skill(forecast, 0.6)["value"] == 0.1
    assert latent_skill(forecast, 0.9)["value"] == 0.8


def cell(method: str, seed: int, rank: float, loss: float, position: float | None) -> dict:
    health = {"verdict": "healthy", "effective_rank": rank, "std_min": 1.0, "skill": 0.1, "loss": loss, "forecast_loss": loss}
    scores = {"position": None if position is None else number(position), "position ahead @1": None, "voe, whitened": None}
    return {"method": method, "seed": seed, "health": health, "scores": scores, "untrained": {}}


def test_a_loss_that_falls_while_the_model_collapses_has_rank_correlation_minus_one():
    rows = [cell("none", i, rank=1 + i, loss=0.01 * (i + 1), position=0.1 * i) for i in range(4)]
    found = agreement(rows)
    assert found["training loss (less)"]["position"] == {"value": pytest.approx(-1), "n": 4}
    assert found["effective rank"]["position"]["value"] == pytest.approx(1)
    assert found["smallest standard deviation"]["position"] is None  # it is constant
    assert found["effective rank"]["position ahead"] is None  # no cell has it


def test_methods_are_summarised_over_seeds():
    found = summarise([cell("a", 0, 2, 1, 0.5), cell("b", 0, 3, 1, None), cell("a", 1, 4, 1, 0.7)])
    assert list(found) == ["a", "b"]
    assert found["a"]["seeds"] == [0, 1]
    assert found["a"]["health"]["effective_rank"] == 3
    assert found["a"]["scores"]["position"]["value"] == pytest.approx(0.6)
    assert found["b"]["scores"]["position"] is None
    assert verdict_text(["healthy", "complete_collapse", "healthy"]) == "healthy 2, complete_collapse 1"


RECIPE = """
run: x
data: {{manifest: {videos}/train.parquet, batch_size: 8, workers: 0}}
window: {{frames: 24, fps: 12, size_px: 64}}
augment: {{crop_area_min: 1, crop_aspect_max: 1, hflip_prob: 0.5}}
model:
  kind: causal
  encoder: {{patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}}
  predictor: {{width: 24, depth: 1, heads: 2, horizons: 8}}
optim: {{warmup_steps: 1}}
train: {{max_steps: 4}}
health: {{every: 4, windows: 8}}
checkpoint: {{every: 4}}
decoder: {{max_steps: 0}}
"""
SWEEP = """
kind: anti_collapse
recipe: {folder}/recipe.yaml
seeds: [0]
horizons_s: [0.5]
folds: 2
suite: {{folder: {folder}/videos}}
methods:
  none: ["objectives={{forecast: {{kind: forecast}}}}"]
  vicreg: []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training videos, a nano suite of one property with 16 possible videos, a recipe, and a sweep of two methods."""
    folder = tmp_path_factory.mktemp("sweep")
    videos = str(folder / "videos")
    assert data_prep(["synthesize", videos, "--train", "30", "--workers", "1"]) == 0
    assert data_prep(["synthesize", videos, "--suite", "nano", "--properties", "permanence", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE.format(videos=videos))
    (folder / "sweep.yaml").write_text(SWEEP.format(folder=folder))
    return folder


def test_the_shipped_sweep_can_run_from_any_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = find_sweep(Path("anti_collapse"))
    config = load_sweep(file)
    cells = make_cells(find_recipe(file, config.recipe), config.overrides, config.methods, config.seeds, tmp_path)
    assert len(cells) == 18
    by_variant = {cell.variant: cell.recipe.anti_collapse_methods() for cell in cells}
    assert [method for method, active in by_variant.items() if not active] == ["none"]
    assert len({cell.recipe.train.max_steps for cell in cells}) == 1


def test_a_recipe_is_searched_beside_the_file_then_above_it_then_in_the_working_directory(tmp_path: Path, monkeypatch):
    file, here = tmp_path / "above" / "beside" / "sweep.yaml", tmp_path / "here"
    here.mkdir()
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(EvalError) as caught:
        find_recipe(file, "demo.yaml")
    for folder in (here, file.parent.parent, file.parent):
        assert f"{folder}" in str(caught.value)
        (folder / "demo.yaml").touch()
        assert find_recipe(file, "demo.yaml") == folder / "demo.yaml"


def test_a_method_that_cannot_run_is_reported_before_any_work(folder: Path, tmp_path: Path, capsys):
    text = (folder / "sweep.yaml").read_text() + '  wrong: ["objectives={forecast: {kind: forcast}}"]\n'
    (tmp_path / "wrong.yaml").write_text(text)
    assert main(["sweep", str(tmp_path / "wrong.yaml"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "wrong: " in error
    assert "forcast" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_methods_are_trained_and_evaluated_and_finished_results_stay(folder: Path, tmp_path: Path, capsys):
    command = ["sweep", str(folder / "sweep.yaml"), "--out", str(tmp_path)]
    assert main(command) == 0
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["method"] for row in found["cells"]] == ["none", "vicreg"]
    assert {"position", "latent skill @0.5", "position ahead @0.5"} <= found["methods"]["vicreg"]["scores"].keys()
    assert found["methods"]["none"]["scores"]["latent skill @0.5"]["n"] == 8
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert {row["method"] for row in rows} == {"none", "vicreg"}
    assert imread(tmp_path / "sweep.png").ndim == 3
    assert "| vicreg |" in capsys.readouterr().out

    finished = tmp_path / "runs" / "none-seed0" / "probe" / "probe.json"
    before = finished.stat().st_mtime_ns
    (tmp_path / "runs" / "vicreg-seed0" / "forecast" / "forecast.json").unlink()
    assert main(command) == 0
    assert finished.stat().st_mtime_ns == before
    assert (tmp_path / "runs" / "vicreg-seed0" / "forecast" / "forecast.json").exists()
