"""Measure what a model knows: a client of `worldmodel` and `data_prep`."""
