"""The four findings at the top of a training report: each has a title, a short answer and an explanation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.training.run_folder import Row, Run, Span
from worldmodel.health.advice import Tone, readable, text_of

RISING = 0.02  # of skill over the last quarter: more than its noise over some hundred windows
FALLEN = 0.05
SOME_WAITING, MOSTLY_WAITING = 0.1, 0.3  # fractions of the time
SLOWER = 0.8  # of the speed in the first quarter
BASELINES = "the better of two baselines, copying the last latent and predicting the mean"


@dataclass(frozen=True)
class Finding:
    question: str
    answer: str
    tone: Tone
    detail: str


def findings(run: Run) -> list[Finding]:
    return [learning(run), health(run), collapse(run), speed_limit(run)]


def learning(run: Run) -> Finding:
    """Whether the forecast skill on held-out windows is above that of the baselines."""
    question, checks = "Did it learn?", checks_with_skill(run)
    if not run.health:
        first = run.recipe_value("health.every")
        when = f"; the first is due at step {first:,}" if isinstance(first, int) else ""
        return Finding(question, "Not known", "open", f"No health check on held-out windows yet{when}. {_loss_change(run)}")
    if not checks:
        if all(row["verdict"] == "warming_up" for row in run.health):
            detail = f"All health checks were during the warm-up, which is too early. {_loss_change(run)}"
            return Finding(question, "Not known", "open", detail)
        return Finding(question, "No", "bad", "Skill is undefined: held-out latents do not vary or do not change at all.")
    last = checks[-1]
    skill = float(last["skill"])
    if text_of(str(last["verdict"])).is_collapse:
        detail = f"The latents are collapsed at the last health check. Their skill of {skill:.2f} is meaningless."
        return Finding(question, "No", "bad", detail)
    min_skill = run.recipe_value("health.min_skill", 0.05)
    measured = f"Forecast skill {skill:.2f} on held-out windows at step {last['step']:,}, mean over horizons: "
    if skill <= min_skill:
        detail = f"{measured}forecasts are no better than {BASELINES} (required: above {min_skill:g}). {_trend(checks)}"
        return Finding(question, "No", "bad", detail)
    measured += f"the error is {100 * skill:.0f} % below that of {BASELINES}."
    return Finding(question, "Yes", "good", f"{measured} {_trend(checks)}")


def checks_with_skill(run: Run) -> list[Row]:
    """Health checks after the warm-up that have a skill."""
    return [row for row in run.health if row["verdict"] != "warming_up" and row.get("skill") is not None]


def _trend(checks: Sequence[Row]) -> str:
    """How skill developed recently."""
    skill, best = float(checks[-1]["skill"]), max(checks, key=lambda row: float(row["skill"]))
    top = float(best["skill"])
    earlier = [row for row in checks if row["step"] <= 0.75 * checks[-1]["step"]]
    if not earlier:
        return "There are too few health checks for a trend."
    if top - skill > FALLEN:
        return f"It was higher at step {best['step']:,} ({top:.2f}): the model overfits, or the learning rate is too high."
    if skill - float(earlier[-1]["skill"]) > RISING:
        return "It was still rising at the end: longer training should help."
    return "It no longer rises."


def _loss_change(run: Run) -> str:
    losses = [float(row["loss"]) for row in run.metrics if row.get("loss") is not None]
    if not losses:
        return "No loss was logged yet."
    return f"The loss went from {losses[0]:.3g} to {losses[-1]:.3g}. This alone says little: the loss is lowest at collapse."


def health(run: Run) -> Finding:
    """The last verdict of the collapse diagnostics."""
    question = "Is it healthy?"
    if not run.health:
        return Finding(question, "Not known", "open", "There was no health check yet.")
    last = run.health[-1]
    verdict = str(last["verdict"])
    text = text_of(verdict)
    measured = f" At step {last['step']:,}: {last['advice']}." if last.get("advice") else ""
    answer = "Yes" if verdict == "healthy" else readable(verdict).capitalize()
    return Finding(question, answer, text.tone, f"{text.meaning}{measured}")


def collapse(run: Run) -> Finding:
    """Whether any health check found a collapse, and when."""
    question = "Did it collapse?"
    checks = [row for row in run.health if row["verdict"] != "warming_up"]
    if not checks:
        return Finding(question, "Not known", "open", "There is no verdict yet.")
    spans = run.spans
    collapsed = [span for span in spans if text_of(span.verdict).is_collapse]
    if not collapsed:
        count = f"{len(checks)} health check{'s' if len(checks) != 1 else ''}"
        return Finding(question, "No", "good", f"No collapse in {count} up to step {checks[-1]['step']:,}.")
    when = "; ".join(f"{readable(span.verdict)} {_when(span, spans[-1])}" for span in collapsed)
    if spans[-1] in collapsed:
        return Finding(question, "Yes", "bad", f"{when.capitalize()}. See the advice under Collapse diagnostics.")
    return Finding(question, "Temporarily", "fair", f"{when.capitalize()}; it recovered.")


def _when(span: Span, last: Span) -> str:
    if span != last:
        return f"between steps {span.start:,} and {span.stop:,}"
    return f"from step {span.start:,} on" if span.start else "from the first health check on"


def speed_limit(run: Run) -> Finding:
    """What most of the training time was spent on."""
    question, times = "What limited the speed?", run.times
    if times is None:
        return Finding(question, "Not known", "open", "There are too few rows of metrics.")
    workers = run.recipe_value("data.workers")
    if times.waiting >= SOME_WAITING:
        now = f" (now {workers})" if isinstance(workers, int) else ""
        remedy = f"Raise data.workers{now}, or make small copies that decode fast: `python -m data_prep transcode`."
        mostly = times.waiting >= MOSTLY_WAITING
        detail = f"Training waited for data {100 * times.waiting:.0f} % of the time. {remedy}{_slowdown(run)}"
        return Finding(question, "Data loading" if mostly else "Partly data loading", "bad" if mostly else "fair", detail)
    if times.checking > times.computing:
        detail = (
            f"{100 * times.checking:.0f} % of the time was spent on health checks and checkpoints. "
            f"Raise health.every and checkpoint.every.{_slowdown(run)}"
        )
        return Finding(question, "Health checks and checkpoints", "fair", detail)
    detail = (
        f"Training waited for data only {100 * times.waiting:.0f} % of the time. It gets faster with more or faster devices, "
        "or with a smaller model"
    )
    if run.recipe_value("train.precision") == "fp32":
        detail += ", or with train.precision=auto if the device supports bf16"
    return Finding(question, "Computation", "good", f"{detail}.{_slowdown(run)}")


def _slowdown(run: Run) -> str:
    """A sentence if the last quarter of the rows is slower than the first."""
    speeds = [float(row["samples_per_s"]) for row in run.metrics[1:] if row.get("samples_per_s")]
    quarter = len(speeds) // 4
    if quarter < 5:
        return ""
    first, last = statistics.median(speeds[:quarter]), statistics.median(speeds[-quarter:])
    if last >= SLOWER * first:
        return ""
    return f" It slowed down from {first:.3g} to {last:.3g} windows/s: other processes used the machine, or it overheated."
