"""Templates -> one HTML file. What comes from disk is escaped; style and script stand in the page, so that it opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from worldmodel.render.ink import atomically
from worldmodel.render.pages import templates

HERE = Path(__file__).parent / "templates"


def render(path: Path, template: str, **content: Any) -> Path:
    """Fill `template` and save it at `path`, whole or not at all."""
    environment = templates("eval.report")
    environment.filters.update(
        percent=percent, p_value=p_value, seconds=seconds, interval=interval, scorer=scorer_words, code=code
    )
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("report.css", "player.js"))
    text = environment.get_template(template).render(style=style, script=script, **content)
    atomically(path, lambda file: file.write(text.encode()))
    return path


def percent(share: float | None, digits: int = 0) -> str:
    """0.872 -> "87". Nothing but all pairs is 100, nothing but none is 0."""
    if share is None:
        return "–"
    if 0 < share < 1:
        step = 10.0**-digits
        return f"{min(max(100 * share, step), 100 - step):.{digits}f}"
    return f"{100 * share:.0f}"


def interval(score: dict[str, Any] | None) -> str:
    """ "81–92", or nothing where a number has no interval."""
    if not score or score.get("low") is None or score.get("high") is None:
        return ""
    return f"{percent(score['low'])}–{percent(score['high'])}"


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "<\u2009.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def seconds(time_s: float | None) -> str:
    return "–" if time_s is None else f"{time_s:.2f}\u2009s"


def scorer_words(name: str) -> str:
    """A scorer as the page calls it."""
    return {
        "whitened": "whitened surprise",
        "distance": "the model’s own distance",
        "adjusted": "adjusted surprise",
        "diagonal": "each feature by its own variance",
    }.get(name, name)


def code(text: str) -> Markup:
    """What stands between backticks as <code>, the rest escaped."""
    parts = str(text).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(it) if place % 2 else escape(it) for place, it in enumerate(parts))
