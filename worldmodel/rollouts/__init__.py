"""Predictions of a trained model: rollouts, sampled continuations, nearest training frames, and the decoder that draws them."""
