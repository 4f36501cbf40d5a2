"""Motion of hand and object along the floor, in closed form, of many scenes at once.

Arrays have any leading axes that broadcast, so that a planner steps [B, S] copies in one call.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE_PX = 64
STATE = ("hand_x", "object_x", "rest_x", "object_speed", "left_x", "right_x")
"""The numbers of a state, in px: positions of the hand, of the object and of where it comes to rest, its displacement per
step until then, and the middles of both screens."""
HAND, OBJECT, REST, SPEED, LEFT, RIGHT = range(len(STATE))

MIDDLE_PX = 32.0  # where the hand waits, and where the goal has the object
HAND_RANGE_PX = (4.0, 60.0)
MAX_STEP_PX = 4.5  # longest move of the hand
REACH_PX = 3.0  # the hand takes hold of an object at rest that is not farther away
OBJECT_RADIUS_PX = 4.0
SCREEN_HALF_PX = 8.0

MOVING_STEPS = 6  # until the object is at rest behind a screen
LEAD_IN_STEPS = 8  # without action, before a plan is made
BUDGET_STEPS = 12  # of the hand
SUCCESS_PX, STRICT_SUCCESS_PX = 3.0, 1.5  # distance of the object to the middle

LEFT_SCREEN_PX = (9.0, 12.0)  # middles of left screens, in steps of half a pixel; right screens mirror them
REST_OFFSET_PX = 2.0  # of the object at rest from the middle of its screen, at most
START_OFFSET_PX = (4.0, 6.0)  # of the object at the start from the middle of the picture, to either side


def move(states: Array, actions: Array) -> Array:
    """The states after one step: [..., 6], displacements of the hand [..., 1] -> [..., 6].

    An object that is not at rest moves on by its speed. The hand takes hold of an object at rest in its reach; the object is
    then where the hand is. Longer actions than MAX_STEP_PX are shortened.
    """
    hand, thing, rest, speed = (states[..., index] for index in (HAND, OBJECT, REST, SPEED))
    step = np.clip(actions[..., 0], -MAX_STEP_PX, MAX_STEP_PX)
    hand = np.clip(hand + step, *HAND_RANGE_PX)
    is_held = thing == states[..., HAND]
    ahead = rest - thing
    moved = thing + np.sign(ahead) * np.minimum(np.abs(ahead), np.abs(speed))
    is_moving = ahead != 0
    # it comes to rest exactly there, whatever the rounding of its steps
    moved = np.where(np.abs(rest - moved) < 1e-6, rest, moved)
    taken = ~is_moving & (is_held | (np.abs(hand - thing) <= REACH_PX))
    thing = np.where(is_moving, moved, np.where(taken, hand, thing))
    rest = np.where(taken, hand, rest)
    speed = np.where(thing == rest, 0.0, speed)
    columns = np.broadcast_arrays(hand, thing, rest, speed, states[..., LEFT], states[..., RIGHT])
    return np.stack(columns, -1)


def way_to_go(states: Array, goal_x: Array) -> Array:
    """How far the hand must move to fetch the object and bring it to a place: [..., 6], [...] -> [...]."""
    hand, thing = states[..., HAND], states[..., OBJECT]
    to_object = np.maximum(np.abs(hand - thing) - REACH_PX, 0.0)
    held_at = thing + np.clip(hand - thing, -REACH_PX, REACH_PX)  # the object jumps to the hand
    found: Array = to_object + np.abs(held_at - goal_x)
    return found


def shortest_search(left_rest: Array, right_rest: Array) -> Array:
    """How far a hand must move at least that looks behind one screen, finds nothing, and fetches from the other one: [...].

    From the middle, to within reach of one place, back to within reach of the other, and to within the tolerance of the goal.
    """
    left, right = MIDDLE_PX - left_rest - REACH_PX, right_rest - MIDDLE_PX - REACH_PX
    both = left + right
    found: Array = both + np.minimum(left, right) + np.maximum(left, right) - SUCCESS_PX
    return found


def sample_start(rng: np.random.Generator) -> Array:
    """The state at the start of an episode: [6]. The first picture does not tell behind which screen the object will go."""
    low, high = (round(2 * limit) for limit in LEFT_SCREEN_PX)
    left, right = rng.integers(low, high + 1) / 2, SIZE_PX - rng.integers(low, high + 1) / 2
    offset = rng.uniform(-REST_OFFSET_PX, REST_OFFSET_PX)
    start = MIDDLE_PX + rng.uniform(*START_OFFSET_PX) * (1 if rng.random() < 0.5 else -1)
    goes_left = rng.random() < 0.5
    return start_state(start, offset, left, right, goes_left)


def start_state(start_x: float, offset: float, left_x: float, right_x: float, goes_left: bool) -> Array:
    """An object that will be at rest after MOVING_STEPS, `offset` beside the middle of a screen: [6]."""
    rest = (left_x if goes_left else right_x) + offset
    return np.array([MIDDLE_PX, start_x, rest, (rest - start_x) / MOVING_STEPS, left_x, right_x])


def members(start: Array) -> tuple[Array, Array]:
    """The two episodes of a matched pair: the object goes behind the left screen, or behind the right one: [6] each.

    start: the first state of one of them. They agree in the first picture, in when the object comes to rest, and in all
    pictures from then on until the hand brings the object out.
    """
    _, thing, rest, _, left, right = start.tolist()
    offset = rest - (left if abs(rest - left) < abs(rest - right) else right)
    one, other = (start_state(thing, offset, left, right, goes_left) for goes_left in (True, False))
    return one, other
