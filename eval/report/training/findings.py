"""A run at first glance: did it learn, is it healthy, did it collapse, what set its pace? Each an answer, and why."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from eval.report.training.run_folder import Row, Run, Span
from eval.report.training.verdicts import Tone, meaning_of, spoken

RISING = 0.02  # of skill over the last quarter: more than the looks differ by chance in some hundred windows
FALLEN = 0.05
BUSY_WAITING, MOSTLY_WAITING = 0.1, 0.3  # shares of the time
SLOWER = 0.8  # of the speed it had in its first quarter
BASELINES = "repeating the last latent or saying the mean, whichever is better"


@dataclass(frozen=True)
class Finding:
    question: str
    answer: str
    tone: Tone
    words: str


def findings(run: Run) -> list[Finding]:
    return [learnt(run), healthy(run), collapsed(run), pace(run)]


def learnt(run: Run) -> Finding:
    question, judged = "Did it learn?", looks(run)
    if not run.health:
        first = run.asked("health.every")
        when = f"; the first is due at update {first:,}" if isinstance(first, int) else ""
        return Finding(question, "Not known", "open", f"No look at held-out windows yet{when}. {_loss_words(run)}")
    if not judged:
        if all(row["verdict"] == "warming_up" for row in run.health):
            return Finding(question, "Not known", "open", f"All looks fell into the warm-up: too early. {_loss_words(run)}")
        return Finding(question, "No", "bad", "Skill has no value: held-out latents do not vary or change at all.")
    last = judged[-1]
    skill, best = float(last["skill"]), max(judged, key=lambda row: float(row["skill"]))
    if meaning_of(str(last["verdict"])).collapsed:
        said = f"At the last look latents had collapsed; a skill of {skill:.2f} among collapsed latents means nothing."
        return Finding(question, "No", "bad", said)
    least = run.asked("health.min_skill", 0.05)
    told = f"Held-out skill {skill:.2f} at update {last['step']:,}, on average over horizons: "
    if skill <= least:
        way = _way(judged, skill, best)
        return Finding(question, "No", "bad", f"{told}forecasts are no better than {BASELINES} (above {least:g} counts). {way}")
    told += f"forecasts are {skill:.0%} less wrong than {BASELINES}."
    return Finding(question, "Yes", "good", f"{told} {_way(judged, skill, best)}")


def looks(run: Run) -> list[Row]:
    """Those after the warm-up whose skill has a value."""
    return [row for row in run.health if row["verdict"] != "warming_up" and row.get("skill") is not None]


def _way(judged: Sequence[Row], skill: float, best: Row) -> str:
    """How skill went of late."""
    top = float(best["skill"])
    earlier = [row for row in judged if row["step"] <= 0.75 * judged[-1]["step"]]
    if not earlier:
        return "Too few looks to say how it goes on."
    if top - skill > FALLEN:
        return f"It was better at update {best['step']:,} ({top:.2f}): it learns by heart, or the learning rate is too high."
    if skill - float(earlier[-1]["skill"]) > RISING:
        return "It still rose at the end: training longer should help."
    return "It had levelled off."


def _loss_words(run: Run) -> str:
    told = [float(row["loss"]) for row in run.metrics if row.get("loss") is not None]
    if not told:
        return "No loss was logged yet."
    return f"The loss went from {told[0]:.3g} to {told[-1]:.3g}, which alone says nothing: it is smallest at collapse."


def healthy(run: Run) -> Finding:
    question = "Is it healthy?"
    if not run.health:
        return Finding(question, "Not known", "open", "The doctor has not looked yet.")
    last = run.health[-1]
    verdict = str(last["verdict"])
    meaning = meaning_of(verdict)
    measured = f" At update {last['step']:,}: {last['advice']}." if last.get("advice") else ""
    answer = "Yes" if verdict == "healthy" else spoken(verdict).capitalize()
    return Finding(question, answer, meaning.tone, f"{meaning.words}{measured}")


def collapsed(run: Run) -> Finding:
    question = "Did it collapse?"
    judged = [row for row in run.health if row["verdict"] != "warming_up"]
    if not judged:
        return Finding(question, "Not known", "open", "No verdict yet.")
    spans = run.spans
    bad = [span for span in spans if meaning_of(span.verdict).collapsed]
    if not bad:
        some = "look" if len(judged) == 1 else "looks"
        return Finding(question, "No", "good", f"Not in {len(judged)} {some} up to update {judged[-1]['step']:,}.")
    told = "; ".join(f"{spoken(span.verdict)} {_when(span, spans[-1])}" for span in bad)
    if spans[-1] in bad:
        return Finding(question, "Yes", "bad", f"{told.capitalize()}. What to do stands below.")
    return Finding(question, "For a while", "fair", f"{told.capitalize()}; it recovered.")


def _when(span: Span, last: Span) -> str:
    """Seen at the looks from start (not included) to stop."""
    if span != last:
        return f"between updates {span.start:,} and {span.stop:,}"
    return f"from update {span.start:,} on" if span.start else "from the first look on"


def pace(run: Run) -> Finding:
    question, times = "What set its pace?", run.times
    if times is None:
        return Finding(question, "Not known", "open", "Too few rows to say where the time goes.")
    workers = run.asked("data.workers")
    if times.waiting >= BUSY_WAITING:
        now = f" ({workers} now)" if isinstance(workers, int) else ""
        todo = f"Raise data.workers{now}, or make small copies that decode fast: `python -m data_prep transcode`."
        much = times.waiting >= MOSTLY_WAITING
        said = f"{times.waiting:.0%} of the time it waited for data. {todo}"
        return Finding(question, "Data" if much else "Partly data", "bad" if much else "fair", f"{said}{_drift(run)}")
    if times.looking > times.computing:
        said = f"{times.looking:.0%} of the time went into looks and checkpoints: raise health.every and checkpoint.every."
        return Finding(question, "Looks and checkpoints", "fair", f"{said}{_drift(run)}")
    said = f"Data kept up: {times.waiting:.0%} of the time it waited. Faster only by more or faster devices, or a smaller model"
    if run.asked("train.precision") == "fp32":
        said += ", train.precision=auto where it computes in bf16"
    return Finding(question, "Computing", "good", f"{said}.{_drift(run)}")


def _drift(run: Run) -> str:
    """Whether it became slower; quarters by rows."""
    speeds = [float(row["clips_per_s"]) for row in run.metrics[1:] if row.get("clips_per_s")]
    quarter = len(speeds) // 4
    if quarter < 5:
        return ""
    first, last = statistics.median(speeds[:quarter]), statistics.median(speeds[-quarter:])
    if last >= SLOWER * first:
        return ""
    return f" It became slower, from {first:.3g} to {last:.3g} clips/s: something else used the machine, or it ran hot."
