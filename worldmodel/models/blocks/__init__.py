"""Transformer blocks: attention, rotary positions, layers."""
