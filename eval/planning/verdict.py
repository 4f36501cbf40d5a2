"""Is it the model or the planner that fails? A rule on the scores of the model and of the oracles."""

from __future__ import annotations

from collections.abc import Mapping

from eval.planning.results import PolicyResult

SOLVED = 0.9  # the planner counts as unable to solve the task where the interval of its oracle lies below
P_VALUE = 0.05
MODEL, ORACLE, ORACLE_TO_GO, UNTRAINED = "model", "oracle", "oracle_to_go", "untrained"


def verdict(policies: Mapping[str, PolicyResult], criterion: str, models: int = 1, exact_cost: bool = True) -> dict[str, str]:
    """{"limit": "model" | "planner" | "planner or cost" | "neither" | "unknown", "text": one sentence or more}.

    models: training seeds. exact_cost: whether the cost of the oracle, `to_go` of the task, is the true length of the way.
    """
    if ORACLE_TO_GO not in policies:
        also = ""
        if ORACLE in policies:
            reached = _percent(policies[ORACLE]["scores"][criterion]["value"])
            also = f" The oracle whose cost is the straight distance reaches {reached} % of the goals."
        text = "No verdict: the oracle whose cost is the way to go (oracle_to_go) was not evaluated."
        return {"limit": "unknown", "text": text + also}
    if MODEL not in policies:
        reached = _percent(policies[ORACLE_TO_GO]["scores"][criterion]["value"])
        text = f"No model was evaluated. With a copy of the environment, the planner reaches {reached} % of the goals."
        return {"limit": "unknown", "text": text}
    oracle, model = policies[ORACLE_TO_GO]["scores"][criterion], policies[MODEL]["scores"][criterion]
    best, reached = _percent(oracle["value"]), _percent(model["value"])
    against = policies[ORACLE_TO_GO]["model_minus"][criterion]
    is_worse = against["p_holm"] < P_VALUE and against["value"] < 0
    cost = "true length of the way" if exact_cost else "task's estimate of the way to go"
    exact = f"with a copy of the environment and the {cost} as its cost"
    if oracle["high"] < SOLVED:
        limit = "planner" if exact_cost else "planner or cost"
        also = f" The model is below that too, with {reached} %." if is_worse else ""
        advice = "Give it more samples, iterations or horizon" + ("" if exact_cost else ", or the task a better `to_go`")
        who = "planner" if exact_cost else "planner or its cost"
        text = f"The {who} fails: {exact}, the planner reaches {best} % of the goals. {advice}.{also}"
    elif is_worse:
        limit = "model"
        who = "The model fails" if model["value"] < SOLVED else "The model succeeds, and is below the oracle"
        text = f"{who}: {exact}, the same planner reaches {best} % of the goals; with the model, {reached} %."
    elif model["low"] < SOLVED and (model["value"] < oracle["value"] or oracle["low"] < SOLVED):
        limit = "unknown"
        text = (
            f"Undecided: {exact}, the planner reaches {best} % of the goals, with the model {reached} %; {model['n']} "
            "pairs are too few for a verdict."
        )
    else:
        limit = "neither"
        text = f"Neither fails: the model reaches {reached} % of the goals; {exact}, the same planner reaches {best} %."
    sentences = [text]
    if limit == "model":
        sentences.append(
            "The model's cost may also be harder to search than that of the oracle, which this does not tell apart: if more "
            "samples or --proposals raise the success, the search was a limit."
        )
    if ORACLE in policies and limit == "model":
        straight = _percent(policies[ORACLE]["scores"][criterion]["value"])
        sentences.append(
            f"With the straight distance to the goal as its cost, which knows no obstacle, exact dynamics reach {straight} %."
        )
    if UNTRAINED in policies:
        over = policies[UNTRAINED]["model_minus"][criterion]
        if not (over["p_holm"] < P_VALUE and over["value"] > 0):
            sentences.append("The model is not better than an untrained one (Holm-corrected sign-flip test).")
    sentences.append(
        "There is one training seed: how much another one would differ is in no interval and no p-value."
        if models == 1
        else f"Intervals include the variation between the {models} training seeds; p-values are over pairs alone."
    )
    return {"limit": limit, "text": " ".join(sentences)}


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"
