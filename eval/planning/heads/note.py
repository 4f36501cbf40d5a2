"""One sentence on the data of behaviour cloning and inverse dynamics, for the tables and the page."""

from __future__ import annotations

from collections.abc import Sequence

from eval.planning.heads.data import MAX_FRAMES, MAX_NUMBERS
from eval.planning.results import HeadsOfModel


def heads_note(found: Sequence[HeadsOfModel]) -> str:
    """The data of the first model; those of other models are in plan.json."""
    about = next(iter(found[0]["heads"].values()))
    text = (
        f"Behaviour cloning and inverse dynamics were trained on {about['windows']:,} windows of {about['episodes']:,} "
        f"episodes of train, with early stopping on {about['windows_held_out']:,} windows of "
        f"{about['episodes_held_out']:,} more"
    )
    if about["fraction"] == 1:
        text += ": all windows of train"
    else:
        text += (
            f": {100 * about['fraction']:.1f} % of the windows of train, chosen at random, because at most {MAX_FRAMES:,} "
            f"frames and {MAX_NUMBERS:,} features are kept in memory"
        )
    frames = about["context_frames"]
    return f"{text}. They see {frames} frame{'s' if frames != 1 else ''}, as the model does when it plans"
