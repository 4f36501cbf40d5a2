"""Training of behaviour cloning and inverse dynamics by `worldmodel.planning.fit_goal_head`, with a progress bar.

Both map the latents of the last frames and that of a goal to the next actions; goals are later states of the same episode.
Inverse dynamics is told the number of steps that are left as well. They see as many frames as the model plans with.
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
    """A head, and how it was trained."""

    head: GoalHead
    training: HeadTraining

    @property
    def context(self) -> int:
        """Frames that it sees."""
        return self.training["context_frames"]

    @property
    def told_steps(self) -> int | None:
        """Planned steps that it is told where those to the goal are not known."""
        return self.training["told_steps"]


def fit_head(data: HeadData, told_steps: bool, context: int = 1, what: str = "head") -> TrainedHead:
    """Train a head with seed 0. context: frames that it sees. what: name for the progress bar."""
    config = GoalHeadConfig(told_steps=told_steps, max_steps=UPDATES)
    with bar(f"train {what}, at most", UPDATES) as progress:
        fit = fit_goal_head(data.trajectories, config, on_step=progress.step, context=context)
    about = HeadTraining(
        windows=fit.windows,
        episodes=fit.episodes,
        windows_held_out=fit.windows_held_out,
        episodes_held_out=fit.episodes_held_out,
        fraction=data.fraction,
        updates=fit.steps,
        held_out_error=fit.held_out_error,
        context_frames=fit.context,
        told_steps=fit.told_steps,
    )
    return TrainedHead(fit.head, about)
