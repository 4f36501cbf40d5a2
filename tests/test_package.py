"""The package offers its public names without loading PyTorch, and an installed wheel works outside a checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import worldmodel

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    done = subprocess.run([*map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_public_name_can_be_imported():
    for name in worldmodel.__all__:
        assert getattr(worldmodel, name).__name__ == name
    assert set(worldmodel.__all__) == set(worldmodel._MODULES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_modle'"):
        worldmodel.load_modle  # noqa: B018


def test_reading_frames_loads_no_pytorch(tmp_path):
    code = "import sys, worldmodel; worldmodel.read_frames, worldmodel.Manifest; sys.exit('torch' in sys.modules)"
    run(sys.executable, "-c", code, cwd=ROOT)


def test_the_command_names_its_commands(tmp_path):
    module = [sys.executable, "-m", "worldmodel.cli"]
    done = subprocess.run([*module, "trian"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no command 'trian'" in done.stderr
    assert "train" in done.stderr


@pytest.mark.slow
def test_an_installed_wheel_trains_and_evaluates_in_another_folder(tmp_path):
    """The environment sees this one's dependencies, and the project from the wheel alone."""
    source = tmp_path / "source"  # a build writes into its source folder
    for name in ("worldmodel", "data_prep", "eval", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("worldmodel-*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=tmp_path)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # editable installs there stay inactive
    assert str(site) in run(python, "-c", "import worldmodel; print(worldmodel.__file__)", cwd=tmp_path)

    command = tmp_path / "venv" / "bin" / "worldmodel"
    work = tmp_path / "work"
    work.mkdir()
    assert "max_steps" in run(command, "recipe", "show", "vit_s", cwd=work)
    run(command, "data", "synthesize", "videos", "--train", "24", "--suite", "nano", cwd=work)
    small = ["train.max_steps=20", "optim.warmup_steps=5", "health.every=20", "checkpoint.every=20", "decoder.max_steps=0"]
    run(command, "train", "data.manifest=videos/train.parquet", "run=run", *small, cwd=work)
    suite = ["--suite", "builtin:videos", "--untrained-seeds", "1"]
    run(command, "eval", "voe", "--model", "run", *suite, "--out", "out", cwd=work)
    assert (work / "out" / "report.html").is_file()
    assert "sweep" in run(command, "eval", "sweep", "--help", cwd=work)
