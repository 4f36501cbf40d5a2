"""A run's folder -> its training report, one page."""

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
from eval.report.training.verdicts import VERDICTS, meaning_of, spoken
from worldmodel.process.commit import commit
from worldmodel.render.curves import STYLES
from worldmodel.render.ink import COPY, MUTED, hexadecimal
from worldmodel.runs.progress import duration

MOST_NAMED = 100  # videos that could not be read
READ_SKILL = {
    "skill": "1 - error / that of the better one; a line a horizon, paler the further. Above 0 it is of use, 1 is perfect.",
    "skill_copy": "Hard to beat near by, where little changes. Around 0 to the end: the predictor copies.",
    "skill_mean": "Hard to beat far ahead, where little can be known. Around 0 to the end: unpredictable.",
}


@dataclass(frozen=True)
class Plot:
    title: str
    words: str  # how to read it
    svg: Markup


def write_training_report(run: Run, path: Path) -> Path:
    """One file that opens offline."""
    best = run.best_look
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
        best_noted=run.best is not None,
        table=skill_table(run, best),
        health=health(run),
        given=[(spoken(name), meaning_of(name)) for name in dict.fromkeys(str(row["verdict"]) for row in reversed(run.health))],
        others=[(spoken(name), it) for name, it in VERDICTS.items() if all(row["verdict"] != name for row in run.health)],
        losses=losses(run),
        optimisation=optimisation(run),
        times=run.times,
        speed=speed(run),
        bad_clips=run.bad_clips[:MOST_NAMED],
        about=about(run),
        caption=caption(run),
    )


def facts(run: Run) -> list[str]:
    """How far it is, how long it took, and how many rows of its logs are left out."""
    return [*_progress(run), *(f"{count:,} damaged row(s) of {name} left out" for name, count in run.damaged.items())]


def _progress(run: Run) -> list[str]:
    if not run.metrics:
        every = run.asked("train.log_every")
        return [f"no row of metrics yet; the first is due at update {every}" if every else "no row of metrics yet"]
    last = run.metrics[-1]
    speeds = sorted(float(row["clips_per_s"]) for row in run.metrics if row.get("clips_per_s"))
    found = [
        f"{run.updates:,} updates" if run.finished or run.planned is None else f"{run.updates:,} of {run.planned:,} updates"
    ]
    found += [f"{last['samples']:,} windows", duration(float(last["seconds"]))]
    if speeds:
        found.append(f"{speeds[len(speeds) // 2]:.3g} windows/s")
    if run.finished:
        return [*found, "finished"]
    stops = run.asked("health.stop_on", ())
    if run.health and run.health[-1]["verdict"] in stops:
        return [*found, "ended by the doctor (health.stop_on)"]
    if run.planned is not None and last["step"]:
        left = float(last["seconds"]) / last["step"] * (run.planned - run.updates)
        found.append(f"unfinished, about {duration(left)} of work left")
    if run.written_s_ago is not None:
        found.append(f"last row {duration(run.written_s_ago)} before this page was made")
    return found


def bands(run: Run) -> list[dict[str, Any]]:
    """Verdicts as parts of a band, per cent of its width."""
    end = max(run.updates, 1)
    return [
        {
            "words": spoken(span.verdict),
            "tone": meaning_of(span.verdict).tone,
            "left": 100 * span.start / end,
            "width": 100 * (span.stop - span.start) / end,
            "title": f"{spoken(span.verdict)}: updates {span.start:,} to {span.stop:,}",
        }
        for span in run.spans
    ]


def skills(run: Run) -> list[Plot]:
    """Over updates, and at the best checkpoint."""
    if not run.horizons:
        return []
    found = [
        Plot(
            f"Skill against {against}",
            READ_SKILL[prefix],
            Markup(plots.course(run, plots.by_horizon(run, prefix), floor=plots.FAR_BELOW, top=1.0, levels={"": 0.0})),
        )
        for against, prefix in plots.SKILLS.items()
    ]
    if best := run.best_look:
        what = "the best checkpoint" if run.best is not None else "the look with the highest skill"
        words = "How far ahead it sees: where a line meets 0 it knows nothing more than that baseline."
        found.append(Plot(f"Skill by horizon at {what}, update {best['step']:,}", words, Markup(plots.horizons(run, best))))
    return found


def skill_table(run: Run, best: Row | None) -> list[tuple[str, list[str]]]:
    """Baseline, and skill against it at each horizon: at the best checkpoint."""
    if best is None:
        return []
    return [(words, [_number(best.get(f"{prefix}/{name}")) for name in run.horizons]) for words, prefix in plots.SKILLS.items()]


