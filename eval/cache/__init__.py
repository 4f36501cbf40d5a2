"""Stored results: caches, seals and locks."""
