"""The training report of a run: one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.report.rendering import render
from eval.report.training import plots
from eval.report.training.findings import findings
from eval.report.training.run_folder import Row, Run
from worldmodel.health.advice import VERDICT_TEXTS, readable, text_of
from worldmodel.process.git_commit import current_commit
from worldmodel.render.curves import STYLES
from worldmodel.render.style import COPY, MUTED, hex_colour
from worldmodel.runs.progress import format_duration

MAX_VIDEOS_LISTED = 100  # that could not be read
SKILL_EXPLANATIONS = {
    "skill": "1 - error / error of the better baseline. One line per horizon, lighter for longer ones. 0: no use; 1: perfect.",
    "skill_copy": "A strong baseline at short horizons. If skill stays near 0, the predictor copies.",
    "skill_mean": "A strong baseline at long horizons. If skill stays near 0, latents are unpredictable.",
}


@dataclass(frozen=True)
class Plot:
    title: str
    explanation: str
    svg: Markup


def write_training_report(run: Run, path: Path) -> Path:
    """Write one HTML file that opens offline."""
    best = run.best_check
    return render(
        path,
        "training.html",
        title=f"training of {run.name}",
        run=run,
        facts=facts(run),
        findings=findings(run),
        bands=bands(run),
        skills=skills(run),
        best=best,
        has_best_checkpoint=run.best is not None,
        table=skill_table(run, best),
        health=health(run),
        verdicts=[
            (readable(name), text_of(name)) for name in dict.fromkeys(str(row["verdict"]) for row in reversed(run.health))
        ],
        other_verdicts=[
            (readable(name), it) for name, it in VERDICT_TEXTS.items() if all(row["verdict"] != name for row in run.health)
        ],
        losses=losses(run),
        optimisation=optimisation(run),
        times=run.times,
        speed=speed(run),
        bad_clips=run.bad_clips[:MAX_VIDEOS_LISTED],
        about=about(run),
        caption=caption(run),
    )


def facts(run: Run) -> list[str]:
    """Progress, duration, and the number of damaged log rows."""
    return [*_progress(run), *(f"{count:,} damaged row(s) of {name} left out" for name, count in run.damaged.items())]


def _progress(run: Run) -> list[str]:
    if not run.metrics:
        every = run.recipe_value("train.log_every")
        return [f"no row of metrics yet; the first is due at step {every}" if every else "no row of metrics yet"]
    last = run.metrics[-1]
    speeds = sorted(float(row["samples_per_s"]) for row in run.metrics if row.get("samples_per_s"))
    found = [f"{run.steps:,} steps" if run.finished or run.max_steps is None else f"{run.steps:,} of {run.max_steps:,} steps"]
    found += [f"{last['samples']:,} windows", format_duration(float(last["seconds"]))]
    if speeds:
        found.append(f"{speeds[len(speeds) // 2]:.3g} windows/s")
    if run.finished:
        return [*found, "finished"]
    stops = run.recipe_value("health.stop_on", ())
    if run.health and run.health[-1]["verdict"] in stops:
        return [*found, "stopped by a verdict (health.stop_on)"]
    if run.max_steps is not None and last["step"]:
        left = float(last["seconds"]) / last["step"] * (run.max_steps - run.steps)
        found.append(f"unfinished, about {format_duration(left)} remaining")
    if run.written_s_ago is not None:
        found.append(f"last row {format_duration(run.written_s_ago)} before this page was created")
    return found


def bands(run: Run) -> list[dict[str, Any]]:
    """Verdicts as parts of a band; positions in percent of its width."""
    end = max(run.steps, 1)
    return [
        {
            "label": readable(span.verdict),
            "tone": text_of(span.verdict).tone,
            "left": 100 * span.start / end,
            "width": 100 * (span.stop - span.start) / end,
            "title": f"{readable(span.verdict)}: steps {span.start:,} to {span.stop:,}",
        }
        for span in run.spans
    ]


def skills(run: Run) -> list[Plot]:
    """Skill over steps, and by horizon at the best checkpoint."""
    if not run.horizons:
        return []
    found = [
        Plot(
            f"Skill against {against}",
            SKILL_EXPLANATIONS[prefix],
            Markup(
                plots.over_steps(run, plots.skill_lines(run, prefix), floor=plots.MIN_SKILL_SHOWN, top=1.0, levels={"": 0.0})
            ),
        )
        for against, prefix in plots.SKILLS.items()
    ]
    if best := run.best_check:
        what = "the best checkpoint" if run.best is not None else "the health check with the highest skill"
        explanation = "Where a line reaches 0, forecasts are no better than that baseline."
        found.append(
            Plot(f"Skill by horizon at {what}, step {best['step']:,}", explanation, Markup(plots.by_horizon(run, best)))
        )
    return found


def skill_table(run: Run, best: Row | None) -> list[tuple[str, list[str]]]:
    """(baseline, skill against it at each horizon) at the best checkpoint."""
    if best is None:
        return []
    return [(label, [_number(best.get(f"{prefix}/{name}")) for name in run.horizons]) for label, prefix in plots.SKILLS.items()]


def health(run: Run) -> list[Plot]:
    if not run.health:
        return []
    max_rank = next((row["max_rank"] for row in run.health if (row.get("max_rank") or 0) > 0), None)
    levels = {}
    if max_rank:
        threshold = max_rank ** run.recipe_value("health.min_rank_exponent", 0.5)
        levels = {"collapse threshold": threshold, f"maximum {max_rank}": float(max_rank)}
    orange = {"color": hex_colour(COPY), "linewidth": 1.6, "linestyle": (0, (5, 2))}
    grey = {"color": hex_colour(MUTED), "linewidth": 1.4, "linestyle": (0, (1, 1.5))}
    rows = run.health
    ranks = [
        plots.line_of(rows, "effective_rank", "without position"),
        plots.line_of(rows, "effective_rank_with_position", "with position", grey),
    ]
    stds = [plots.line_of(rows, "std_mean", "mean"), plots.line_of(rows, "std_min", "minimum", orange)]
    return [
        Plot(
            "Effective rank",
            "Number of directions along which latents vary (RankMe). A fall to a few is dimensional collapse.",
            Markup(plots.over_steps(run, ranks, bottom=0.0, top=float(max_rank or 1), levels=levels)),
        ),
        Plot(
            "Standard deviation of features",
            "Of held-out latents, each token about its own mean. A line near 0 is complete collapse.",
            Markup(plots.over_steps(run, stds, bottom=0.0, top=1.0)),
        ),
        Plot(
            "Off-diagonal correlation",
            "Mean squared correlation of two features. 0: uncorrelated; 1: all features are redundant.",
            Markup(plots.over_steps(run, [plots.line_of(rows, "corr_offdiag")], bottom=0.0, log=True)),
        ),
        Plot(
            "Fraction of variance explained by position",
            "By the position of the token alone. Near 1, latents do not encode the content of the video.",
            Markup(plots.over_steps(run, [plots.line_of(rows, "position_fraction")], bottom=-0.02, top=1.0)),
        ),
    ]


def losses(run: Run) -> list[Plot]:
    """The total loss, then each part; parts that are always 0 are left out."""
    if not run.metrics:
        return []
    names = dict.fromkeys(name for row in run.metrics for name in row if name == "loss" or name.startswith("loss/"))
    shown = [name for name in names if any(row.get(name) for row in run.metrics)]
    return [
        Plot(
            "Total loss" if name == "loss" else name.removeprefix("loss/"),
            _loss_explanation(name, run),
            Markup(plots.over_steps(run, [plots.line_of(run.metrics, name, noisy=True)], log=True)),
        )
        for name in shown
    ]


def _loss_explanation(name: str, run: Run) -> str:
    if name == "loss":
        return "The weighted sum of all parts."
    kind = run.recipe_value(f"objectives.{name.split('/')[1]}.kind")
    return f"Objective of kind {kind}." if kind else ""


def optimisation(run: Run) -> list[Plot]:
    if not run.metrics:
        return []
    clip = run.recipe_value("optim.clip_norm")
    norms = [float(row["grad_norm"]) for row in run.metrics if row.get("grad_norm") is not None]
    explanation = "Of all parameters, before clipping."
    if clip and norms:
        explanation += f" Clipped to {clip:g} in {100 * sum(norm > clip for norm in norms) / len(norms):.0f} % of the rows."
    explanation += " If sudden peaks persist, lower optim.lr."
    levels = {"clip_norm": float(clip)} if clip else {}
    rate = (
        f"{run.recipe_value('optim.warmup_steps', 0)} warm-up steps, then {run.recipe_value('optim.schedule', 'its schedule')}."
    )
    if run.recipe_value("optim.kind") == "muon":
        rate += f" Hidden matrices use muon_lr, at most {run.recipe_value('optim.muon_lr'):g}, with the same schedule."
    return [
        Plot("Learning rate", rate, Markup(plots.over_steps(run, [plots.line_of(run.metrics, "lr")], bottom=0.0))),
        Plot(
            "Gradient norm",
            explanation,
            Markup(plots.over_steps(run, [plots.line_of(run.metrics, "grad_norm", noisy=True)], log=True, levels=levels)),
        ),
    ]


def speed(run: Run) -> list[Plot]:
    if not run.metrics:
        return []
    orange = {**STYLES[1], "linestyle": "-"}
    waits = [plots.line_of(run.metrics, "data_wait_fraction", style=orange, noisy=True)]
    return [
        Plot(
            "Windows per second",
            "Over all processes. Dips at health checks and checkpoints are normal.",
            Markup(plots.over_steps(run, [plots.line_of(run.metrics, "samples_per_s", noisy=True)], bottom=0.0)),
        ),
        Plot(
            "Fraction of time waiting for data",
            "Above 0.1, data loading limits the speed: raise data.workers, or make smaller copies.",
            Markup(plots.over_steps(run, waits, bottom=-0.02, top=1.0)),
        ),
    ]


def about(run: Run) -> dict[str, str]:
    """Label -> text: data, model and machine of the run, as far as the folder states them."""
    machine: Mapping[str, Any] = run.state.get("machine") or {}
    manifest = run.recipe_value("data.manifest")
    found = {
        "folder": str(run.folder),
        "data": ", ".join(manifest) if isinstance(manifest, list) else manifest,
        "training windows": ", ".join(f"{count:,}" for count in run.state.get("windows", ())),
        "windows per step": run.recipe_value("data.batch_size"),
        "model": run.recipe_value("model.kind"),
        "objectives": ", ".join(f"{name} ({it.get('kind')})" for name, it in run.recipe_value("objectives", {}).items()),
        "precision": run.recipe_value("train.precision"),
        "seed": run.recipe_value("seed"),
        "device": machine.get("device"),
        "processes": machine.get("processes"),
        "system": machine.get("system"),
        "cores": machine.get("cores"),
        "versions": ", ".join(f"{name} {number}" for name, number in machine.get("versions", {}).items()),
    }
    if not machine:
        found["machine"] = "not stated in the checkpoints of this run"
    return {label: str(value) for label, value in found.items() if value not in (None, "")}


def caption(run: Run) -> str:
    """Source line below figures: the run, its steps, and the commit of the code."""
    revision = current_commit()
    code = f", drawn by commit {revision}" if revision else ""
    return f"{run.name}, steps 1 to {run.steps:,}{code}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
