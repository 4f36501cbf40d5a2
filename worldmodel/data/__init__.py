"""Clips to batches: which sample when (order), which frames (windows), by whom (loader), changed how (augment)."""
