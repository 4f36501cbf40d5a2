"""Make data sets for training: probe, index, transcode, synthesize, show. `python -m data_prep --help`."""
