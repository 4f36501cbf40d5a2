"""One nano suite, generated once for all tests of the videos."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main
from eval.voe.pairs import QUADRUPLET
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames


@dataclass(frozen=True)
class Quad:
    """A quadruplet as read from disk: rows of quads.parquet, decoded frames and ground truth, in
    the order of QUADRUPLET.
    """

    rows: list[dict[str, Any]]
    frames: list[np.ndarray]
    truths: list[dict[str, np.ndarray]]

    def __getattr__(self, name: str) -> Any:
        return self.rows[0][name]


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("physics") / "nano"
    assert main(["synthesize", str(folder), "--suite", "nano", "--workers", "2"]) == 0
    return folder


@pytest.fixture(scope="session")
def quads(nano: Path) -> list[Quad]:
    manifest = Manifest.open(nano / "suite.parquet")
    clips = {clip.clip_id: clip for clip in map(manifest.clip, range(len(manifest)))}
    rows = defaultdict(dict)
    for row in pq.read_table(nano / "quads.parquet").to_pylist():
        rows[row["quad_id"]][row["context_id"], row["outcome_id"]] = row
    found = []
    for videos in rows.values():
        ordered = [videos[video] for video in QUADRUPLET]
        chosen = [clips[row["clip_id"]] for row in ordered]
        frames = [read_frames(clip.path, indices=list(range(clip.frames))) for clip in chosen]
        truths = [dict(np.load(clip.truth)) for clip in chosen]
        found.append(Quad(ordered, frames, truths))
    return found


@pytest.fixture(scope="session")
def spliced(quads: list[Quad]) -> list[Quad]:
    return [quad for quad in quads if quad.spliced]
