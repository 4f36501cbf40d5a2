"""Two Rooms: a dot moves between two rooms through a door. The geometry is that of EB-JEPA and PLDM.

A square of 65 x 65 px. x grows to the right and y downwards, and pixel i has the coordinate i. A
vertical wall divides the square; its place and that of its door differ between episodes.
"""
