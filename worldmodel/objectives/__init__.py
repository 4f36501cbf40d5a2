"""Objectives, one idea a file. A new one is a file here and its line in OBJECTIVES and ObjectiveConfig.

statistics.py says what an objective is, and makes its loss exact on any number of ranks and micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from worldmodel.config import Config
from worldmodel.objectives.forecast import Forecast, ForecastConfig
from worldmodel.objectives.statistics import Objective
from worldmodel.objectives.vicreg import VICReg, VICRegConfig

ObjectiveConfig = Annotated[ForecastConfig | VICRegConfig, Field(discriminator="kind")]

OBJECTIVES: dict[type[Config], Callable[..., Objective]] = {ForecastConfig: Forecast, VICRegConfig: VICReg}


def build_objective(config: Config) -> Objective:
    return OBJECTIVES[type(config)](config)
