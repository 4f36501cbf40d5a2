"""The Python of docs/planning.md runs as it stands, with a made run and few recorded episodes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from documents import ROOT, blocks

import worldmodel.planning
import worldmodel.runs.acting
from tests.support.made_acting_model import made_acting
from worldmodel.planning import GoalHeadConfig

CODE = blocks(ROOT / "docs/planning.md", "python")
ALONE = [code for code in CODE if "data/" not in code and "runs/" not in code]


def run(code: str, names: dict[str, object]) -> dict[str, object]:
    exec(compile(code, "docs/planning.md", "exec"), names)
    return names


def test_examples_that_need_no_data_run():
    assert len(ALONE) == 2
    for code in ALONE:
        run(code, {})


def test_a_search_improves_the_plan_of_an_inverse_model():
    """Steps of 80 % leave (1 - .8 / 4) (1 - .8 / 3) (1 - .8 / 2) (1 - .8) = .0704 of the way (3, -2)."""
    (code,) = [code for code in ALONE if "inverse_plan" in code]
    found = run(code, {})
    start, plan = found["start"], found["plan"]
    assert start.predictor_steps == 4
    assert plan.predictor_steps == (50 * 4 + 1) * 4
    assert float(start.cost) == pytest.approx(0.0704**2 * (9 + 4) / 2)
    assert float(plan.cost) < 0.5 * float(start.cost)


def test_a_run_plans_by_inverse_dynamics_and_searches_from_there(monkeypatch):
    pytest.importorskip("gymnasium")
    from data_prep.__main__ import main as data_prep

    arguments = ["--env", "TwoRooms-v0", "--episodes", "4", "--steps", "12", "--val", "0", "--test", "0", "--workers", "1"]
    assert data_prep(["collect", *arguments, "--out", "data/two_rooms"]) == 0
    made = made_acting()
    acting = replace(made.untrained(), steps_head=made.steps_head.requires_grad_(False))  # its forecasts depend on actions
    monkeypatch.setattr(worldmodel.runs.acting, "load_acting_model", lambda _path: acting)
    quick = partial(worldmodel.planning.fit_goal_head, config=GoalHeadConfig(max_steps=5))
    monkeypatch.setattr(worldmodel.planning, "fit_goal_head", quick)
    (with_run,) = [code for code in CODE if "load_acting_model(" in code]
    (with_head,) = [code for code in CODE if "fit_goal_head(" in code]
    found = run(with_head, run(with_run, {}))
    start, plan = found["start"], found["plan"]
    assert float(plan.cost) <= float(found["cost"](start.actions[:, None])) + 1e-6  # the start competes
    assert float(plan.cost) < float(found["cost"](torch.zeros(1, 1, 8, 4)))
    lengths = torch.linalg.vector_norm(found["space"].sequence(start.actions), dim=-1)
    assert float(lengths.max()) <= 2.45 + 1e-5
    left = acting.distance(found["context"].last, found["target"], "steps")
    told = found["inverse_plan"](found["fit"].head, acting.imagine, found["context"], found["target"], found["space"], 3, left)
    assert told.actions.shape == (1, 3, 4)
