"""Push-T: a round agent pushes a block of the shape of a T. The scene and its physics are those of gym-pusht.

A square of 512 x 512 px, x to the right and y downwards. Angles are in radians. The place of the T is
that of the middle of its bar's upper edge, not its centre of mass.
"""
