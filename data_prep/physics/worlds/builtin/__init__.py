"""The built-in world: MuJoCo simulates and casts rays on the CPU, and numpy shades the pixels."""

from data_prep.physics import VERSION
from data_prep.physics.worlds.builtin.possible import sample_possible_video
from data_prep.physics.worlds.builtin.properties import PROPERTIES
from data_prep.physics.worlds.builtin.quadruplets import sample_quadruplet
from data_prep.physics.worlds.world import World

BUILTIN = World("builtin", VERSION, ("mujoco", "numpy"), PROPERTIES, sample_quadruplet, sample_possible_video)
