"""Prepare data sets for training: inspect, index, transcode, synthesize, show.

`python -m data_prep --help`.
"""
