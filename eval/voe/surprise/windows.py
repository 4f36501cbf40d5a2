"""Windows of a video: which frames are the context, and how many latent steps are forecast.

Frames count at the rate at which the model sees videos.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from eval.errors import EvalError
from eval.voe.suites.suite import Suite
from eval.voe.trials import Range, Trial, TrialError
from worldmodel.models.world_model import WorldModel
from worldmodel.video.selection import frame_count_at

WindowKind = Literal["locked", "sliding"]
BASELINE_FPS = 12.0  # of a baseline without a model, where the suite publishes no rate


@dataclass(frozen=True)
class Window:
    """A context of frames [start, start + context), and the `steps` latent steps after it."""

    kind: WindowKind
    start: int
    context: int
    steps: int

    @property
    def cut(self) -> int:
        """The first frame after the context."""
        return self.start + self.context


@dataclass(frozen=True)
class WindowPlan:
    """How videos are cut into windows.

    It is the same for all videos of an evaluation and fixed in advance.
    """

    fps: float
    frames: int  # of a sliding window; a shorter video is one window
    stride: int  # frames from one sliding window to the next
    contexts: tuple[int, ...]  # context lengths of sliding windows, in frames; each is evaluated
    horizon: int  # the most latent steps that are forecast
    tubelet_size: int
    max_context: int  # frames that the model can see; a locked window has as many of them as the video allows
    max_span: int | None = None  # frames of context and forecast together, if the model sees both in one window

    @property
    def reach(self) -> int:
        """Latent steps that are forecast from the longest context.

        If the model sees both in one window, each gets half of it.
        """
        most = self.horizon if self.max_span is None else max(1, self.max_span // self.tubelet_size // 2)
        return min(self.horizon, most)

    def problems(self) -> list[str]:
        """Why the model cannot follow this plan, one line per reason."""
        f = self.tubelet_size
        problems = [
            f"a context of {c} frames is not a multiple of {f} (frames per latent)" for c in self.contexts if c % f or c <= 0
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

    def sliding(self, length: int) -> list[Window]:
        """Sliding windows over `length` frames, at each context length that leaves a step."""
        frames = min(self.frames, length)
        return [
            Window("sliding", start, context, steps)
            for start in range(0, length - frames + 1, self.stride)
            for context in self.contexts
            if (steps := min(self.horizon, (min(frames, self.max_span or frames) - context) // self.tubelet_size)) > 0
        ]

    def ending_at(self, cut: int, length: int, kind: WindowKind = "locked") -> Window | None:
        """The window with the longest context before `cut`; None without context or forecast."""
        f, span = self.tubelet_size, self.max_span
        steps = min(self.reach, (length - cut) // f)
        context = min(cut, self.max_context, self.max_context if span is None else span - steps * f) // f * f
        return Window(kind, cut - context, context, steps) if context and steps > 0 else None

    def locked(self, locked_cuts: Range | None, video_fps: float, length: int) -> list[Window]:
        """Windows whose context ends in full occlusion, for cuts at the video's own rate.

        At least two frames are hidden, and all frames of the last latent of the context, so that the model
        without memory sees nothing that was hidden later.
        """
        if locked_cuts is None:
            return []
        first_hidden, last_hidden = locked_cuts[0] - 2, locked_cuts[1] - 2
        end = max(2, self.tubelet_size)  # the last frames of the context, which lie within the hidden ones

        def own_frame(frame: int) -> int:
            return int(frame / self.fps * video_fps + 1e-6)

        cuts = [c for c in range(end, length) if first_hidden <= own_frame(c - end) and own_frame(c - 1) <= last_hidden]
        return [window for cut in cuts if (window := self.ending_at(cut, length)) is not None]

    def for_trial(self, trial: Trial, video_fps: float, length: int) -> list[Window]:
        """All windows of a trial's video of `length` frames."""
        return [*self.locked(trial.locked_cuts, video_fps, length), *self.sliding(length)]

    def for_calibration(self, length: int) -> list[Window]:
        """Windows of a calibration video: the longest contexts at every stride, and sliding ones."""
        cuts = range(min(self.contexts), length, self.stride)
        growing = [window for cut in cuts if (window := self.ending_at(cut, length)) is not None]
        return [*growing, *self.sliding(length)]


