"""The questions of the memory world, one file each: every number of bodies, hidden for every time."""

from data_prep.physics.worlds.memory.properties.identity import IDENTITY
from data_prep.physics.worlds.memory.properties.number import NUMBER
from data_prep.physics.worlds.memory.quadruplets import MemoryProperty

PROPERTIES: tuple[MemoryProperty, ...] = (NUMBER, IDENTITY)
"""All questions. A new one needs a file in this folder and a line here."""
