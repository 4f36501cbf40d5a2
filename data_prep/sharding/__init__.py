"""Shards: the videos of a manifest in plain tar files, each with an index beside it."""
