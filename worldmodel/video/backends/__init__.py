"""Decoders that read selected frames of a video file: PyAV (default) and decord."""

from typing import Literal

from worldmodel.video.backends import decord_backend, pyav_backend

Backend = Literal["pyav", "decord"]
BACKENDS = {"pyav": pyav_backend.read, "decord": decord_backend.read}
"""By name, the function that reads. A new backend needs a file in this folder, and a name in these two lines."""
