"""Probes of frozen latents and forecasts: linear and attentive probes, tracking, and failure
analysis."""
