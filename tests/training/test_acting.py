"""Training with actions: it resumes exactly, and two ranks have the losses of one."""

from pathlib import Path

import pytest
from made_training import losses, run_training, write_clips_with_actions, write_recipe

from worldmodel import train
from worldmodel.checkpoint import latest_checkpoint

OBJECTIVES = "objectives={forecast: {kind: forecast}, spread: {kind: vicreg}, actions: {kind: idm}}"
OF_ACTIONS = {
    "added": (),
    "adaln_zero": ("model.condition.kind=adaln_zero",),
    "state_difference": ("model.condition.actions=state_difference",),
}


@pytest.mark.parametrize("name", OF_ACTIONS)
def test_an_interrupted_run_with_actions_resumes_with_the_same_weights(tmp_path: Path, monkeypatch, name: str):
    recipe = write_recipe(tmp_path, write_clips_with_actions(tmp_path, 8))
    whole, cut, more = tmp_path / "whole", tmp_path / "cut", (*OF_ACTIONS[name], OBJECTIVES)
    assert run_training(recipe, f"run={whole}", *more) == 0
    original = train.step

    def interrupted(setup, index, micro_batches):
        if index == 3:
            raise KeyboardInterrupt
        return original(setup, index, micro_batches)

    monkeypatch.setattr(train, "step", interrupted)
    assert run_training(recipe, f"run={cut}", *more) != 0
    assert latest_checkpoint(cut).step == 2
    monkeypatch.setattr(train, "step", original)
    assert run_training(recipe, f"run={cut}", *more) == 0
    assert losses(cut) == losses(whole)
    assert latest_checkpoint(cut).state["sha256"] == latest_checkpoint(whole).state["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["added", "adaln_zero"])
def test_two_ranks_have_the_samples_and_the_loss_of_one_process_with_actions(trainer, read_rows, tmp_path: Path, kind: str):
    recipe = write_recipe(tmp_path, write_clips_with_actions(tmp_path, 8))
    acting = type(trainer)(recipe, trainer.started)
    for ranks in (1, 2):
        done = acting(tmp_path / str(ranks), f"model.condition.kind={kind}", ranks=ranks)
        assert done.returncode == 0, done.stderr
    for one, two in zip(read_rows(tmp_path / "1"), read_rows(tmp_path / "2"), strict=True):
        assert one["batch_hash"] == two["batch_hash"]
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
