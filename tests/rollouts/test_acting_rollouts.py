"""Rollouts of a model with actions use the recorded ones, and show those of another window beside them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_training import run_training, write_clips_with_actions, write_recipe

from tests.support.made_acting_model import FRAMES, made_acting, pictures
from worldmodel import rollout
from worldmodel.rollouts.actions import RolloutActions, with_other_actions
from worldmodel.rollouts.prediction import error_curves, roll_out
from worldmodel.runs.held_out import load_held_out, load_held_out_actions


def test_other_actions_are_those_of_the_next_window_from_the_end_of_the_context_on():
    actions = torch.tensor([[[1.0], [2], [3]], [[4.0], [5], [6]], [[7.0], [8], [9]]])
    assert with_other_actions(actions, 2)[..., 0].tolist() == [[1, 5, 6], [4, 8, 9], [7, 2, 3]]
    assert with_other_actions(actions, 1)[..., 0].tolist() == [[4, 5, 6], [7, 8, 9], [1, 2, 3]]
    assert with_other_actions(actions[:1], 1)[..., 0].tolist() == [[3, 2, 1]]


def test_a_rollout_uses_the_recorded_actions_and_shows_both():
    acting = made_acting()
    model, frames = acting.untrained().model, pictures(FRAMES)
    recorded = torch.randn(2, FRAMES - 1, 4, generator=torch.Generator().manual_seed(2))
    given = RolloutActions(recorded[0], with_other_actions(recorded, 2)[0])
    found = roll_out(model, None, frames[0].numpy(), 2, "a", torch.device("cpu"), actions=given)
    context = model.normalise(frames[:1, :2])
    expected = model.rollout(context, FRAMES - 2, actions=recorded[:1])
    np.testing.assert_allclose(found.prediction[2:], expected[0].numpy(), rtol=1e-6)
    other = model.rollout(context, FRAMES - 2, actions=given.other[None])
    np.testing.assert_allclose(found.actions.prediction[2:], other[0].numpy(), rtol=1e-6)
    assert np.abs(found.prediction[2:] - found.actions.prediction[2:]).max() > 1e-4
    assert found.actions.recorded.shape == (FRAMES - 1, 2, 2)
    assert found.actions.names.names == ("x", "y")
    curves = error_curves(model, frames, 2, torch.device("cpu"), recorded)
    assert list(curves) == ["rollout", "copy", "mean", "direct", "other actions"]
    assert curves["direct"][0] == pytest.approx(curves["rollout"][0])
    assert curves["other actions"] != curves["rollout"]


def test_the_gallery_of_a_run_has_its_actions_also_where_its_data_is_missing(tmp_path: Path):
    manifest = write_clips_with_actions(tmp_path, 6)
    run, recipe = tmp_path / "run", write_recipe(tmp_path, manifest)
    assert run_training(recipe, f"run={run}", "train.max_steps=2") == 0
    stored = load_held_out_actions(run, (2, 5, 2))
    assert stored is not None
    assert len(load_held_out(run)) == 2
    assert load_held_out_actions(run, (2, 5, 3)) is None
    for out in ("with", "without"):
        if out == "without":
            manifest.rename(tmp_path / "moved.parquet")
        shown = ["--count", "1", "--context-s", "0.2", "--no-decoder", "--out", str(tmp_path / out)]
        assert rollout.main([str(run), *shown]) == 0
        page = (tmp_path / out / "gallery.html").read_text()
        assert "recorded actions: x, y" in page
        assert "other actions, after the context" in page
        assert "Actions: the prediction gets the recorded ones" in page
        assert "other actions" in json.loads((tmp_path / out / "horizon.json").read_text())["error"]
    clip = next((tmp_path / "clips").glob("*.mp4"))
    assert rollout.main([str(run), "--clip", str(clip), "--no-decoder", "--out", str(tmp_path / "clip")]) == 0
    page = (tmp_path / "clip" / "gallery.html").read_text()
    assert "No actions are known for these videos" in page
    assert "recorded actions: x, y" not in page
