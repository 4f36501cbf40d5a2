"""Pretrained models: V-JEPA 2 and VideoMAE weights from Hugging Face, and V-JEPA 2 files in both directions."""
