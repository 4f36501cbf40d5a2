"""Clips to batches: order.py (which sample when), windows.py (which frames), loader.py (workers), augment.py (on the device)."""
