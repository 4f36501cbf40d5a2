"""README.md is short, and what it shows works: its Python runs as it stands, its commands run with shorter settings."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from documents import README, ROOT, blocks, commands
from forked import run as run_module
from PIL import Image

from data_prep.__main__ import main as data_prep

TEXT = README.read_text(encoding="utf-8")
SHORT = ["train.max_steps=4", "optim.warmup_steps=1", "health.every=4", "health.windows=4", "checkpoint.every=4"]
SHORT += ["decoder.max_steps=2", "decoder.windows=2", "data.batch_size=4", "data.workers=0", "train.precision=fp32"]
SECTIONS = ["rollout.gif", "dev.py demo --quick", "load_model", "## Results", "**Limits.**", "## Train, evaluate"]
SECTIONS += ["stable-pretraining", "## More", "CITATION.cff"]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A working directory as the quick demo leaves it: runs/demo_quick, and a video clip.mp4."""
    folder = tmp_path_factory.mktemp("readme")
    assert data_prep(["synthesize", str(folder / "videos"), "--train", "60", "--workers", "1"]) == 0
    made = train(folder, "runs/demo_quick")
    assert made.returncode == 0, made.stderr
    clip = next((folder / "videos").rglob("*.mp4"))
    (folder / "clip.mp4").write_bytes(clip.read_bytes())
    return folder


def train(folder: Path, run: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(ROOT / "configs/demo.yaml"), f"data.manifest={folder}/videos/train.parquet", f"run={run}", *SHORT]
    return run_module("worldmodel.train", arguments, cwd=folder)


def test_the_readme_has_at_most_1200_words_and_lines_of_100_characters():
    assert len(TEXT.split()) <= 1200
    assert [line for line in TEXT.splitlines() if len(line) > 100] == []


def test_sections_are_in_the_order_that_a_newcomer_needs():
    positions = [TEXT.find(part) for part in SECTIONS]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_the_readme_begins_with_an_animation_below_two_megabytes():
    picture = ROOT / "docs/rollout.gif"
    assert picture.stat().st_size < 2e6
    with Image.open(picture) as shown:
        assert getattr(shown, "n_frames", 1) > 10


def test_no_placeholder_is_left():
    assert "@" not in TEXT.replace("@dataclass", "")


def test_the_python_example_has_about_ten_lines_and_runs(work):
    (code,) = blocks(README, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    done = subprocess.run([sys.executable, "-c", code], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.Size([1, ")


@pytest.mark.slow
def test_the_commands_train_evaluate_and_visualise(work):
    """The three commands under "Train, evaluate, visualise", on fewer videos, steps and quadruplets."""
    suite = work / "suite"
    assert data_prep(["synthesize", str(suite), "--suite", "nano", "--properties", "permanence", "--workers", "1"]) == 0
    trained, evaluated, shown = [command for command in commands(README) if "runs/mine" in shlex.join(command)]
    assert trained == shlex.split("accelerate launch worldmodel/train.py configs/demo.yaml run=runs/mine")
    made = train(work, trained[-1].removeprefix("run="))
    assert made.returncode == 0, made.stderr
    command = [f"builtin:{suite}" if argument == "builtin" else argument for argument in evaluated[3:]]
    made = run_module("eval.__main__", [*command, "--untrained-seeds", "0"], cwd=work)
    assert made.returncode == 0, made.stderr
    assert (work / evaluated[-1] / "report.html").exists()
    made = run_module("worldmodel.rollout", shown[3:], cwd=work)
    assert made.returncode == 0, made.stderr
    assert list((work / "runs/mine").rglob("gallery.html"))
