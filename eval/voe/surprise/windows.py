"""Where a film is cut: what is seen, and how much is forecast. Frames count at the rate the model sees films at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eval.voe.trials import Range, Trial, TrialError
from worldmodel.models.world_model import WorldModel

Kind = Literal["locked", "free"]


@dataclass(frozen=True)
class Window:
    """Frames [start, start + context) are seen, and `steps` latent steps after them are forecast."""

    kind: Kind
    start: int
    context: int
    steps: int

    @property
    def cut(self) -> int:
        """The first frame that is not seen."""
        return self.start + self.context


@dataclass(frozen=True)
class WindowPlan:
    """How films are cut; the same for all films of an evaluation, and fixed before it."""

    fps: float
    frames: int  # a free window; a shorter film is one window
    stride: int  # frames from one free window to the next
    contexts: tuple[int, ...]  # frames seen of a free window; each is tried
    horizon: int  # latent steps that are forecast at most
    tubelet_size: int
    max_context: int  # frames a model can see; locked windows show it as many as there are
    max_span: int | None = None  # frames that what is seen and what is forecast may fill together, where they share a window

    @property
    def reach(self) -> int:
        """Latent steps that windows which see as much as they can are forecast: where both share a window, half of it."""
        most = self.horizon if self.max_span is None else max(1, self.max_span // self.tubelet_size // 2)
        return min(self.horizon, most)

    def check(self) -> list[str]:
        """What makes this plan impossible; one line each."""
        f = self.tubelet_size
        problems = [
            f"a context of {c} frames is no multiple of {f} (frames a latent)" for c in self.contexts if c % f or c <= 0
        ]
        problems += [
            f"a context of {c} frames is longer than the {self.max_context} the model can see"
            for c in self.contexts
            if c > self.max_context
        ]
        if self.frames < min(self.contexts, default=0) + f:
            problems.append(f"a window of {self.frames} frames leaves nothing to forecast after its shortest context")
        if self.stride < 1 or self.horizon < 1 or not self.contexts:
            problems.append("stride, horizon and the number of contexts must be at least 1")
        return problems

    def free(self, length: int) -> list[Window]:
        """Windows that slide over a film of so many frames, each at every context length that leaves something to forecast."""
        frames = min(self.frames, length)
        return [
            Window("free", start, context, steps)
            for start in range(0, length - frames + 1, self.stride)
            for context in self.contexts
            if (steps := min(self.horizon, (min(frames, self.max_span or frames) - context) // self.tubelet_size)) > 0
        ]

    def ending_at(self, cut: int, length: int, kind: Kind = "locked") -> Window | None:
        """The window that sees as much as the model can before `cut`; None where nothing is left to see or forecast."""
        f, span = self.tubelet_size, self.max_span
        steps = min(self.reach, (length - cut) // f)
        context = min(cut, self.max_context, self.max_context if span is None else span - steps * f) // f * f
        return Window(kind, cut - context, context, steps) if context and steps > 0 else None

    def locked(self, locked: Range | None, film_fps: float, length: int) -> list[Window]:
        """Windows whose context ends in full occlusion, for a range of cuts at the film's own rate."""
        if locked is None:
            return []
        first_hidden, last_hidden = locked[0] - 2, locked[1] - 2  # the last two frames seen lie within them

        def shown(frame: int) -> int:
            return int(frame / self.fps * film_fps + 1e-6)

        cuts = [c for c in range(2, length) if first_hidden <= shown(c - 2) and shown(c - 1) <= last_hidden]
        return [window for cut in cuts if (window := self.ending_at(cut, length)) is not None]

    def of(self, trial: Trial, film_fps: float, length: int) -> list[Window]:
        return [*self.locked(trial.locked, film_fps, length), *self.free(length)]

    def of_lawful(self, length: int) -> list[Window]:
        """Windows of a film to learn usual errors from: long contexts ending everywhere, and the free ones."""
        cuts = range(min(self.contexts), length, self.stride)
        growing = [window for cut in cuts if (window := self.ending_at(cut, length)) is not None]
        return [*growing, *self.free(length)]


def widest(model: WorldModel) -> WindowPlan:
    """Windows of all that a model can see, forecast as far as it reaches."""
    f = model.tubelet_size
    return WindowPlan(model.fps, model.max_context, 1, (f,), model.max_steps, f, model.max_context, model.max_span)


def frames_of(text: str, fps: float) -> int:
    """ "8" is 8 frames, "0.5s" as many as half a second has. Raises TrialError."""
    try:
        return round(float(text[:-1]) * fps) if text.endswith("s") else int(text)
    except (ValueError, OverflowError):  # NaN and infinities, too
        raise TrialError(f"{text!r} is neither a number of frames (8) nor of seconds (0.5s)") from None


def default_contexts(fps: float, frames: int, f: int, max_context: int) -> Sequence[int]:
    """A sixth to two thirds of a window in four steps, whole latents each."""
    wanted = (frames * share // 24 // f * f for share in (4, 8, 12, 16))
    return sorted({max(f, min(context, max_context // f * f)) for context in wanted})
