"""Synthetic videos of a physics world.

MuJoCo simulates and casts rays on the CPU, and numpy shades the pixels.
"""

VERSION = "1"
"""Version of the generator.

It is raised whenever a pixel, a random number or a ground-truth value changes. It is part of the
key of every random number and of every file name.
"""
