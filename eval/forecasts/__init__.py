"""Forecast error by horizon: skill, tables and the figure."""
