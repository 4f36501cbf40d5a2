"""`eval ablate`: what it says of its cells, and one ablation whole, interrupted and gone on with."""

import csv
import json
from pathlib import Path

import pytest
from matplotlib.image import imread

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.commands.ablate import DEFAULT, AblationConfig, recipe_of
from eval.errors import EvalError
from eval.sweeps.ablation import agreement, latent_skill, over_seeds, summary, verdicts
from eval.sweeps.grid import cells_of
from worldmodel.config import load


def number(value: float, low: float | None = None, high: float | None = None, n: int = 10) -> dict:
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high, "n": n}


def test_an_interval_over_seeds_holds_those_of_all_seeds():
    got = over_seeds([number(0.5, 0.4, 0.6), number(0.7, 0.65, 0.75), None])
    assert got == {"value": pytest.approx(0.6), "low": 0.4, "high": 0.75, "seeds": 2, "n": 10}
    assert over_seeds([None, None]) is None


def test_latent_skill_is_against_the_better_of_copy_and_mean_at_the_nearest_horizon():
    skill = {"copy": [number(0.9), number(0.8)], "mean": [number(0.1), number(0.95)]}
    forecast = {"horizons_s": [0.5, 1.0], "skill": {"direct": skill}}
    assert latent_skill(forecast, 0.6)["value"] == 0.1
    assert latent_skill(forecast, 0.9)["value"] == 0.8


def cell(way: str, seed: int, rank: float, loss: float, position: float | None) -> dict:
    doctor = {"verdict": "healthy", "effective_rank": rank, "std_min": 1.0, "skill": 0.1, "loss": loss, "forecast_loss": loss}
    scores = {"position": None if position is None else number(position), "position ahead @1": None, "physics, whitened": None}
    return {"way": way, "seed": seed, "doctor": doctor, "scores": scores, "untrained": {}}


def test_a_loss_that_falls_while_the_model_collapses_is_seen_to_mislead():
    rows = [cell("none", i, rank=1 + i, loss=0.01 * (i + 1), position=0.1 * i) for i in range(4)]
    found = agreement(rows)
    assert found["training loss (less)"]["position"] == {"value": pytest.approx(-1), "n": 4}
    assert found["effective rank"]["position"]["value"] == pytest.approx(1)
    assert found["smallest standard deviation"]["position"] is None  # it never changes
    assert found["effective rank"]["position ahead"] is None  # nobody has it


def test_ways_are_told_by_their_seeds():
    found = summary([cell("a", 0, 2, 1, 0.5), cell("b", 0, 3, 1, None), cell("a", 1, 4, 1, 0.7)])
    assert list(found) == ["a", "b"]
    assert found["a"]["seeds"] == [0, 1]
    assert found["a"]["doctor"]["effective_rank"] == 3
    assert found["a"]["scores"]["position"]["value"] == pytest.approx(0.6)
    assert found["b"]["scores"]["position"] is None
    assert verdicts(["healthy", "complete_collapse", "healthy"]) == "healthy 2, complete_collapse 1"


RECIPE = """
run: x
data: {{manifest: {films}/train.parquet, batch_size: 8, workers: 0}}
window: {{frames: 24, fps: 12, size_px: 64}}
augment: {{crop_area_min: 1, crop_aspect_max: 1, hflip_prob: 0.5}}
model:
  kind: causal
  encoder: {{patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}}
  predictor: {{width: 24, depth: 1, heads: 2, horizons: 8}}
optim: {{warmup_steps: 1}}
train: {{updates: 4}}
health: {{every: 4, windows: 8}}
checkpoint: {{every: 4}}
decoder: {{updates: 0}}
"""
ABLATION = """
recipe: {folder}/recipe.yaml
seeds: [0]
horizons_s: [0.5]
folds: 2
suite: {{films: {folder}/films}}
ways:
  none: ["objectives={{forecast: {{kind: forecast}}}}"]
  vicreg: []
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Films to learn from, a nano suite of one property with 16 lawful films, a recipe, an ablation of two ways."""
    folder = tmp_path_factory.mktemp("ablation")
    films = str(folder / "films")
    assert data_prep(["synthesize", films, "--train", "30", "--workers", "1"]) == 0
    assert data_prep(["synthesize", films, "--suite", "nano", "--properties", "permanence", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE.format(films=films))
    (folder / "ablation.yaml").write_text(ABLATION.format(folder=folder))
    return folder


def test_the_shipped_ablation_can_run_from_any_folder(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(AblationConfig, DEFAULT)
    cells = cells_of(recipe_of(DEFAULT, config.recipe), config.overrides, config.ways, config.seeds, tmp_path)
    assert len(cells) == 18
    kept = {cell.variant: cell.recipe.against_collapse() for cell in cells}
    assert [way for way, against in kept.items() if not against] == ["none"]
    assert len({cell.recipe.train.max_steps for cell in cells}) == 1


def test_a_recipe_is_looked_for_beside_the_file_then_above_it_then_here(tmp_path: Path, monkeypatch):
    file, here = tmp_path / "above" / "beside" / "ablation.yaml", tmp_path / "here"
    here.mkdir()
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(EvalError) as caught:
        recipe_of(file, "demo.yaml")
    for folder in (here, file.parent.parent, file.parent):
        assert f"{folder}" in str(caught.value)
        (folder / "demo.yaml").touch()
        assert recipe_of(file, "demo.yaml") == folder / "demo.yaml"


def test_a_way_that_cannot_run_is_said_before_any_work(folder: Path, tmp_path: Path, capsys):
    text = (folder / "ablation.yaml").read_text() + '  wrong: ["objectives={forecast: {kind: forcast}}"]\n'
    (tmp_path / "wrong.yaml").write_text(text)
    assert main(["ablate", str(tmp_path / "wrong.yaml"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "wrong: " in said
    assert "forcast" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_two_ways_are_trained_and_evaluated_and_what_stands_is_kept(folder: Path, tmp_path: Path, capsys):
    ask = ["ablate", str(folder / "ablation.yaml"), "--out", str(tmp_path)]
    assert main(ask) == 0
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert [row["way"] for row in found["cells"]] == ["none", "vicreg"]
    assert {"position", "latent skill @0.5", "position ahead @0.5"} <= found["ways"]["vicreg"]["scores"].keys()
    assert found["ways"]["none"]["scores"]["latent skill @0.5"]["n"] == 8
    rows = list(csv.DictReader((tmp_path / "ablation.csv").open()))
    assert {row["way"] for row in rows} == {"none", "vicreg"}
    assert imread(tmp_path / "ablation.png").ndim == 3
    assert "| vicreg |" in capsys.readouterr().out

    kept = tmp_path / "runs" / "none-seed0" / "probe" / "probe.json"
    before = kept.stat().st_mtime_ns
    (tmp_path / "runs" / "vicreg-seed0" / "forecast" / "forecast.json").unlink()
    assert main(ask) == 0
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "runs" / "vicreg-seed0" / "forecast" / "forecast.json").exists()
