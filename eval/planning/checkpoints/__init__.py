"""Many checkpoints on the same pairs: which of their other numbers predicts success?"""
