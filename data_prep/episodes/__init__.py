"""Recorded episodes of other projects: videos with the actions and states that belong to them."""
