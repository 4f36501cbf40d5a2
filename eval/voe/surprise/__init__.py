"""Surprise over time: windows, forecasts, distances and calibration, to a table of traces."""
