"""Rendering of scenes with MuJoCo's CPU ray caster."""
