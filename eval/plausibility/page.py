"""Scored films -> the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.plausibility.expectations import Expectations
from eval.plausibility.reference_distribution import DISTANCE, Yardstick
from eval.plausibility.results import by_scorer, place_course
from eval.plausibility.sliding_windows import Values, Watched, time_course
from eval.plausibility.video_list import Named
from eval.report import Drawn, FilmCard, Ranked, write_film_page
from eval.report.rendering import percent, scorer_words, seconds
from eval.report.videos import MOST_BYTES, MOST_FPS, MOST_PX, resized
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.video import VideoError, read_frames
from worldmodel.video.square import Square, cut_square

MOST_S = 20.0  # shown of a film, around its most surprising moment
MOST_FILMS = 40  # in a page; the table has all
UNFORECAST = 60  # grey level
COPYING = "copying the last latent (own distance)"
USUAL_WORDS = ("half of lawful moments", "95 % of lawful moments")
WORDS = (
    "Plausibility: the share of lawful films of like length and motion that surprise the model at least as much. "
    "Copy-adjusted: the share of lawful films of like length, whatever their motion, by surprise relative to the error of "
    "repeating what was seen last, so that a film is not plausible merely because nothing moves in it."
)
Scored = tuple[Named, Watched, Mapping[str, Any]]  # with its object of the JSON
Expecting = Callable[[Clip, int, int], Expectations | None]  # of the frames [first, stop) of a clip, at the plan's rate


def write_page(
    path: Path,
    model: str,
    scored: Sequence[Scored],
    failed: Mapping[str, str],
    yardstick: Yardstick,
    square: Square,
    expected: Expecting | None,
    notes: Sequence[str],
    made: str,
) -> Path:
    """One HTML file: all films ranked, the most plausible first; of very many the two ends can be looked at, with what was
    `expected` of them, where that can be drawn."""
    shown = ends(len(scored), MOST_FILMS)
    names = short_names([str(it["film"]) for _, _, it in scored])
    rows = [
        Ranked(
            it["rank"],
            names[place],
            it["plausibility"],
            it["copy_adjusted_plausibility"],
            it["scorers"][it["scorer"]]["surprise"],
            it["scorers"][it["scorer"]]["peak_s"],
            shown.index(place) + 1 if place in shown else None,
        )
        for place, (_, _, it) in enumerate(scored)
    ]
    title = f"How surprising {'is 1 film' if len(scored) == 1 else f'are {len(scored)} films'} to {model}?"
    words, each = scorer_words(yardstick.scorers[0]), MOST_BYTES / max(1, len(shown))
    with bar("page", len(shown)) as progress:

        def cards() -> Iterator[FilmCard]:  # one film in memory at a time
            for place in shown:
                yield _card(names[place], *scored[place], yardstick, square, expected)
                progress.step()

        return write_film_page(path, title, WORDS, cards(), rows, words, failed, notes, made, each)


def ends(count: int, most: int) -> list[int]:
    """Places of the first and the last of a ranking, `most` at most."""
    first = (min(count, most) + 1) // 2
    return [*range(first), *range(count - (min(count, most) - first), count)]


def short_names(names: Sequence[str]) -> list[str]:
    """Without the folder that all have in common."""
    parts = [Path(name).parts for name in names]
    most = min(map(len, parts), default=1) - 1
    common = next((n for n in range(most) if len({part[n] for part in parts}) > 1), most)
    return [str(Path(*part[common:])) for part in parts]


def _card(
    name: str,
    named: Named,
    watched: Watched,
    it: Mapping[str, Any],
    yardstick: Yardstick,
    square: Square,
    expected: Expecting | None,
) -> FilmCard:
    clip, plan, main = named.clip, yardstick.plan, it["scorer"]
    rate, length_s = min(clip.fps, MOST_FPS), clip.frames / clip.fps
    from_s = min(max(0.0, it["scorers"][main]["peak_s"] - MOST_S / 2), max(0.0, length_s - MOST_S))
    count = max(1, round(min(MOST_S, length_s) * rate))
    times = [clip.start_s + min(from_s + index / rate, (clip.frames - 1) / clip.fps) for index in range(count)]
    size = MOST_PX if min(clip.height, clip.width) > MOST_PX else None
    frames: NDArray[np.uint8] | None = None
    with suppress(VideoError, OSError):
        frames = read_frames(clip.path, times_s=times, size=size, member=clip.member, folder_fps=clip.fps, timing=clip.timing)
        frames = cut_square(frames) if square == "crop" else frames  # as the model sees it, so that maps lie over it
    judged = np.flatnonzero(watched.judged)
    moments = judged / plan.fps
    kept = (moments >= from_s - 1e-6) & (moments < from_s + count / rate)
    surprise, copying = by_scorer(watched.surprise), by_scorer(watched.copying)
    values = {scorer_words(scorer): surprise[scorer] for scorer in yardstick.scorers} | {COPYING: copying[DISTANCE]}
    curves = {words: time_course(array, plan, watched.frames)[judged][kept].tolist() for words, array in values.items()}
    maps = {scorer_words(scorer): place_course(watched, scorer) for scorer in yardstick.scorers}
    drawn = None
    if expected is not None and frames is not None:
        drawn = _drawn(expected, clip, plan, from_s + np.arange(count) / rate, from_s, frames.shape[1:3])
    return FilmCard(
        title=name,
        frames=frames,
        fps=rate,
        times_s=(moments[kept] - from_s).tolist(),
        curves=curves,
        maps={words: course[kept] for words, course in maps.items() if course is not None},
        numbers=_numbers(it, from_s, count / rate, length_s),
        levels={scorer_words(s): list(zip(yardstick.usual[s], USUAL_WORDS, strict=True)) for s in yardstick.scorers},
        note="; ".join(it["notes"]),
        drawn=drawn,
        peak_s=it["scorers"][main]["peak_s"] - from_s,
    )


def _drawn(
    expected: Expecting, clip: Clip, plan: WindowPlan, times_s: Values, from_s: float, shape: tuple[int, ...]
) -> Drawn | None:
    """Frame for frame at `times_s` [T] of the clip what was expected, in pictures of the film's shape (height, width); grey
    where nothing was forecast."""
    numbers = np.floor(times_s * plan.fps + 1e-6).astype(int)
    found = expected(clip, int(numbers[0]), int(numbers[-1]) + 1)
    if found is None:
        return None
    side = found.expected.shape[2]
    size = (max(1, round(side * shape[0] / min(shape))), max(1, round(side * shape[1] / min(shape))))
    grey = np.full((side, side, 3), UNFORECAST, np.uint8)
    at = [found.at(number) for number in numbers.tolist()]
    expect, came = (
        resized(np.stack([grey if place is None else drawn[place] for place in at]), size)
        for drawn in (found.expected, found.came)
    )
    moments, seen = found.moments / plan.fps - from_s, found.seen / plan.fps - from_s
    lead_s = moments - seen[:, 1] + 1 / plan.fps  # since the last frame that was seen
    return Drawn(
        expect,
        came,
        seen=list(zip(moments.tolist(), *seen.T.tolist(), strict=True)),
        says=[(moment, f"{lead:.2f} s ahead") for moment, lead in zip(moments.tolist(), lead_s.tolist(), strict=True)],
    )


def _numbers(it: Mapping[str, Any], from_s: float, shown_s: float, length_s: float) -> dict[str, str]:
    found = {
        "plausibility": f"{percent(it['plausibility'])} %",
        "copy-adjusted": f"{percent(it['copy_adjusted_plausibility'])} %",
    }
    for scorer, numbers in it["scorers"].items():
        if scorer != it["scorer"]:
            plausible, adjusted = (percent(numbers[key]) for key in ("plausibility", "copy_adjusted_plausibility"))
            found[f"by {scorer_words(scorer)}"] = f"{plausible} %, copy-adjusted {adjusted} %"
    least = it["scorers"][it["scorer"]]["least_plausible"]
    if it["compared_with"]["stretches_of_it"] > 1:
        span = f"{seconds(least['start_s'])} to {seconds(least['stop_s'])}"
        found["least plausible"] = f"{percent(least['plausibility'])} %, {span}"
    beside = it["compared_with"]
    found["compared with"] = f"{beside['lawful_stretches']} lawful stretches of {beside['lawful_films']} films"
    if shown_s < length_s - 0.5:
        found["shown"] = f"{seconds(from_s)} to {seconds(from_s + shown_s)} of {seconds(length_s)}"
    return found
