"""Stored results: cached results, checksums, keys and locks."""
