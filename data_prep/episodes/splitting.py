"""Splits of recorded episodes: by their start, and by episode where starts do not tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from worldmodel.manifest import SPLITS, Clip


def fill_empty_splits(clips: Sequence[Clip], val: float, test: float) -> tuple[list[Clip], list[str]]:
    """Split by episode, if the split by start leaves a split without clips. Returns the clips and the splits that were empty.

    All episodes of a simulator may start in the same state, and then all have one split; of a few episodes
    none may fall into val or test. The episodes in the order of their clip_id are then divided by the
    fractions, at least one for each split whose fraction is above 0. Where there are fewer episodes than
    splits, train comes first, then val.
    """
    ids = sorted({clip.clip_id for clip in clips})
    fractions = {"train": 1.0 - val - test, "val": val, "test": test}
    wanted = [split for split in SPLITS if fractions.get(split, 0) > 0][: len(ids)]
    empty = [split for split in wanted if all(clip.split != split for clip in clips)]
    if not empty:
        return list(clips), []
    counts = {split: max(1, round(fractions[split] * len(ids))) for split in wanted if split != "train"}
    while sum(counts.values()) >= len(ids):  # rounding must not leave train empty
        largest = max(counts, key=lambda split: counts[split])
        counts[largest] -= 1
    names = [split for split, count in counts.items() for _ in range(count)]
    split_of_id = dict(zip(ids, names + ["train"] * (len(ids) - len(names)), strict=True))
    return [replace(clip, split=split_of_id[clip.clip_id]) for clip in clips], empty
