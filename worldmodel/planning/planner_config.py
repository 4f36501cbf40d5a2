"""Fields that the configs of all planners share."""

from __future__ import annotations

from pydantic import Field

from worldmodel.config import Config


class PlannerBase(Config):
    """Length of the plan, and the spread of the first candidates."""

    horizon: int = Field(ge=1)
    """number of planned steps, each of which is one action, or one block of actions"""
    std: float = Field(1.0, gt=0)
    """standard deviation of the first candidates, in units of the action space's scale"""
