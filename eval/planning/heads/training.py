"""Training of behaviour cloning and inverse dynamics by `worldmodel.planning.fit_goal_head`, with a progress bar.

Both map the latent of now and that of a goal to the next actions; goals are later states of the same
episode. Inverse dynamics is told the number of steps that are left as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.progress import bar
from eval.planning.heads.data import HeadData
from eval.planning.results import HeadTraining
from worldmodel.planning import GoalHead, GoalHeadConfig, fit_goal_head

UPDATES = 8000  # at most


@dataclass(frozen=True)
class TrainedHead:
    """A network that gives the next actions, and what the results tell of its training."""

    head: GoalHead
    training: HeadTraining


def fit_head(data: HeadData, told_steps: bool, what: str = "head") -> TrainedHead:
    """Train a head with seed 0. what: name for the progress bar."""
    config = GoalHeadConfig(told_steps=told_steps, max_steps=UPDATES)
    with bar(f"train {what}, at most", UPDATES) as progress:
        fit = fit_goal_head(data.trajectories, config, on_step=progress.step)
    about = HeadTraining(
        windows=fit.windows,
        episodes=fit.episodes,
        windows_held_out=fit.windows_held_out,
        episodes_held_out=fit.episodes_held_out,
        fraction=data.fraction,
        updates=fit.steps,
        held_out_error=fit.held_out_error,
    )
    return TrainedHead(fit.head, about)
