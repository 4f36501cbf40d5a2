"""The manifest: a Parquet table with one row per clip. Data preparation writes it; training and evaluation read it.

A clip is an interval [start_s, stop_s) of a video file, of a video in a tar (`member`), or of a
folder of frames.
"""

from worldmodel.manifest.clip import FORMAT_VERSION, OPTIONAL_COLUMNS, SCHEMA, SPLITS, Clip, ManifestError, clip_id
from worldmodel.manifest.digest import DIGEST_COLUMNS
from worldmodel.manifest.table import Manifest
from worldmodel.manifest.write import ROWS_PER_GROUP, stored_path, write_manifest

__all__ = [
    "DIGEST_COLUMNS",
    "FORMAT_VERSION",
    "OPTIONAL_COLUMNS",
    "ROWS_PER_GROUP",
    "SCHEMA",
    "SPLITS",
    "Clip",
    "Manifest",
    "ManifestError",
    "clip_id",
    "stored_path",
    "write_manifest",
]
