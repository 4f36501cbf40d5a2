"""A grid of trainings: problems are reported before any training, a failure stops no other cell, none is trained twice."""

import json
from pathlib import Path

import pytest

from eval.errors import EvalError
from eval.sweeps import grid
from eval.sweeps.grid import Cell, check_none_failed, make_cells, train_all
from worldmodel.checkpoint import save_checkpoint
from worldmodel.config import ConfigError

RECIPE = "model: {kind: causal}\ndecoder: {max_steps: 0}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def fake_training(cell: Cell, steps: int) -> None:
    """Write the files of a training of `steps` steps, except its weights."""
    state = {"step": steps, "recipe": cell.recipe.model_dump(mode="json"), "windows": [1]}
    save_checkpoint(Path(cell.recipe.run), {}, state)


def test_every_variant_has_every_seed_and_its_own_folder(recipe: Path, tmp_path: Path):
    cells = make_cells(recipe, ["optim.lr=0.5"], {"a": ["augment.hue=0.1"], "b": []}, [0, 7], tmp_path / "out")
    assert [cell.name for cell in cells] == ["a-seed0", "b-seed0", "a-seed7", "b-seed7"]
    assert [cell.recipe.seed for cell in cells] == [0, 0, 7, 7]
    assert [cell.recipe.augment.hue for cell in cells] == [0.1, 0, 0.1, 0]
    assert {cell.recipe.optim.lr for cell in cells} == {0.5}
    assert cells[3].recipe.run == str(tmp_path / "out" / "runs" / "b-seed7")


def test_the_problems_of_all_variants_are_reported_together(recipe: Path, tmp_path: Path):
    variants = {"a": ["augment.hue=9"], "b": [], "c": ["optim.ler=1"]}
    with pytest.raises(ConfigError) as caught:
        make_cells(recipe, [], variants, [0, 1], tmp_path)
    problems = caught.value.problems
    assert len(problems) == 2
    assert problems[0].startswith("a: ")
    assert "optim.ler is not a field" in problems[1]


def test_a_cell_trained_with_other_settings_is_refused_and_the_settings_are_named(recipe: Path, tmp_path: Path):
    (cell,) = make_cells(recipe, [], {"a": []}, [0], tmp_path)
    fake_training(cell, 5)
    assert make_cells(recipe, [], {"a": []}, [0], tmp_path) == [cell]
    with pytest.raises(EvalError, match=r"a-seed0 was trained with other settings: optim.lr: 0.001 -> 0.5. Give another --out"):
        make_cells(recipe, ["optim.lr=0.5"], {"a": []}, [0], tmp_path)
    with pytest.raises(EvalError, match=r"data.manifest: .* -> other.parquet"):  # a run may move its data, a comparison may not
        make_cells(recipe, ["data.manifest=other.parquet"], {"a": []}, [0], tmp_path)


def test_a_finished_cell_is_not_trained_again_and_a_failure_stops_no_other(recipe: Path, tmp_path: Path, monkeypatch):
    cells = make_cells(recipe, ["train.max_steps=200"], {name: [] for name in "abcd"}, [0], tmp_path)
    fake_training(cells[0], 200)
    fake_training(cells[1], 150)  # interrupted
    trained = []

    def train(cell: Cell) -> str:
        trained.append(cell.variant)
        return "no space" if cell.variant == "c" else ""

    monkeypatch.setattr(grid, "_train", train)
    failed = train_all(cells)
    assert trained == ["b", "c", "d"]
    assert failed == {"c-seed0": "no space"}
    with pytest.raises(EvalError, match=r"1 of 4 trainings failed.*c-seed0: no space"):
        check_none_failed(failed, cells)
    check_none_failed({}, cells)


def test_a_failed_training_is_reported_with_its_last_line(recipe: Path, tmp_path: Path, capfd):
    cells = make_cells(recipe, ["data.manifest=nowhere.parquet"], {"a": []}, [0], tmp_path)
    failed = train_all(cells)
    assert "nowhere.parquet" in failed["a-seed0"]
    assert "nowhere.parquet" in capfd.readouterr().err  # and was shown at once
    assert json.loads(json.dumps(failed)) == failed
