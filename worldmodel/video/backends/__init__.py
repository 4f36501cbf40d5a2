"""Decoders that read selected frames of a video file: PyAV (default) and decord.

`worldmodel/video/read.py` lists the backends.
"""
