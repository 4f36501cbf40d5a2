"""The memory world: the look of the built-in world; one to four bodies are hidden for half a second, one or two seconds."""

from data_prep.physics.worlds.memory.possible import MIN_DURATION_S, sample_possible_video
from data_prep.physics.worlds.memory.properties import PROPERTIES
from data_prep.physics.worlds.memory.quadruplets import sample_quadruplet
from data_prep.physics.worlds.world import World

MEMORY = World(
    "memory",
    "1",
    ("mujoco", "numpy"),
    PROPERTIES,
    sample_quadruplet,
    sample_possible_video,
    duration_s=4.0,
    min_possible_s=MIN_DURATION_S,
)
