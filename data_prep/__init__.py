"""Make data sets for training: probe, index, transcode, synthesize. `python -m data_prep --help`."""
