"""`eval voe` with the flags of the README on a miniature of every suite, by the demo's recipe trained for two steps."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from worldmodel.video import write_video

ROOT = Path(__file__).resolve().parents[4]
SHORTENED = ["train.max_steps=2", "optim.warmup_steps=1", "health.every=2", "health.windows=4", "checkpoint.every=2"]
SHORTENED += ["decoder.max_steps=0", "data.batch_size=4", "data.workers=0"]
SIZE_PX = 32


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of configs/demo.yaml on the videos that the demo makes: 2 s at 12 frames/s."""
    folder = tmp_path_factory.mktemp("demo")
    assert data_prep(["synthesize", str(folder / "videos"), "--train", "60", "--workers", "1"]) == 0
    command = [sys.executable, str(ROOT / "worldmodel/train.py"), str(ROOT / "configs/demo.yaml"), *SHORTENED]
    command += [f"data.manifest={folder / 'videos/train.parquet'}", f"run={folder / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def crossing_square(seconds: float, fps: float, seed: int) -> np.ndarray:
    """A square that crosses a grey picture; uint8 [T, SIZE_PX, SIZE_PX, 3]."""
    frames = np.full((round(seconds * fps), SIZE_PX, SIZE_PX, 3), 60, np.uint8)
    colour = np.random.default_rng(seed).integers(100, 256, 3)
    for index, frame in enumerate(frames):
        left = index * (SIZE_PX - 8) // len(frames)
        frame[8:16, left : left + 8] = colour
    return frames


def write(path: Path, seconds: float, fps: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, crossing_square(seconds, fps, seed), fps)


def intphys(folder: Path) -> None:
    for block in ("O1", "O2", "O3"):
        begins = {"1": 1, "2": 1, "3": 2, "4": 2}
        for position, (video, begin) in enumerate(begins.items()):
            frames = np.concatenate([crossing_square(50 / 15, 15, begin), crossing_square(50 / 15, 15, 10 + position)])
            scene = folder / "dev" / block / "01" / video
            (scene / "scene").mkdir(parents=True)
            (scene / "status.json").write_text(json.dumps({"header": {"is_possible": video in "14"}}))
            for number, frame in enumerate(frames, 1):
                Image.fromarray(frame).save(scene / "scene" / f"scene_{number:03d}.png")


def intphys2(folder: Path) -> None:
    rows = [["SceneIndex", "name", "file_name", "condition", "env", "type"]]
    for position, kind in enumerate(("1_Possible", "1_Impossible", "2_Possible", "2_Impossible")):
        rows.append(["1", str(position), f"Videos/{position}.mp4", "Permanence", "None", kind])
        write(folder / "Main/Videos" / f"{position}.mp4", 5 + position / 10, 30.0, position)
    with (folder / "Main/metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def grasp(folder: Path) -> None:
    for kind in ("P", "IP"):
        for number in range(2):
            write(folder / "level2" / f"{kind}_Collision" / f"{number:03d}.mp4", 10, 25.0, number + 2 * (kind == "P"))


def inflevel(folder: Path) -> None:
    """Videos of 9 s, as the shortest real ones, without the pair CSVs, which the user adds."""
    for prop, codes in {"continuity": ("vv", "ii", "vi", "iv"), "gravity": ("ui", "cv", "uv", "ci")}.items():
        for position, code in enumerate(codes):
            write(folder / prop / f"center__{prop}__bluecup__redball__{code}.mp4", 9, 30.0, position)
    for position, code in enumerate(("ui", "cv", "uv", "ci")):
        write(folder / "solidity" / f"center__solidity__bluecup__redball__{code}.mp4", 9, 30.0, position)


def builtin(folder: Path) -> None:
    options = ["--suite", "nano", "--properties", "permanence", "--workers", "1"]
    assert data_prep(["synthesize", str(folder), *options]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("make", [builtin, intphys, intphys2, grasp, inflevel], ids=lambda entry: entry.__name__)
def test_the_demos_model_is_evaluated_on_every_suite_with_default_flags(make, run, tmp_path, capsys):
    make(tmp_path / "suite")
    out, suite = tmp_path / "out", f"{make.__name__}:{tmp_path / 'suite'}"
    code = main(["voe", "--model", str(run), "--suite", suite, "--out", str(out), "--untrained-seeds", "1"])
    assert code == 0, capsys.readouterr().err
    protocol = json.loads((out / "protocol.json").read_text(encoding="utf-8"))
    assert protocol["whitening"]["videos"] > 1
    assert protocol["left_out"] == {}
    lowered = [note for note in protocol["notes"] if note.startswith("Forecasts are evaluated up to")]
    assert len(lowered) == (make in (intphys2, grasp, inflevel))  # windows of 16 frames and more at 5 or 6 frames/s
    table = pq.read_table(out / "traces.parquet")
    assert {"whitened", "latent distance", "untrained 0", "latent copy", "pixel copy"} <= set(table["scorer"].to_pylist())
    assert np.isfinite(np.array(table["surprise"].to_pylist(), dtype=float)).all()
    assert (out / "report.html").exists()
