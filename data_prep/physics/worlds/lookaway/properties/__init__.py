"""The physical properties that are tested, one file each. Modules whose names begin with `_` hold what several share."""

from data_prep.physics.worlds.lookaway.properties.colour import COLOUR
from data_prep.physics.worlds.lookaway.properties.continuity import CONTINUITY
from data_prep.physics.worlds.lookaway.properties.inertia import INERTIA
from data_prep.physics.worlds.lookaway.properties.permanence import PERMANENCE
from data_prep.physics.worlds.lookaway.properties.shape import SHAPE
from data_prep.physics.worlds.lookaway.properties.size import SIZE
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty

PROPERTIES: tuple[LookAwayProperty, ...] = (PERMANENCE, CONTINUITY, SHAPE, COLOUR, SIZE, INERTIA)
"""All properties. A new one needs a file in this folder and a line here."""
