"""Worlds: each draws videos of another look and physics of its own, in one format with the same ground truth.

To add one, write a folder here that defines a World, and add a line to WORLDS.
"""

from data_prep.physics.worlds.builtin import BUILTIN
from data_prep.physics.worlds.dynamics import DYNAMICS
from data_prep.physics.worlds.flat import FLAT
from data_prep.physics.worlds.lookaway import LOOKAWAY
from data_prep.physics.worlds.memory import MEMORY
from data_prep.physics.worlds.world import World

WORLDS: dict[str, World] = {world.name: world for world in (BUILTIN, FLAT, LOOKAWAY, DYNAMICS, MEMORY)}

__all__ = ["WORLDS", "World"]
