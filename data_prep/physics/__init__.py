"""A physics world that makes its own films: MuJoCo moves it, MuJoCo's CPU ray caster sees it, numpy shades it."""

VERSION = "1"
"""Of the generator: raised whenever a pixel, a draw or a truth changes, and part of every random key."""
