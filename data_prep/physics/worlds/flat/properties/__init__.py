"""The physical properties that are tested, one file each. Modules whose names begin with `_` hold what several share."""

from data_prep.physics.worlds.flat.properties.collision import COLLISION
from data_prep.physics.worlds.flat.properties.colour import COLOUR
from data_prep.physics.worlds.flat.properties.continuity import CONTINUITY
from data_prep.physics.worlds.flat.properties.gravity import GRAVITY
from data_prep.physics.worlds.flat.properties.inertia import INERTIA
from data_prep.physics.worlds.flat.properties.permanence import PERMANENCE
from data_prep.physics.worlds.flat.properties.shape import SHAPE
from data_prep.physics.worlds.flat.properties.size import SIZE
from data_prep.physics.worlds.flat.properties.solidity import SOLIDITY
from data_prep.physics.worlds.flat.quadruplets import FlatProperty

PROPERTIES: tuple[FlatProperty, ...] = (
    PERMANENCE,
    CONTINUITY,
    SHAPE,
    COLOUR,
    SIZE,
    SOLIDITY,
    GRAVITY,
    INERTIA,
    COLLISION,
)
"""All properties. A new one needs a file in this folder and a line here."""
