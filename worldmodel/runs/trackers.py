"""Trackers in addition to metrics.jsonl. Their packages are imported only where a recipe names them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from worldmodel.config import ConfigError
from worldmodel.files.atomic import write_text

TrackerName = Literal["tensorboard", "wandb"]


class Tracker(Protocol):
    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard. Later events of an interrupted run are hidden."""

    def __init__(self, run: Path, start: int, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class WandB:
    """One wandb run per run folder. RUN/wandb_id.txt has its id, so that a resumed run continues it."""

    def __init__(self, run: Path, start: int, config: Mapping[str, Any]) -> None:
        import wandb

        id_file = run / "wandb_id.txt"
        id_ = id_file.read_text(encoding="utf-8").strip() if id_file.exists() else None
        self.run = wandb.init(project="worldmodel", name=run.name, dir=str(run), config=dict(config), id=id_, resume="allow")
        write_text(id_file, f"{self.run.id}\n")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log(dict(numbers), step=step)  # wandb ignores steps that it already has; they are equal

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[TrackerName, type[TensorBoard] | type[WandB]] = {"tensorboard": TensorBoard, "wandb": WandB}


def open_tracker(name: TrackerName, run: Path, start: int, config: Mapping[str, Any]) -> Tracker:
    """Create a tracker of a run that continues after step `start`. Raises ConfigError where its package is missing."""
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            [f"train.trackers: {name} is not installed; `pip install 'worldmodel[track]'`, or remove it from the list"]
        )
    return TRACKERS[name](run, start, config)


def finite_numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a row, with a prefix to their names."""
    return {
        prefix + name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name != "step" and math.isfinite(value)
    }
