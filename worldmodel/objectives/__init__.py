"""Objectives, one idea a file. A new one is a file here and its line in OBJECTIVES and ObjectiveConfig.

An objective is a module with `sums(latents, center) -> Sums` (additive over rows, micro-batches and ranks) and
`value(totals) -> Terms` (weighted scalars); statistics.py turns the two into a loss that is exact everywhere.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from worldmodel.config import Config
from worldmodel.objectives.forecast import Forecast, ForecastConfig
from worldmodel.objectives.vicreg import VICReg, VICRegConfig

ObjectiveConfig = Annotated[ForecastConfig | VICRegConfig, Field(discriminator="kind")]

OBJECTIVES: dict[type[Config], type[nn.Module]] = {ForecastConfig: Forecast, VICRegConfig: VICReg}


def build_objective(config: Config) -> nn.Module:
    return OBJECTIVES[type(config)](config)
