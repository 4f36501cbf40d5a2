"""Predictions of a trained model: rollouts, continuations, nearest training frames, the decoder that draws them."""
