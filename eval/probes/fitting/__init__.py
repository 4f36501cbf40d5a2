"""Fitting of probes on frozen latents: ridge and softmax regression, and attentive probes."""
