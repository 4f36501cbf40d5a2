"""From clips to batches: sample order, windows of frames, worker processes that decode, and augmentation."""
