"""Make data sets for training: probe, index, transcode. `python -m data_prep --help`."""
