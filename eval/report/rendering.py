"""Fill a template to make one HTML file that opens offline. Style and script are inside; text from disk is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from worldmodel.render.pages import templates
from worldmodel.render.style import save_atomically

HERE = Path(__file__).parent / "templates"
SCORER_LABELS = {
    "whitened": "whitened surprise",
    "adjusted": "adjusted surprise",
    "diagonal": "diagonal whitening",
}


def render(path: Path, template: str, **content: Any) -> Path:
    """Fill `template` and save it at `path` atomically."""
    environment = templates("eval.report")
    environment.filters.update(
        percent=percent, p_value=p_value, seconds=seconds, interval=interval, scorer=scorer_label, code=code
    )
    style, script = (Markup((HERE / name).read_text(encoding="utf-8")) for name in ("report.css", "player.js"))
    text = environment.get_template(template).render(style=style, script=script, **content)
    save_atomically(path, lambda file: file.write(text.encode()))
    return path


def percent(fraction: float | None, digits: int = 0) -> str:
    """0.872 -> "87". Only 1 is shown as 100, and only 0 as 0."""
    if fraction is None:
        return "–"
    if 0 < fraction < 1:
        step = 10.0**-digits
        return f"{min(max(100 * fraction, step), 100 - step):.{digits}f}"
    return f"{100 * fraction:.0f}"


def interval(score: dict[str, Any] | None) -> str:
    """ "81–92"; empty if a number has no interval."""
    if not score or score.get("low") is None or score.get("high") is None:
        return ""
    return f"{percent(score['low'])}–{percent(score['high'])}"


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "<\u2009.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def seconds(time_s: float | None) -> str:
    return "–" if time_s is None else f"{time_s:.2f}\u2009s"


def scorer_label(name: str) -> str:
    """The name of a scorer on a page."""
    return SCORER_LABELS.get(name, name)


def code(text: str) -> Markup:
    """Text between backticks becomes <code>; the rest is escaped."""
    parts = str(text).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(it) if index % 2 else escape(it) for index, it in enumerate(parts))
