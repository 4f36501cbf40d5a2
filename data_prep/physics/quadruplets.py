"""Matched films of a property: two lawful scenes, and the two impossible films cut from them.

Possible are (a, u) and (b, v); impossible are (a, v) and (b, u). Where the deciding things are out of sight for a while, a
and b look exactly alike then, and the films are cut there: every frame then stands in one possible and one impossible
film, so nothing that looks at frames one by one can tell them apart. That they do look exactly alike is the test of
whether a draw is valid. In plain sight the impossible films are lawful stages on which actors do what they would have
done on the other stage; those are marked unspliced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.base_scene import Stage, draw_stage
from data_prep.physics.keyed_random import Dice
from data_prep.physics.rendering.clip import Take, cut, shoot
from data_prep.physics.scenes import Format, Scene
from data_prep.physics.world import Track, simulate

CopyClass = Literal["easy", "neutral", "hard"]
Visibility = Literal["occluded", "visible"]
MIN_HIDDEN_FRAMES = 3
MIN_WIDTH_PX_AT_64 = 10.0
COPY_BOUND = 0.2
SAME_PLACE_M = 1e-6
ATTEMPTS = 60


class Invalid(Exception):  # noqa: N818 - not an error: the next draw is tried
    """A draw that is not what it should be; its words say why."""


@dataclass(frozen=True)
class Pair:
    """Two lawful scenes that share all but what decides. `cut_s`: when, in plain sight, the impossible happens; None is
    when the two first part."""

    a: Scene
    b: Scene
    magnitude: float
    cut_s: float | None = None


@dataclass(frozen=True)
class Template:
    """One way to test a property: a draw of a pair, and what copying the last frame seen should be worth there."""

    name: str
    draw: Callable[[Stage], Pair]
    copy_class: CopyClass
    visibility: Visibility = "occluded"


@dataclass(frozen=True)
class Property:
    """A law, and the templates that test it. Occluded templates are taken in turn, so that as many are easy as hard."""

    name: str
    templates: tuple[Template, ...]

    def of(self, visibility: Visibility) -> tuple[Template, ...]:
        return tuple(template for template in self.templates if template.visibility == visibility)


@dataclass(frozen=True)
class Quadruplet:
    """Four films of one pair; frames are half-open ranges, None where there is no such event."""

    property: str
    template: str
    visibility: Visibility
    level: int
    copy_class: CopyClass
    magnitude: float
    films: dict[tuple[str, str], Take]  # by (context, outcome)
    splice: int | None
    occlusion: tuple[int, int] | None
    violation: int
    reveal: int


def draw_quadruplet(
    property_: Property, template: Template, film: Format, level: int, *key: object, unseen: bool = False
) -> Quadruplet:
    """The first valid draw under this key. Attempts are part of the key, so the outcome depends on nothing else."""
    reasons: list[str] = []
    for attempt in range(ATTEMPTS):
        dice = Dice(*key, attempt)
        try:
            pair = template.draw(draw_stage(dice, film, level, unseen=unseen))
            return _film(property_, template, pair, film, level, swap=dice.chance(0.5))
        except Invalid as why:
            reasons.append(str(why))
    words = "; ".join(sorted(set(reasons)))
    raise RuntimeError(
        f"{property_.name}/{template.name}: no valid draw in {ATTEMPTS} attempts ({words}) for films of {film.frames} frames "
        f"at {film.fps:g} fps; ask for more frames"
    )


def _film(property_: Property, template: Template, pair: Pair, film: Format, level: int, *, swap: bool) -> Quadruplet:
    a, b = (pair.b, pair.a) if swap else (pair.a, pair.b)
    track_a, track_b = simulate(a, film), simulate(b, film)
    take_a, take_b = shoot(a, film, track_a), shoot(b, film, track_b)
    for take in (take_a, take_b):
        require_readable(take, film)
    if template.visibility == "occluded":
        start, stop = hidden_stretch(take_a, take_b)
        frame = splice_frame(take_a, take_b, start, stop)
        impossible = cut(take_a, take_b, frame), cut(take_b, take_a, frame)
        measured = copy_class(take_a.frames, take_b.frames, start - 1, stop)
        if measured != template.copy_class:
            raise Invalid(f"copying is {measured}, not {template.copy_class}")
        splice, occlusion, violation, reveal = frame, (start, stop), frame, stop
    else:
        frame = _parting(track_a, track_b, a) if pair.cut_s is None else round(pair.cut_s * film.fps)
        if not 3 <= frame <= film.frames - 3:
            raise Invalid("the two part too near an end of the film")
        impossible = (
            cut(take_a, _play(a, b, track_b, film, frame), frame),
            cut(take_b, _play(b, a, track_a, film, frame), frame),
        )
        measured = copy_class(take_a.frames, take_b.frames, frame - 1, frame)
        splice, occlusion, violation = None, None, frame
        reveal = _first_difference(impossible[0].frames, take_a.frames, frame)
    return Quadruplet(
        property=property_.name,
        template=template.name,
        visibility=template.visibility,
        level=level,
        copy_class=measured,
        magnitude=pair.magnitude,
        films={("a", "u"): take_a, ("b", "v"): take_b, ("a", "v"): impossible[0], ("b", "u"): impossible[1]},
        splice=splice,
        occlusion=occlusion,
        violation=violation,
        reveal=reveal,
    )


def hidden_stretch(one: Take, other: Take) -> tuple[int, int]:
    """The longest run of frames in which two takes are the same pixel for pixel, with differences before and after it."""
    same = np.array([np.array_equal(x, y) for x, y in zip(one.frames, other.frames, strict=True)])
    differ = np.nonzero(~same)[0]
    if len(differ) < 2:
        raise Invalid("the two lawful films never differ before or after")
    gaps = np.diff(differ) - 1
    longest = int(gaps.argmax())
    if gaps[longest] < MIN_HIDDEN_FRAMES:
        raise Invalid("hidden for too short a time")
    return int(differ[longest]) + 1, int(differ[longest + 1])


def splice_frame(one: Take, other: Take, start: int, stop: int) -> int:
    """The frame nearest the middle of a hidden stretch at which whatever differs between the two takes shows no pixel."""
    middle = (start + stop) // 2
    for frame in sorted(range(start + 1, stop), key=lambda frame: (abs(frame - middle), frame)):
        if not shown_differences(one, other, frame):
            return frame
    raise Invalid(f"{' and '.join(shown_differences(one, other, middle))} would change in plain sight")


def shown_differences(one: Take, other: Take, frame: int) -> list[str]:
    """Names of the objects that differ between two takes at a cut and can be seen just before it or at it."""
    shown = []
    for take, rival in ((one, other), (other, one)):
        for index, name in enumerate(take.names):
            if name in rival.names:
                twin = rival.names.index(name)
                apart = np.abs(take.position_m[frame, index] - rival.position_m[frame, twin]).max()
                if apart < SAME_PLACE_M and np.array_equal(take.colour_rgb[index], rival.colour_rgb[twin]):
                    continue
            if take.visible_px[frame - 1 : frame + 1, index].any():
                shown.append(name)
    return shown


def require_readable(take: Take, film: Format) -> None:
    """Every object seen whole is wide enough at its widest to be made out."""
    whole = take.visible_px >= take.unoccluded_px
    for index, name in enumerate(take.names):
        seen = (take.visible_px[:, index] > 0) & whole[:, index]
        broadest = take.half_size_m[index].max() / take.half_size_m[index, 0]  # a thin wall shows its height
        if seen.any() and take.width_px[seen, index].max() * broadest * 64 / film.size_px < MIN_WIDTH_PX_AT_64:
            raise Invalid(f"{name} is too small to be made out")


def copy_class(one: NDArray[np.uint8], other: NDArray[np.uint8], before: int, after: int) -> CopyClass:
    """What repeating the last difference is worth: the cosine between the differences at two frames of two films."""
    gone = one[before].astype(np.float64) - other[before]
    come = one[after].astype(np.float64) - other[after]
    scale = np.sqrt((gone**2).sum() * (come**2).sum())
    cosine = (gone * come).sum() / scale if scale else 0.0
    return "easy" if cosine > COPY_BOUND else "hard" if cosine < -COPY_BOUND else "neutral"


def _play(stage: Scene, actors: Scene, track: Track, film: Format, start: int) -> Take:
    """The stage of one scene with the actors of another doing what they did there."""
    scene = stage.recast(actors)
    return shoot(scene, film, track.reordered(scene), start=start)


def _parting(track_a: Track, track_b: Track, a: Scene) -> int:
    """The first frame at which something free that is in both scenes is elsewhere in one than in the other."""
    for name in (thing.name for thing in a.things if thing.motion == "free"):
        if name in track_b.names:
            apart = track_a.position_m[:, track_a.names.index(name)] - track_b.position_m[:, track_b.names.index(name)]
            far = np.nonzero(np.abs(apart).max(1) > 0.01)[0]
            if len(far):
                return int(far[0])
    raise Invalid("nothing happens differently in the two scenes")


def _first_difference(one: NDArray[np.uint8], other: NDArray[np.uint8], start: int) -> int:
    for frame in range(start, len(one)):
        if not np.array_equal(one[frame], other[frame]):
            return frame
    raise Invalid("the impossible film looks like the possible one")
