"""The recipes that are shipped with the project: `configs/` in a checkout, a folder of the package in an installed copy."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_configs() -> Path:
    """The folder with demo.yaml and the other recipes."""
    installed = _PACKAGE / "configs"  # setup.py copies them there when a wheel is built
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def find_config(path: Path) -> Path:
    """The file itself, or the shipped recipe of that name where there is no such file: `vit_s`, `configs/vit_s.yaml`."""
    if path.exists() or (path.parent.name not in ("", "configs")):
        return path
    shipped = shipped_configs() / path.with_suffix(".yaml").name
    return shipped if shipped.is_file() else path