@dataclass(frozen=True)
class WindowOptions:
    """Options of the user, in frames (16) or seconds (1.3s).

    None: given by the suite's protocol, else by the model.
    """

    fps: float | None = None
    window: str | None = None
    stride: str | None = None
    contexts: str | None = None  # separated by commas
    horizon: str | None = None


def plan_windows(options: WindowOptions, model: WorldModel | None, suite: Suite) -> WindowPlan:
    """The plan by the options, else by the suite's published protocol, else by the model.

    The protocol is followed as far as the model allows.

    model: None for a pixel baseline. Raises EvalError where the model cannot follow the plan or no
    video has a window.
    """
    published = suite.protocol
    f = model.tubelet_size if model is not None else 1
    most = model.max_context if model is not None else sys.maxsize
    fps = options.fps or (published.fps if published else model.fps if model is not None else BASELINE_FPS)
    reach = model.max_horizon if model is not None else sys.maxsize
    span = model.max_span if model is not None else None
    default_frames = published.window_frames if published else min(16, span or most)
    frames = parse_frames(options.window, fps) if options.window else default_frames
    default_stride = published.stride_frames if published else 2
    stride = parse_frames(options.stride, fps) if options.stride else default_stride
    if options.contexts:
        contexts = [parse_frames(text, fps) for text in options.contexts.split(",")]
    elif published:
        contexts = [context for context in published.contexts if context <= most and context % f == 0]
    else:
        contexts = list(default_contexts(fps, frames, f, most))
    horizon = parse_frames(options.horizon, fps) // f if options.horizon else reach
    plan = WindowPlan(fps, frames, stride, tuple(sorted(set(contexts))), horizon, f, most, span)
    problems = plan.problems()
    if horizon > reach:
        problems.append(f"--horizon {horizon} latent steps is beyond the {reach} this model forecasts directly")
    if problems:
        raise EvalError("; ".join(problems))
    videos = [video for trial in suite.trials for video in trial.videos]
    lengths = [frame_count_at(video.frames, video.fps, fps) for video in videos]
    if lengths and not plan.for_calibration(max(lengths)):
        raise EvalError(
            f"the longest video of {suite.name}:{suite.path} has {max(lengths)} frames at {fps:g} frames/s, and a window needs "
            f"{min(contexts) + f}: {min(contexts)} to see and {f} to forecast; give a shorter --contexts or a higher --fps"
        )
    if options.horizon:
        return plan
    # windows of the longest video limit the horizon
    longest = max((video.frames / video.fps * fps for video in videos), default=frames)
    steps = [window.steps for window in plan.for_calibration(int(longest + 1e-6))]
    return replace(plan, horizon=max(steps, default=1))


def widest_plan(model: WorldModel) -> WindowPlan:
    """Windows of all frames that a model can see, forecast as far as the model reaches."""
    f = model.tubelet_size
    return WindowPlan(model.fps, model.max_context, 1, (f,), model.max_horizon, f, model.max_context, model.max_span)


def parse_frames(text: str, fps: float) -> int:
    """Number of frames: "8" is 8 frames, "0.5s" the frames of half a second. Raises TrialError."""
    try:
        return round(float(text[:-1]) * fps) if text.endswith("s") else int(text)
    except (ValueError, OverflowError):  # OverflowError for infinities
        raise TrialError(f"{text!r} is neither a number of frames (8) nor of seconds (0.5s)") from None


def default_contexts(fps: float, frames: int, f: int, max_context: int) -> Sequence[int]:
    """Four context lengths from a sixth to two thirds of a window, whole latents each."""
    wanted = (frames * part // 24 // f * f for part in (4, 8, 12, 16))
    return sorted({max(f, min(context, max_context // f * f)) for context in wanted})
