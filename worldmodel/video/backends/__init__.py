"""Decoders that read selected frames of a video file: PyAV (default) and decord."""
