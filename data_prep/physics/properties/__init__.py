"""The physical properties that are tested, one file each. Modules whose names begin with `_` hold what several share."""

from data_prep.physics.properties.collision import COLLISION
from data_prep.physics.properties.colour import COLOUR
from data_prep.physics.properties.continuity import CONTINUITY
from data_prep.physics.properties.gravity import GRAVITY
from data_prep.physics.properties.inertia import INERTIA
from data_prep.physics.properties.permanence import PERMANENCE
from data_prep.physics.properties.shape import SHAPE
from data_prep.physics.properties.size import SIZE
from data_prep.physics.properties.solidity import SOLIDITY
from data_prep.physics.properties.support import SUPPORT
from data_prep.physics.quadruplets import Property

PROPERTIES: tuple[Property, ...] = (
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
