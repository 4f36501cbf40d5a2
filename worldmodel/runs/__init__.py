"""One run of training: its summary, log, trackers, progress bar, checkpoints and data."""
