"""Estimate of what a recipe costs: memory, FLOPs, traffic, decoding and time. `python -m worldmodel.estimate` prints it."""
