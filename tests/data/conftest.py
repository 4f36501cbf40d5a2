"""Small videos, and workers in which reading certain files fails."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_clips import write_clips


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "data", 12)


@pytest.fixture
def reading_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run statements in each worker when it reads a file whose name ends in 000.mp4."""

    def install(statements: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import sys\n"
            "if any('worldmodel.data.worker' in word for word in sys.orig_argv):\n"
            "    import os, resource, signal, time\n"
            "    import numpy as np\n"
            "    from worldmodel.video import geometry\n"
            "    really_read = geometry.read_square_frames\n"
            "    def read_square_frames(path, *args, **options):\n"
            "        if path.endswith('000.mp4'):\n"
            f"            {statements}\n"
            "        return really_read(path, *args, **options)\n"
            "    geometry.read_square_frames = read_square_frames\n"
        )
        root = Path(__file__).resolve().parents[2]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(root)]))

    return install
