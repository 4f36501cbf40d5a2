"""Masks of the masked family: drawn with numpy alone, by data workers, and stacked for a micro-batch."""
