"""Sweeps: many small trainings from one recipe, evaluated side by side."""
