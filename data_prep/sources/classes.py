"""One folder per class, as in Kinetics and UCF-101. The first folder below the root is the label."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from data_prep.sources import folder
from data_prep.sources.item import Item
from data_prep.sources.skipped import SkippedFiles


def find(root: Path, skipped: SkippedFiles) -> Iterator[Item]:
    for item in folder.find(root, skipped):
        below = Path(item.path).relative_to(root).parts
        is_frame_folder = Path(item.path).is_dir()
        labelled = len(below) > 1 or (len(below) == 1 and is_frame_folder)
        yield dataclasses.replace(item, label=below[0] if labelled else None)
