"""Clips to batches: order of samples, frames of a window, workers that read, batches, augmentation."""
