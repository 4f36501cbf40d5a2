"""One pair of start and goal in Two Rooms, and settings of a search, for tests of the evaluation of planning."""

from eval.planning.evaluation import Planning
from eval.planning.pairs import Pair, PairSet
from worldmodel.planning import PlannerBase

PAIRS = PairSet("TwoRooms-v0", "m", "test", "own", None, 0, 0, (Pair((20.0, 30, 32, 50), (44.0, 30, 32, 50), "0", 0),))


def planning(config: PlannerBase, context: int = 2) -> Planning:
    return Planning(config, 1, "all", 16, context)
