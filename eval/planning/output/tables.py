"""plan.json -> plan.csv with one row per number, and plan.md."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.planning.results import PlanResults
from eval.voe.scores.tables import table
from worldmodel.files.atomic import atomic_path, write_text

COLUMNS = ("part", "policy", "criterion", "value", "low", "high", "n", "seeds", "p_holm", "groups")


def write_tables(out: Path, found: PlanResults) -> None:
    """Write plan.csv and plan.md into the folder `out`."""
    with atomic_path(out / "plan.csv") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(csv_rows(found))
    write_text(out / "plan.md", markdown(found))


def csv_rows(found: PlanResults) -> Iterator[dict[str, Any]]:
    for policy, result in found.get("policies", {}).items():
        for criterion, score in result["scores"].items():
            yield {"part": "success", "policy": policy, "criterion": criterion, **score}
        for criterion, gap in result.get("model_minus", {}).items():
            yield {"part": "model minus policy", "policy": policy, "criterion": criterion, **gap}
    for row in found.get("variations", []):
        for criterion, score in row["scores"].items():
            yield {"part": f"{row['factor']}: {row['label']}", "policy": "model", "criterion": criterion, **score}


def cell(score: Mapping[str, Any] | None, factor: float = 100.0, digits: int = 1) -> str:
    """ "93.0 [89.5, 95.4]" """
    if score is None:
        return "–"
    value, low, high = (f"{factor * score[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def criterion_text(criterion: Mapping[str, Any], unit: str) -> str:
    """ "moderate: < 4.5 px at the last step (EB-JEPA)" """
    when = {"last": "at the last step", "any": "at any step", "held": f"held for {criterion['steps']} steps"}[criterion["when"]]
    source = f" ({criterion['source']})" if criterion["source"] else ""
    measure = criterion.get("measure", "distance")
    of = "" if measure == "distance" else f"{measure.replace('_', ' ')} "
    return f"{criterion['name']}: {of}< {criterion['tolerance']:g} {unit} {when}{source}"


PROPOSED = {
    "inverse": "Plans of inverse dynamics are candidates of every search.",
    "recorded": "{recorded_proposals} parts of recorded episodes are candidates of every search.",
}
"""What is told of `--proposals`."""


def search_options(protocol: Mapping[str, Any]) -> list[str]:
    """Sentences about what differs from a search around 0 of the full horizon."""
    said = ["The actions of a planned step are the same."] if protocol.get("repeat_actions") else []
    if protocol.get("shrinking_horizon"):
        said.append("Plans end where the first one ends, so later ones are shorter.")
    proposed = PROPOSED.get(protocol.get("proposals", "none"))
    recorded = protocol.get("recorded_proposals", 200)  # results before 2026-12 do not have it
    return [*said, *([proposed.format(recorded_proposals=recorded)] if proposed else [])]


def markdown(found: PlanResults) -> str:
    names = [criterion["name"] for criterion in found["criteria"]]
    unit = found["environment"]["unit"]
    pairs, protocol = found["pairs"], found["protocol"]
    parts = [f"# Planning in {found['environment']['id']}", ""]
    if found.get("policies"):
        matched = f" ({pairs['matched_pairs']} matched pairs)" if "matched_pairs" in pairs else ""
        several = pairs["episodes"] < pairs.get("matched_pairs", pairs["count"])
        over = f"{pairs['episodes']} recorded episodes" if several else "matched pairs" if matched else "pairs"
        parts += [
            f"{pairs['count']} pairs{matched} of split {pairs['split']}; {pairs['removed_at_goal']} more were already at their "
            f"goal and left out. {len(protocol['planning_seeds'])} planning seeds. At most {protocol['budget']} steps; a new "
            f"plan every {protocol['executed']}." + "".join(f" {sentence}" for sentence in search_options(protocol)),
            "",
            *(f"- {criterion_text(criterion, unit)}" for criterion in found["criteria"]),
            "",
            f"**Verdict.** {found['verdict']['text']}",
            "",
        ]
        heads = ["policy", *(f"{name}, %" for name in names), "model minus policy", "p (Holm)", "predicted steps per plan"]
        rows = []
        for result in found["policies"].values():
            gap = result.get("model_minus", {}).get(names[0])
            steps = result["cost"]["predicted_steps_per_plan"]
            rows.append(
                [
                    result["label"],
                    *(cell(result["scores"][name]) for name in names),
                    "–" if gap is None else cell(gap),
                    "–" if gap is None else f"{gap['p_holm']:.3g}",
                    f"{steps:,.0f}" if steps else "–",
                ]
            )
        parts.append(table(f"**Success** [95 % over {over} and training seeds]", heads, rows))
    if found.get("variations"):
        rows = [[row["factor"], row["label"], *(cell(row["scores"][name]) for name in names)] for row in found["variations"]]
        parts.append(table("**One factor changed**, the model", ["factor", "value", *(f"{name}, %" for name in names)], rows))
    parts += offline_tables(found.get("offline", {}))
    return "\n".join([*parts, *(f"- {note}" for note in found.get("notes", []))]) + "\n"


def offline_tables(offline: Mapping[str, Any]) -> list[str]:
    parts = []
    if forecast := offline.get("forecast"):
        horizons = forecast["horizons"]
        shown = sorted({0, *(round(f * (len(horizons) - 1)) for f in (0.25, 0.5, 1.0))})
        rows = [[name, *(cell(curve[k], 1.0, 3) for k in shown)] for name, curve in forecast["error"].items()]
        parts.append(table("**Latent error by horizon** (steps)", ["", *(str(horizons[k]) for k in shown)], rows))
        parts.append(
            f"Error under recorded actions is {cell(forecast['uses_actions'])} % below that under shuffled ones; 0 % would "
            "mean that the forecast does not use the actions. Mean action: the mean of these held-out episodes.\n"
        )
    if ranks := offline.get("action_rank"):
        rows = [[str(it["horizon"]), cell(it), "50"] for it in ranks]
        heads = ["horizon (steps)", "sequences that cost more, %", "chance"]
        cost = {"all": "summed over all steps", "last": "of the last step"}[ranks[0]["cost_steps"]]
        title = f"**Rank of the recorded actions** among those of other episodes, by the planner's cost ({cost})"
        parts.append(table(title, heads, rows))
    if probe := offline.get("action_probe"):
        rows = [[name, cell(it, 1.0, 3)] for name, it in probe.items()]
        parts.append(table("**Actions read by the inverse dynamics head**", ["transitions", "R2"], rows))
    if reach := offline.get("reach"):
        rows = [
            [
                name,
                "–" if it["reach"] is None else f"{it['reach']:.3g}",
                f"{it['longest']:.3g}",
                cell(it["rank_correlation"], 1.0, 2),
            ]
            for name, it in reach.items()
        ]
        heads = ["against", "reach", "longest measured", "rank correlation"]
        parts.append(table("**Reach of the latent distance**: where its mean has grown to 90 % of its highest", heads, rows))
    return parts
