"""Sweep over the strength of augmentation: position, shape and hue are probed in the latents."""
