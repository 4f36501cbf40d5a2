"""Miniature copies of benchmarks, each in its own layout: small frames, two or three scenes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import write_video

GREY = {"a": 40, "b": 90, "u": 140, "v": 190}
SPLICE, HIDDEN = 4, (3, 6)  # of 8 frames
STATUS = "status.json"


@pytest.fixture
def make_small_video() -> Callable[..., Path]:
    """(path, frames=6, fps=10) -> an MP4 of 16 x 16 pixels."""

    def make(path: Path, frames: int = 6, fps: float = 10.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, np.full((frames, 16, 16, 3), 60, np.uint8), fps)
        return path

    return make


@pytest.fixture
def make_scene() -> Callable[..., Path]:
    """(folder, {video: (greys, possible or None)}) -> a scene of IntPhys: VIDEO/scene/scene_001.png, VIDEO/status.json."""

    def make(folder: Path, videos: dict[str, tuple[list[int], bool | None]], compress_level: int = 6) -> Path:
        for video, (greys, possible) in videos.items():
            scene = folder / video / "scene"
            scene.mkdir(parents=True)
            for number, grey in enumerate(greys, 1):
                picture = Image.fromarray(np.full((8, 8, 3), grey, np.uint8))
                picture.save(scene / f"scene_{number:03d}.png", compress_level=compress_level)
            if possible is not None:
                (folder / video / STATUS).write_text(json.dumps({"header": {"is_possible": possible}}))
        return folder

    return make


@pytest.fixture
def physics_suite(tmp_path: Path) -> Path:
    """A suite of the physics world: one spliced quadruplet and a visible one, with calibration videos."""
    videos, rows = [], []
    for name, spliced in (("permanence-occluded-test-0000", True), ("inertia-visible-test-0000", False)):
        for context, outcome in (("b", "u"), ("a", "v"), ("a", "u"), ("b", "v")):  # not in the order of a trial
            possible = context + outcome in ("au", "bv")
            greys = [GREY[context]] * 3 + [10] * 3 + [GREY[outcome]] * 2
            path = tmp_path / "clips" / f"{name}-{context}{outcome}.mp4"
            path.parent.mkdir(exist_ok=True)
            write_video(path, _even(greys), 12.0, lossless=True)
            videos.append(_clip(path, "possible" if possible else "impossible"))
            rows.append(_quad(name, videos[-1].clip_id, context, outcome, possible, spliced))
    write_manifest(tmp_path / "suite.parquet", videos, command="test", config={})
    write_manifest(tmp_path / "calibration.parquet", videos[2:4], command="test", config={})
    write_rows(tmp_path / "quads.parquet", rows)
    return tmp_path


def write_rows(path: Path, rows: list[dict]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def _even(greys: list[int]) -> np.ndarray:
    """uint8 [T, 16, 16, 3]."""
    return np.array(greys, np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)


def _clip(path: Path, label: str) -> Clip:
    size = {"width": 16, "height": 16, "rotation": 0, "codec": "h264"}
    return Clip(
        path.stem,
        str(path),
        None,
        0.0,
        8 / 12,
        12.0,
        8,
        **size,
        split="test",
        label=label,
        truth=None,
        source="t",
        content_hash="",
    )


def _quad(name: str, clip: str, context: str, outcome: str, possible: bool, spliced: bool) -> dict:
    return {
        "quad_id": name,
        "clip_id": clip,
        "context_id": context,
        "outcome_id": outcome,
        "possible": possible,
        "property": name.split("-")[0],
        "visibility": "occluded" if spliced else "visible",
        "spliced": spliced,
        "level": 1,
        "copy_class": "hard",
        "magnitude": 1.5,
        "split": "test",
        "fps": 12.0,
        "splice": SPLICE if spliced else None,
        "occlusion_start": HIDDEN[0] if spliced else None,
        "occlusion_stop": HIDDEN[1] if spliced else None,
        "violation": SPLICE,
        "reveal": HIDDEN[1],
    }
