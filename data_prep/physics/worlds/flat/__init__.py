"""The flat world: a side view in two dimensions, drawn without shadows, moved in closed form."""

from data_prep.physics.worlds.flat.possible import sample_possible_video
from data_prep.physics.worlds.flat.properties import PROPERTIES
from data_prep.physics.worlds.flat.quadruplets import sample_quadruplet
from data_prep.physics.worlds.world import World

FLAT = World("flat", "2", ("numpy",), PROPERTIES, sample_quadruplet, sample_possible_video)
