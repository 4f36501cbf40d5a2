"""A grid of trainings: what is wrong is said before any of them, one that fails stops no other, none is done twice."""

import json
from pathlib import Path

import pytest

from eval.errors import EvalError
from eval.sweeps import grid
from eval.sweeps.grid import Cell, cells_of, check_none_failed, train_all
from worldmodel.checkpoint import save_checkpoint
from worldmodel.config import ConfigError

RECIPE = "model: {kind: causal}\ndecoder: {updates: 0}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def do(cell: Cell, updates: int) -> None:
    """Leave what a training leaves after so many updates, but for its weights."""
    state = {"step": updates, "recipe": cell.recipe.model_dump(mode="json"), "windows": [1]}
    save_checkpoint(Path(cell.recipe.run), {}, state)


def test_every_variant_has_every_seed_and_a_folder_of_its_own(recipe: Path, tmp_path: Path):
    cells = cells_of(recipe, ["optim.lr=0.5"], {"a": ["augment.hue=0.1"], "b": []}, [0, 7], tmp_path / "out")
    assert [cell.name for cell in cells] == ["a-seed0", "b-seed0", "a-seed7", "b-seed7"]
    assert [cell.recipe.seed for cell in cells] == [0, 0, 7, 7]
    assert [cell.recipe.augment.hue for cell in cells] == [0.1, 0, 0.1, 0]
    assert {cell.recipe.optim.lr for cell in cells} == {0.5}
    assert cells[3].recipe.run == str(tmp_path / "out" / "runs" / "b-seed7")


def test_what_is_wrong_with_any_variant_is_said_of_all_at_once(recipe: Path, tmp_path: Path):
    variants = {"a": ["augment.hue=9"], "b": [], "c": ["optim.ler=1"]}
    with pytest.raises(ConfigError) as caught:
        cells_of(recipe, [], variants, [0, 1], tmp_path)
    told = caught.value.problems
    assert len(told) == 2
    assert told[0].startswith("a: ")
    assert "optim.ler is not a field" in told[1]


def test_a_cell_that_was_trained_otherwise_is_refused_and_says_how(recipe: Path, tmp_path: Path):
    (cell,) = cells_of(recipe, [], {"a": []}, [0], tmp_path)
    do(cell, 5)
    assert cells_of(recipe, [], {"a": []}, [0], tmp_path) == [cell]
    with pytest.raises(EvalError, match=r"a-seed0 was trained otherwise: optim.lr: 0.001 -> 0.5. Give another --out"):
        cells_of(recipe, ["optim.lr=0.5"], {"a": []}, [0], tmp_path)
    with pytest.raises(EvalError, match=r"data.manifest: .* -> other.parquet"):  # which a run may move, a comparison not
        cells_of(recipe, ["data.manifest=other.parquet"], {"a": []}, [0], tmp_path)


def test_what_is_finished_is_not_trained_again_and_a_failure_stops_no_other(recipe: Path, tmp_path: Path, monkeypatch):
    cells = cells_of(recipe, ["train.max_steps=200"], {name: [] for name in "abcd"}, [0], tmp_path)
    do(cells[0], 200)
    do(cells[1], 150)  # interrupted
    trained = []

    def train(cell: Cell) -> str:
        trained.append(cell.variant)
        return "no room" if cell.variant == "c" else ""

    monkeypatch.setattr(grid, "_train", train)
    failed = train_all(cells)
    assert trained == ["b", "c", "d"]
    assert failed == {"c-seed0": "no room"}
    with pytest.raises(EvalError, match=r"1 of 4 trainings failed.*c-seed0: no room"):
        check_none_failed(failed, cells)
    check_none_failed({}, cells)


def test_a_training_that_fails_is_known_by_its_last_words(recipe: Path, tmp_path: Path, capfd):
    cells = cells_of(recipe, ["data.manifest=nowhere.parquet"], {"a": []}, [0], tmp_path)
    failed = train_all(cells)
    assert "nowhere.parquet" in failed["a-seed0"]
    assert "nowhere.parquet" in capfd.readouterr().err  # and was heard at once
    assert json.loads(json.dumps(failed)) == failed
