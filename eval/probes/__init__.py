"""Probes: what can be read off latents and forecasts, linear and attentive, and how far ahead."""
