"""Surprise over time: windows, forecasts, distances and calibration.

The result is a table of traces.
"""
