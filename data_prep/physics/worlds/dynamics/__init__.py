"""The dynamics world: the look of the built-in world, and questions that only the order of frames answers."""

from data_prep.physics.worlds.dynamics.possible import sample_possible_video
from data_prep.physics.worlds.dynamics.properties import PROPERTIES
from data_prep.physics.worlds.dynamics.quadruplets import LEVELS, sample_quadruplet
from data_prep.physics.worlds.world import World

DYNAMICS = World("dynamics", "3", ("mujoco", "numpy"), PROPERTIES, sample_quadruplet, sample_possible_video, levels=LEVELS)
