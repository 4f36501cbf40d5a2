"""Small videos with their manifest, and workers in which reading certain files goes wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worldmodel.data.loader import DataConfig, Windows
from worldmodel.manifest import Clip, write_manifest
from worldmodel.video import write_video
from worldmodel.window import WindowConfig

FPS, FRAMES, SIZE_PX = 10, 12, 32


def write_clips(folder: Path, count: int) -> Path:
    """`count` videos of noise below `folder`/clips, and `folder`/m.parquet, which names them."""
    clips = []
    (folder / "clips").mkdir(parents=True)
    for number in range(count):
        name = f"clips/{number:03d}.mp4"
        frames = np.random.default_rng(number).integers(0, 256, (FRAMES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        write_video(folder / name, frames, FPS, lossless=True)
        size = (FPS, FRAMES, SIZE_PX, SIZE_PX, 0, "h264")
        clips.append(Clip(str(number), name, None, 0.0, FRAMES / FPS, *size, "train", None, None, "test", str(number)))
    write_manifest(folder / "m.parquet", clips, command="test", config={})
    return folder / "m.parquet"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "data", 12)


def windows_of(manifest: Path, **config: object) -> Windows:
    settings = {"manifest": str(manifest), "batch_size": 4, "workers": 0, **config}
    return Windows(DataConfig(**settings), WindowConfig(frames=8, fps=FPS, size_px=SIZE_PX), "train", 0, SIZE_PX)


@pytest.fixture
def reading_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run statements in each worker when it reads a file whose name ends in 000.mp4."""

    def install(statements: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import sys\n"
            "if any('worldmodel.data.worker' in word for word in sys.orig_argv):\n"
            "    import os, resource, signal, time\n"
            "    import numpy as np\n"
            "    import worldmodel.video.square as square\n"
            "    really_read = square.read_square\n"
            "    def read_square(path, *args, **options):\n"
            "        if path.endswith('000.mp4'):\n"
            f"            {statements}\n"
            "        return really_read(path, *args, **options)\n"
            "    square.read_square = read_square\n"
        )
        root = Path(__file__).resolve().parents[2]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(root)]))

    return install
