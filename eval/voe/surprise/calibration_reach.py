"""How far ahead forecast errors can be calibrated: as far as at least two possible videos are long enough for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.errors import EvalError
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Film, frames_shown

NOT_WHITENED = "No whitened surprise"
FEWEST = 2  # videos, for a covariance between videos


@dataclass(frozen=True)
class Calibration:
    """What the errors are calibrated on, and the plan that it allows."""

    plan: WindowPlan
    films: Sequence[Film]  # possible videos; none where nothing can be calibrated
    notes: tuple[str, ...] = ()  # for the reader: what had to change, and why


def calibration(plan: WindowPlan, films: Sequence[Film], manifest: str | None, horizon: str | None) -> Calibration:
    """Lower the plan's horizon to what the possible videos of a manifest reach.

    Without two usable videos nothing is calibrated and the horizon stays. Raises EvalError where `horizon`, the user's
    own wish, is beyond what they reach.
    """
    if manifest is None:
        return Calibration(plan, ())
    lengths = [frames_shown(film, plan.fps) for film in films]
    reached = reachable_steps(plan, lengths)
    step_s = plan.tubelet_size / plan.fps
    if reached == 0:
        needed = min(plan.contexts) + plan.tubelet_size
        found = f"{len(films)} possible video{'' if len(films) == 1 else 's'}"
        longest = f", the longest of {max(lengths)} frames" if lengths else ""
        return Calibration(
            plan,
            (),
            (
                f"{NOT_WHITENED}: {manifest} has {found} to calibrate errors on{longest}; at least {FEWEST} of "
                f"{needed} frames at {plan.fps:g} frames/s are needed. Give others with --lawful MANIFEST.",
            ),
        )
    if reached >= plan.horizon:
        return Calibration(plan, films)
    if horizon is not None:
        raise EvalError(
            f"--horizon {horizon} is {plan.horizon} latent steps, but the possible videos of {manifest}, on which errors are "
            f"calibrated, reach {reached}; give --horizon {reached * plan.tubelet_size} (frames), or longer videos with "
            "--lawful MANIFEST"
        )
    lowered, whole = (f"{steps * step_s:.3g} s ({steps} latent steps)" for steps in (reached, plan.horizon))
    note = (
        f"Forecasts are judged up to {lowered} instead of {whole}: the possible videos of {manifest}, on which errors are "
        "calibrated, are too short for more. Longer ones can be given with --lawful MANIFEST."
    )
    return Calibration(replace(plan, horizon=reached), films, (note,))


def reachable_steps(plan: WindowPlan, lengths: Sequence[int]) -> int:
    """Latent steps that windows of at least FEWEST videos, of these lengths in frames, reach; 0 where fewer have a window."""
    steps = {length: max((window.steps for window in plan.of_lawful(length)), default=0) for length in set(lengths)}
    reached = sorted((steps[length] for length in lengths), reverse=True)
    return reached[FEWEST - 1] if len(reached) >= FEWEST else 0
