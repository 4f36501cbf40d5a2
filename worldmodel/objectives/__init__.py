"""Objectives: the terms of the training loss, one per file.

A new objective is a new file here, a line in OBJECTIVES or OBJECTIVES_WITH_HEADS, and one in ObjectiveConfig.
objective.py defines the interface; statistics.py makes every loss exact on any number of ranks and micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from worldmodel.models.latents import LatentSizes
from worldmodel.objectives.barlow import BarlowTwins, BarlowTwinsConfig
from worldmodel.objectives.forecast import Forecast, ForecastConfig
from worldmodel.objectives.idm import InverseDynamics, InverseDynamicsConfig
from worldmodel.objectives.info_nce import InfoNCE, InfoNCEConfig
from worldmodel.objectives.objective import Objective, ObjectiveBase
from worldmodel.objectives.sigreg import SIGReg, SIGRegConfig
from worldmodel.objectives.steps_to_go import StepsToGo, StepsToGoConfig
from worldmodel.objectives.straightening import Straightening, StraighteningConfig
from worldmodel.objectives.temporal_similarity import TemporalSimilarity, TemporalSimilarityConfig
from worldmodel.objectives.vicreg import VICReg, VICRegConfig
from worldmodel.objectives.visreg import VISReg, VISRegConfig

ObjectiveConfig = Annotated[
    ForecastConfig
    | VICRegConfig
    | BarlowTwinsConfig
    | InfoNCEConfig
    | SIGRegConfig
    | VISRegConfig
    | StraighteningConfig
    | TemporalSimilarityConfig
    | InverseDynamicsConfig
    | StepsToGoConfig,
    Field(discriminator="kind"),
]

OBJECTIVES: dict[type[ObjectiveBase], Callable[..., Objective]] = {
    ForecastConfig: Forecast,
    VICRegConfig: VICReg,
    BarlowTwinsConfig: BarlowTwins,
    InfoNCEConfig: InfoNCE,
    SIGRegConfig: SIGReg,
    VISRegConfig: VISReg,
    StraighteningConfig: Straightening,
    TemporalSimilarityConfig: TemporalSimilarity,
}

# with weights of their own, whose shapes follow from the sizes of the latents
OBJECTIVES_WITH_HEADS: dict[type[ObjectiveBase], Callable[..., Objective]] = {
    InverseDynamicsConfig: InverseDynamics,
    StepsToGoConfig: StepsToGo,
}


def build_objective(config: ObjectiveBase, sizes: LatentSizes | None = None) -> Objective:
    """Build the objective that a config describes. sizes: of the model's latents, for those with heads."""
    if type(config) in OBJECTIVES_WITH_HEADS:
        return OBJECTIVES_WITH_HEADS[type(config)](config, sizes)
    return OBJECTIVES[type(config)](config)
