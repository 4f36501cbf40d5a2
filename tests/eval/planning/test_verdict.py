"""What limits success: the model or the planner."""

import pytest

from data_prep.environments.hidden_object.task import HiddenObjectTask
from data_prep.environments.push_t.task import PushTTask
from data_prep.environments.tasks import to_go_is_exact
from data_prep.environments.two_rooms.task import TwoRoomsTask
from eval.planning.verdict import verdict


def policy_result(value: float, minus: float = 0.0, p: float = 1.0, half: float = 0.02) -> dict:
    gap = {"value": minus, "low": minus, "high": minus, "p": p, "p_holm": p}
    interval = {"value": value, "low": max(0, value - half), "high": min(1, value + half), "n": 300, "seeds": 1}
    return {"scores": {"moderate": interval}, "model_minus": {"moderate": gap}}


@pytest.mark.parametrize(
    ("model", "oracle", "limit"),
    [
        (policy_result(0.3), policy_result(1.0, -0.7, 0.001), "model"),
        (policy_result(0.3), policy_result(0.5, -0.2, 0.001), "planner"),
        (policy_result(0.97), policy_result(0.99, -0.02, 0.2), "neither"),
        (policy_result(0.7, half=0.3), policy_result(0.9, -0.2, 0.2, half=0.2), "unknown"),
    ],
)
def test_the_verdict_tells_the_model_from_the_planner(model, oracle, limit):
    found = verdict({"model": model, "oracle_to_go": oracle}, "moderate")
    assert found["limit"] == limit
    assert ("may also be harder to search" in found["text"]) == (limit == "model")  # the same search, but another cost


def test_the_verdict_does_not_blame_the_planner_alone_where_the_cost_of_the_oracle_is_no_true_length():
    policies = {"model": policy_result(0.3), "oracle_to_go": policy_result(0.5, -0.2, 0.001)}
    found = verdict(policies, "moderate", exact_cost=False)
    assert found["limit"] == "planner or cost"
    assert "The planner or its cost fails" in found["text"]
    assert "true length" not in found["text"]
    assert "the true length of the way as its cost" in verdict(policies, "moderate")["text"]
    assert [to_go_is_exact(task) for task in (TwoRoomsTask(), HiddenObjectTask(), PushTTask(), object())] == [
        True,
        True,
        False,
        False,
    ]


def test_an_oracle_that_was_evaluated_is_not_called_missing():
    policies = {"model": policy_result(0.3), "oracle": policy_result(0.6, -0.3, 0.001)}
    text = verdict(policies, "moderate")["text"]
    assert "(oracle_to_go) was not evaluated" in text
    assert "The oracle whose cost is the straight distance reaches 60 % of the goals." in text


def test_the_verdict_tells_what_one_training_seed_leaves_out():
    policies = {"model": policy_result(0.3), "oracle_to_go": policy_result(1.0, -0.7, 0.001)}
    assert "There is one training seed" in verdict(policies, "moderate")["text"]
    assert "variation between the 3 training seeds; p-values are over pairs alone" in verdict(policies, "moderate", 3)["text"]
