"""Trackers beside metrics.jsonl, by name. Their packages are imported when a recipe names them, not before."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from worldmodel.files.atomic import write_text
from worldmodel.config import ConfigError

TrackerName = Literal["tensorboard", "wandb"]


class Tracker(Protocol):
    def log(self, update: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard; what an interrupted run wrote after `start` is hidden."""

    def __init__(self, run: Path, start: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def log(self, update: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, update)

    def close(self) -> None:
        self.writer.close()


class WandB:
    """One wandb run per run folder: its id is kept in RUN/wandb_id.txt, so that a resumed run goes on in it."""

    def __init__(self, run: Path, start: int, config: Mapping[str, Any]) -> None:
        import wandb

        kept = run / "wandb_id.txt"
        id_ = kept.read_text(encoding="utf-8").strip() if kept.exists() else None
        self.run = wandb.init(project="worldmodel", name=run.name, dir=str(run), config=dict(config), id=id_, resume="allow")
        write_text(kept, f"{self.run.id}\n")

    def log(self, update: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=update)  # rows of updates it has already are left as they are: they are equal

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[TrackerName, type[TensorBoard] | type[WandB]] = {"tensorboard": TensorBoard, "wandb": WandB}


def open_tracker(name: TrackerName, run: Path, start: int, config: Mapping[str, Any]) -> Tracker:
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            [f"train.trackers: {name} is not installed; `pip install 'worldmodel[track]'`, or take it from the list"]
        )
    return TRACKERS[name](run, start, config)


def numbers_of(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """What of a row a tracker can draw: finite numbers."""
    return {
        prefix + name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name != "step" and math.isfinite(value)
    }
