"""One sentence on the data of behaviour cloning and inverse dynamics, for the tables and the page."""

from __future__ import annotations

from collections.abc import Sequence

from eval.planning.heads.data import MAX_FRAMES, MAX_NUMBERS
from eval.planning.results import HeadsOfModel

PROPOSALS = "proposals"  # name of the head whose plans are proposed to searches


def heads_note(found: Sequence[HeadsOfModel]) -> str:
    """The data of the first model; those of other models are in plan.json."""
    heads = found[0]["heads"]
    about = next(iter(heads.values()))
    are_baselines = any(name != PROPOSALS for name in heads)
    who = "Behaviour cloning and inverse dynamics were" if are_baselines else "Inverse dynamics, whose plans are proposed, was"
    text = (
        f"{who} trained on {about['windows']:,} windows of {about['episodes']:,} episodes of train, with early stopping on "
        f"{about['windows_held_out']:,} windows of {about['episodes_held_out']:,} more"
    )
    if about["fraction"] == 1:
        text += ": all windows of train"
    else:
        text += (
            f": {100 * about['fraction']:.1f} % of the windows of train, chosen at random, because at most {MAX_FRAMES:,} "
            f"frames and {MAX_NUMBERS:,} features are kept in memory"
        )
    frames = about["context_frames"]
    seen = f"{frames} frame{'s' if frames != 1 else ''}"
    if not are_baselines:
        return f"{text}. It sees {seen}"
    also = "; that whose plans are proposed sees 1 frame" if PROPOSALS in heads else ""
    return f"{text}. They see {seen}, as the model does when it plans{also}"
