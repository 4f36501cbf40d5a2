"""The physical properties that are tested, one file each. Modules whose names begin with `_` hold what several share."""

from data_prep.physics.worlds.builtin.properties.collision import COLLISION
from data_prep.physics.worlds.builtin.properties.colour import COLOUR
from data_prep.physics.worlds.builtin.properties.continuity import CONTINUITY
from data_prep.physics.worlds.builtin.properties.gravity import GRAVITY
from data_prep.physics.worlds.builtin.properties.inertia import INERTIA
from data_prep.physics.worlds.builtin.properties.permanence import PERMANENCE
from data_prep.physics.worlds.builtin.properties.shape import SHAPE
from data_prep.physics.worlds.builtin.properties.size import SIZE
from data_prep.physics.worlds.builtin.properties.solidity import SOLIDITY
from data_prep.physics.worlds.builtin.properties.support import SUPPORT
from data_prep.physics.worlds.builtin.quadruplets import BuiltinProperty

PROPERTIES: tuple[BuiltinProperty, ...] = (
    PERMANENCE,
    CONTINUITY,
    SHAPE,
    COLOUR,
    SIZE,
    SOLIDITY,
    GRAVITY,
    SUPPORT,
    INERTIA,
    COLLISION,
)
"""All properties. A new one needs a file in this folder and a line here."""

PROPERTIES_BY_NAME = {property_.name: property_ for property_ in PROPERTIES}
