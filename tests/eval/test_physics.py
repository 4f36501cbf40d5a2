"""The command, whole, on a nano suite: what it leaves, that it goes on, and that ranks change nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main as data_prep

ROOT = Path(__file__).parents[2]
RECIPE = """
window: {frames: 24, fps: 12, size_px: 64}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    options = ["--suite", "nano", "--properties", "permanence,colour", "--workers", "1"]
    assert data_prep(["synthesize", str(folder), *options]) == 0
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def physics(suite: Path, out: Path, *options: str, launch: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess:
    command = [*launch, "-m", "eval", "physics", "--suite", f"builtin:{suite}", "--out", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(suite / "cache")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def done(suite: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    result = physics(suite, out, "--model", f"untrained:{suite / 'recipe.yaml'}", "--ablate-whitening")
    assert result.returncode == 0, result.stderr
    return out


def test_it_leaves_traces_numbers_and_a_page(done: Path):
    assert {"traces.parquet", "trials.json", "protocol.json", "scores.json", "scores.csv", "table.md", "report.html"} <= {
        path.name for path in done.iterdir()
    }
    scores = json.loads((done / "scores.json").read_text())
    assert scores["headline"]["whitened"]["why"] == "fewer than 30 groups"
    for scorer in ("whitened", "distance"):
        it = scores["tree"]["locked"][scorer]["all"]["occluded"]["all"]["all"]["both"]
        assert it["blind"] == {"pixel copy": 0.5, "pixel extrapolation": 0.5}
        copies = [name for name in it["baselines"] if name.startswith(("latent", "masked"))]
        assert len(copies) == 3
        assert all(it["baselines"][name]["value"] == 0.5 for name in copies)  # locked: they saw the same picture


def test_numbers_can_be_made_again_without_the_model(done: Path):
    before = (done / "scores.json").read_text()
    (done / "scores.json").unlink()
    result = subprocess.run([sys.executable, "-m", "eval", "rescore", str(done)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (done / "scores.json").read_text() == before


def test_two_ranks_and_an_interrupted_run_give_the_same_traces(suite: Path, done: Path, tmp_path: Path):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29631")
    options = ("--model", f"untrained:{suite / 'recipe.yaml'}", "--ablate-whitening")
    result = physics(suite, tmp_path / "two", *options, launch=torchrun)
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "two" / "traces.parquet").equals(pq.read_table(done / "traces.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vjepa2", "videomae"])
def test_a_pretrained_model_is_judged_beside_its_own_architecture_untrained(suite: Path, tmp_path: Path, kind: str):
    import transformers

    small = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1}
    if kind == "vjepa2":
        small |= {"crop_size": 64, "frames_per_clip": 16, "pred_hidden_size": 24, "pred_num_attention_heads": 2}
        model = transformers.VJEPA2Model(transformers.VJEPA2Config(**small, pred_num_hidden_layers=1))
    else:
        small |= {"image_size": 64, "intermediate_size": 24, "decoder_hidden_size": 24, "decoder_num_attention_heads": 2}
        model = transformers.VideoMAEForPreTraining(
            transformers.VideoMAEConfig(**small, decoder_num_hidden_layers=1, decoder_intermediate_size=24)
        )
    model.save_pretrained(tmp_path / "model")
    result = physics(suite, tmp_path / "out", "--model", f"hf:{tmp_path / 'model'}", "--untrained-seeds", "1")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    it = scores["tree"]["locked"]["whitened"]["all"]["occluded"]["all"]["all"]["both"]
    assert it["baselines"]["untrained, whitened"]["value"] is not None
    scorer = pq.read_table(tmp_path / "out" / "traces.parquet").to_pydict()
    surprise = [s for name, s in zip(scorer["scorer"], scorer["surprise"], strict=True) if name == "distance"]
    assert len(set(surprise)) > len(surprise) / 4


def test_a_blind_scorer_is_at_one_half(suite: Path, tmp_path: Path):
    result = physics(suite, tmp_path, "--model", "blind:pixel copy")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["tree"]["locked"]["pixel copy"]["all"]["occluded"]["all"]["all"]["both"]["value"] == 0.5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("runs/nothing", "no such run folder"),
        ("blind:pixel cpy", "did you mean 'pixel copy'"),
    ],
)
def test_a_wrong_model_is_one_line(suite: Path, tmp_path: Path, model: str, said: str):
    result = physics(suite, tmp_path, "--model", model)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_suite_or_window_is_one_line(suite: Path, tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "eval", "physics", "--model", "blind:pixel copy", "--suite", "bultin:x", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "did you mean builtin:DIR" in result.stderr
    result = physics(suite, tmp_path, "--model", f"untrained:{suite / 'recipe.yaml'}", "--contexts", "40")
    assert result.returncode == 2
    assert "longer than the 24" in result.stderr
