"""Results of a run lie in its run folder, those of an exported checkpoint in its own folder, never in one of another run."""

from pathlib import Path

import pytest
import torch

from eval.cache.run_folder import folder_of
from eval.subject import open_subject
from worldmodel.checkpoint import gather_tensors, save_checkpoint
from worldmodel.export import main as export
from worldmodel.recipe import Recipe
from worldmodel.training.optimizer import build_optimizers
from worldmodel.training.setup import build_learner


@pytest.fixture
def run(tmp_path: Path) -> Path:
    recipe = Recipe()
    learner = build_learner(recipe)
    tensors = gather_tensors(learner, build_optimizers(learner, recipe.optim))
    save_checkpoint(tmp_path / "run", tensors, {"step": 5, "recipe": recipe.model_dump(mode="json")})
    return tmp_path / "run"


def test_an_exported_checkpoint_stores_its_results_beside_itself_and_has_its_own_name(run: Path, tmp_path: Path):
    exported = tmp_path / "other-run" / "out" / "mine"
    assert export([str(run), "--to", f"model:{exported}"]) == 0
    for spec, folder, name in (
        (run, run, "run"),
        (run / "checkpoints" / "00000005", run, "run"),
        (exported, exported, "mine"),
        (f"hf:{exported}", exported, "mine"),
    ):
        subject = open_subject(str(spec), torch.device("cpu"))
        assert subject.name == name
        assert folder_of(subject) == folder / "reference"
