"""Models that others trained: V-JEPA 2 and VideoMAE weights."""
