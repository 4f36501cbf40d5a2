"""Sweeps: many small trainings from one recipe, side by side."""
