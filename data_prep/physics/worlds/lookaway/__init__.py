"""The look-away world: the built-in world, in which the camera turns away or the light goes out."""

from data_prep.physics.worlds.lookaway.possible import sample_possible_video
from data_prep.physics.worlds.lookaway.properties import PROPERTIES
from data_prep.physics.worlds.lookaway.quadruplets import sample_quadruplet
from data_prep.physics.worlds.world import World

LOOKAWAY = World("lookaway", "1", ("mujoco", "numpy"), PROPERTIES, sample_quadruplet, sample_possible_video)
