"""Measures of a model with actions on recorded episodes, without the environment."""
