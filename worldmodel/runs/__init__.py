"""A run on disk and on screen: plan, log, trackers, progress, where its data lies."""
