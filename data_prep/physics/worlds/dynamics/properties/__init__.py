"""The questions of the dynamics world, one file each. Modules whose names begin with `_` hold what several share."""

from data_prep.physics.worlds.dynamics.properties.acceleration import ACCELERATION
from data_prep.physics.worlds.dynamics.properties.crossing import CROSSING
from data_prep.physics.worlds.dynamics.properties.delay import DELAY
from data_prep.physics.worlds.dynamics.properties.direction import DIRECTION
from data_prep.physics.worlds.dynamics.properties.impact import IMPACT
from data_prep.physics.worlds.dynamics.properties.pace import PACE
from data_prep.physics.worlds.dynamics.properties.queue import QUEUE
from data_prep.physics.worlds.dynamics.properties.spin import SPIN
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty

PROPERTIES: tuple[DynamicsProperty, ...] = (DIRECTION, ACCELERATION, CROSSING, IMPACT, DELAY, QUEUE, PACE, SPIN)
"""All questions. A new one needs a file in this folder and a line here."""
IN_POSSIBLE_VIDEOS = PROPERTIES[:6]
"""Those that possible videos show, with either hidden time. No video for training shows pace or spin."""