def health(run: Run) -> list[Plot]:
    if not run.health:
        return []
    directions = next((row["directions"] for row in run.health if (row.get("directions") or 0) > 0), None)
    levels = {}
    if directions:
        least = directions ** run.asked("health.min_rank_exponent", 0.5)
        levels = {"collapsed below": least, f"all {directions} directions": float(directions)}
    orange = {"color": hexadecimal(COPY), "linewidth": 1.6, "linestyle": (0, (5, 2))}
    grey = {"color": hexadecimal(MUTED), "linewidth": 1.4, "linestyle": (0, (1, 1.5))}
    rows = run.health
    ranks = [
        plots.line_of(rows, "effective_rank", "of what is seen"),
        plots.line_of(rows, "effective_rank_pooled", "with place", grey),
    ]
    stds = [plots.line_of(rows, "std_mean", "mean"), plots.line_of(rows, "std_min", "smallest", orange)]
    return [
        Plot(
            "Effective rank",
            "How many directions latents fill (RankMe). Falling towards a few: dimensional collapse.",
            Markup(plots.course(run, ranks, bottom=0.0, top=float(directions or 1), levels=levels)),
        ),
        Plot(
            "Standard deviation of features",
            "Of held-out latents, each place about its own mean. A line along the bottom: complete collapse.",
            Markup(plots.course(run, stds, bottom=0.0, top=1.0)),
        ),
        Plot(
            "Off-diagonal covariance",
            "Mean squared correlation of two features: 0, each says something of its own; 1, all say the same.",
            Markup(plots.course(run, [plots.line_of(rows, "corr_offdiag")], bottom=0.0, log=True)),
        ),
        Plot(
            "Share of variance that is place",
            "What the position in the picture explains alone. Near 1: latents do not say what is seen.",
            Markup(plots.course(run, [plots.line_of(rows, "position_share")], bottom=-0.02, top=1.0)),
        ),
    ]


def losses(run: Run) -> list[Plot]:
    """The total, then each part; parts that are nothing throughout are left out."""
    if not run.metrics:
        return []
    names = dict.fromkeys(name for row in run.metrics for name in row if name == "loss" or name.startswith("loss/"))
    shown = [name for name in names if any(row.get(name) for row in run.metrics)]
    return [
        Plot(
            "Total loss" if name == "loss" else name.removeprefix("loss/"),
            _loss_words(name, run),
            Markup(plots.course(run, [plots.line_of(run.metrics, name, noisy=True)], log=True)),
        )
        for name in shown
    ]


def _loss_words(name: str, run: Run) -> str:
    if name == "loss":
        return "The sum of its parts, as the recipe weighs them."
    kind = run.asked(f"objectives.{name.split('/')[1]}.kind")
    return f"Of an objective of kind {kind}." if kind else ""


def optimisation(run: Run) -> list[Plot]:
    if not run.metrics:
        return []
    clip = run.asked("optim.clip_norm")
    norms = [float(row["grad_norm"]) for row in run.metrics if row.get("grad_norm") is not None]
    words = "Of the whole gradient, before it is clipped."
    if clip and norms:
        words += f" Clipped to {clip:g} in {sum(norm > clip for norm in norms) / len(norms):.0%} of the rows."
    words += " Sudden peaks that stay: lower optim.lr."
    levels = {"clip_norm": float(clip)} if clip else {}
    rate = f"{run.asked('optim.warmup_steps', 0)} updates of warm-up, then {run.asked('optim.schedule', 'its schedule')}."
    if run.asked("optim.kind") == "muon":
        rate += f" Hidden matrices go by muon_lr, {run.asked('optim.muon_lr'):g} at most, in the same proportion."
    return [
        Plot("Learning rate", rate, Markup(plots.course(run, [plots.line_of(run.metrics, "lr")], bottom=0.0))),
        Plot(
            "Gradient norm",
            words,
            Markup(plots.course(run, [plots.line_of(run.metrics, "grad_norm", noisy=True)], log=True, levels=levels)),
        ),
    ]


def speed(run: Run) -> list[Plot]:
    if not run.metrics:
        return []
    orange = {**STYLES[1], "linestyle": "-"}
    waits = [plots.line_of(run.metrics, "data_wait_fraction", style=orange, noisy=True)]
    return [
        Plot(
            "Windows a second",
            "Over all processes. Dips where the doctor looks and checkpoints are written are as they should be.",
            Markup(plots.course(run, [plots.line_of(run.metrics, "clips_per_s", noisy=True)], bottom=0.0)),
        ),
        Plot(
            "Share of time waiting for data",
            "Above a tenth, data set the pace: more data.workers, smaller copies.",
            Markup(plots.course(run, waits, bottom=-0.02, top=1.0)),
        ),
    ]


def about(run: Run) -> dict[str, str]:
    """Label -> text: what made it, as far as the folder says."""
    machine: Mapping[str, Any] = run.state.get("machine") or {}
    manifest = run.asked("data.manifest")
    found = {
        "folder": str(run.folder),
        "data": ", ".join(manifest) if isinstance(manifest, list) else manifest,
        "training windows": ", ".join(f"{count:,}" for count in run.state.get("windows", ())),
        "windows an update": run.asked("data.batch_size"),
        "model": run.asked("model.kind"),
        "objectives": ", ".join(f"{name} ({it.get('kind')})" for name, it in run.asked("objectives", {}).items()),
        "precision": run.asked("train.precision"),
        "seed": run.asked("seed"),
        "device": machine.get("device"),
        "processes": machine.get("processes"),
        "system": machine.get("system"),
        "cores": machine.get("cores"),
        "versions": ", ".join(f"{name} {number}" for name, number in machine.get("versions", {}).items()),
    }
    if not machine:
        found["machine"] = "not told by this run's checkpoints"
    return {label: str(value) for label, value in found.items() if value not in (None, "")}


def caption(run: Run) -> str:
    """Under figures: which run, which updates, which code drew them."""
    drawn = commit()
    code = f", drawn by commit {drawn}" if drawn else ""
    return f"{run.name}, updates 1 to {run.updates:,}{code}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
