"""Decoding: PyAV and decord, by seeking or in order."""
