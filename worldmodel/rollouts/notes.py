"""Notes on the gallery page: how to read it, and which panels are missing and why."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from worldmodel.models.decoder import Decoder
from worldmodel.rollouts.nearest import TrainingFrames

ActionsUsed = Literal["none", "recorded", "mean"]

_RECORDED = (
    "Actions: the prediction gets the recorded ones. Beside it is a second prediction, which gets those of another window from "
    "the end of the context on; if both are alike, the model does not use the actions. A panel of actions shows the mean of "
    "those that led to each frame: an arrow where an action has two numbers (the second points down), else bars."
)
_MEAN = (
    "No actions are known for these videos, so the model is given the mean action of the training data, and the predictions "
    "say little about a video in which something acts. Held-out windows of the run have their recorded actions."
)


def gallery_notes(
    decoder: Decoder | None,
    train: TrainingFrames | None,
    samples: int,
    residuals: Tensor | None,
    missing: str = "",
    stored: int = 0,
    actions: ActionsUsed = "none",
) -> list[str]:
    """Return the notes, one line each.

    missing: why the run's data are not used. stored: how many held-out windows of the run folder are used instead.
    actions: what the model is given; "none" if it takes none.
    """
    notes = ["Latents: three principal components of the ground truth; the axes are the same at all times and for predictions."]
    if decoder is None:
        substitute = "" if train is None else "; the nearest training frame is shown instead"
        notes.append(f"No decoder: predictions cannot be drawn as frames{substitute}.")
    if train is None:
        notes.append(f"No nearest training frame: {missing}. If the run's data were moved, name the manifest with --data.")
    else:
        notes.append(
            f"Nearest training frame: by the model's own distance between latents, among {len(train.latents)} latent steps of "
            f"{train.windows} of {train.total_windows} training windows."
        )
    if stored:
        notes.append(f"The held-out windows are the {stored} that the run folder stores, since the run's data are missing.")
    if actions == "recorded":
        notes.append(_RECORDED)
    elif actions == "mean":
        notes.append(_MEAN)
    if samples > 1 and decoder is not None and residuals is not None:
        notes.append(
            "Sampled continuations: the model itself is deterministic. At each step a random error is added and fed back. "
            f"Errors are normal with the covariance of {len(residuals)} one-step errors of the model on held-out windows."
        )
    elif samples > 1:
        if decoder is None:
            reason = "there is no decoder to draw them"
        elif train is None and not stored:
            reason = "there are no held-out windows from which the model's errors could be estimated"
        else:
            reason = "latents of this model family depend on the whole window, so predictions cannot be fed back with an error"
        notes.append(f"No sampled continuations: {reason}.")
    return notes
