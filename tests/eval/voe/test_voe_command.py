"""The whole `eval voe` command on a nano suite: its files, resuming, and equal results on two ranks."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import launch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main as data_prep
from eval.report import shown_trials
from eval.voe.trials import read_trials
from worldmodel.files.folder_lock import lock_folder

RECIPE = """
window: {frames: 24, fps: 12, size_px: 64}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16, latent_grid: 2}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    options = ["--suite", "nano", "--properties", "permanence,colour", "--workers", "1"]
    assert data_prep(["synthesize", str(folder), *options]) == 0
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "one_token.yaml").write_text(RECIPE.replace("latent_grid: 2", "latent_grid: 1"))
    return folder


def evaluate(suite: Path, out: Path, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = [sys.executable, *launcher, "-m", "eval", "voe", "--suite", f"builtin:{suite}", "--out", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(suite / "cache")}
    return launch.run(command, env=environment)


def curves(out: Path) -> list[dict]:
    """The text below the videos of a report, and over them."""
    players = re.findall(r'<script type="application/json">(.*?)</script>', (out / "report.html").read_text())
    return [curve for text in players for curve in json.loads(text)["curves"]]


@pytest.fixture(scope="module")
def done(suite: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    result = evaluate(suite, out, "--model", f"untrained:{suite / 'recipe.yaml'}", "--ablate-whitening")
    assert result.returncode == 0, result.stderr
    return out


def test_the_command_writes_traces_scores_and_a_report(done: Path):
    assert {"traces.parquet", "trials.json", "protocol.json", "scores.json", "scores.csv", "table.md", "report.html"} <= {
        path.name for path in done.iterdir()
    }
    assert json.loads((done / "protocol.json").read_text())["geometry"] == "center_crop"
    scores = json.loads((done / "scores.json").read_text())
    assert scores["headline"]["whitened"]["reason"] == "fewer than 30 trials"
    for scorer in ("whitened", "latent distance"):
        entry = scores["tree"]["locked"][scorer]["all"]["occluded"]["all"]["all"]["both"]
        assert list(entry["pixel_baselines"]) == ["pixel copy", "visible copy", "pixel extrapolation", "motion change"]
        assert entry["pixel_baselines"]["pixel copy"] == entry["pixel_baselines"]["pixel extrapolation"] == 0.5
        copies = [name for name in entry["baselines"] if name.startswith(("latent", "masked"))]
        assert len(copies) == 3
        assert all(
            entry["baselines"][name]["value"] == 0.5 for name in copies
        )  # locked: their contexts end in the same picture


def test_scores_can_be_computed_again_without_the_model(done: Path):
    before, shown = (done / "scores.json").read_text(), curves(done)
    (done / "scores.json").unlink()
    result = subprocess.run([sys.executable, "-m", "eval", "rescore", str(done)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (done / "scores.json").read_text() == before
    assert curves(done) == shown  # the same trials, under the same maps


def test_only_videos_that_are_shown_have_maps(done: Path):
    shown = {
        video.video_id
        for trial in read_trials(done / "trials.json")
        if trial.group_id in shown_trials(done)
        for video in trial.videos
    }
    assert 0 < len(shown) < 32
    assert {path.stem for path in (done / "maps").iterdir()} == shown
    assert not (done / "parts").exists()


def test_a_curve_is_the_mean_over_tokens_of_its_map(done: Path):
    found = curves(done)
    assert {curve["name"] for curve in found} == {
        f"{scorer}, {windows} windows" for scorer in ("whitened", "latent distance") for windows in ("locked", "sliding")
    }
    for curve in found:
        for (times, values), heat in zip(curve["lines"], curve["heats"], strict=True):
            levels = np.frombuffer(base64.b64decode(heat["levels"]), np.uint8).reshape(len(times), heat["grid_size"] ** 2)
            assert heat["times"] == pytest.approx(times, abs=1e-4)
            tame = (levels < 255).all(1)  # the brightest may saturate
            assert tame.any()
            mean = (levels[tame].mean(1) - 1) / 254 * curve["peak"]
            assert mean == pytest.approx(np.array(values)[tame], abs=curve["peak"] / 254)


def test_a_model_with_one_token_has_no_map(suite: Path, tmp_path: Path):
    result = evaluate(suite, tmp_path, "--model", f"untrained:{suite / 'one_token.yaml'}")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "maps").exists()
    assert "so there is no heat map" in (tmp_path / "report.html").read_text()


def test_hostile_clip_ids_write_nothing_outside_out(suite: Path, tmp_path: Path):
    hostile, out = tmp_path / "suite", tmp_path / "deep" / "er" / "out"
    hostile.mkdir()
    ids = ["../../X", "../X", "..", ".", "a/b", "/etc/X", "nul", "\x1b]0;X\x07", "a" * 300, "é" * 200, "X", "x", "a\\b"]
    quads, table = pq.read_table(suite / "quads.parquet"), pq.read_table(suite / "suite.parquet")
    named = dict(zip(table["clip_id"].to_pylist(), ids, strict=False))
    for found, name in ((quads, "quads.parquet"), (table, "suite.parquet")):
        column = pa.array([named.get(entry, entry) for entry in found["clip_id"].to_pylist()], pa.string())
        index = found.schema.get_field_index("clip_id")
        pq.write_table(found.set_column(index, found.schema.field(index), column), hostile / name)
    shutil.copytree(suite / "clips", hostile / "clips")
    shutil.copy(suite / "calibration.parquet", hostile)
    before = set(tmp_path.rglob("*"))
    recipe = f"untrained:{suite / 'recipe.yaml'}"
    result = evaluate(hostile, out, "--model", recipe, "--maps")
    assert result.returncode == 0, result.stderr
    cache = hostile / "cache"
    made = {path for path in tmp_path.rglob("*") if path not in before and cache not in (path, *path.parents)}
    assert {path for path in made if out not in (path, *path.parents)} == {out.parent, out.parent.parent}
    maps = list((out / "maps").iterdir())
    assert len(maps) == len(table)
    assert all(path.suffix == ".npz" for path in maps)
    assert "\x1b" not in result.stdout + result.stderr


def test_maps_are_not_written_through_a_symbolic_link(suite: Path, tmp_path: Path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "maps").symlink_to(elsewhere)
    (out / "protocol.json").write_text('{"made": {}}')
    result = evaluate(suite, out, "--model", f"untrained:{suite / 'recipe.yaml'}", "--maps", "--fresh")
    assert result.returncode == 2
    assert "maps is a symbolic link" in result.stderr
    assert list(elsewhere.iterdir()) == []


def test_a_finished_evaluation_of_another_model_is_replaced_only_with_fresh_and_its_maps_go(
    suite: Path, done: Path, tmp_path: Path
):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")}
    result = evaluate(suite, out, "--model", "baseline:pixel copy")
    assert result.returncode == 2
    assert "holds a finished evaluation that differs in the model (recipe, untrained" in result.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert (out / "maps").exists()
    result = evaluate(suite, out, "--model", "baseline:pixel copy", "--fresh")
    assert result.returncode == 0, result.stderr
    assert not (out / "maps").exists()
    assert not (out / ".lock").exists()


def test_a_folder_with_files_of_the_user_is_refused_even_with_fresh(suite: Path, tmp_path: Path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "city.png").write_text("mine")
    result = evaluate(suite, tmp_path, "--model", "baseline:pixel copy", "--fresh")
    assert result.returncode == 2
    assert "maps would be overwritten" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["maps", "city.png"]


@pytest.mark.slow
def test_all_ranks_fail_when_another_process_writes_to_the_folder(suite: Path, tmp_path: Path):
    with lock_folder(tmp_path / "out", "..."):
        torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29633")
        result = evaluate(suite, tmp_path / "out", "--model", "baseline:pixel copy", launcher=torchrun)
    assert result.returncode != 0
    assert result.stderr.count("eval voe: ") == result.stderr.count("is in use by process") == 2


def test_two_ranks_and_an_interrupted_run_give_the_same_traces(suite: Path, done: Path, tmp_path: Path):
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29631")
    options = ("--model", f"untrained:{suite / 'recipe.yaml'}", "--ablate-whitening")
    result = evaluate(suite, tmp_path / "two", *options, launcher=torchrun)
    assert result.returncode == 0, result.stderr
    assert pq.read_table(tmp_path / "two" / "traces.parquet").equals(pq.read_table(done / "traces.parquet"))
    assert curves(tmp_path / "two") == curves(done)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vjepa2", "videomae"])
def test_a_pretrained_model_has_its_untrained_architecture_as_a_baseline(suite: Path, tmp_path: Path, kind: str):
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
    result = evaluate(suite, tmp_path / "out", "--model", f"hf:{tmp_path / 'model'}", "--untrained-seeds", "1")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    entry = scores["tree"]["locked"]["whitened"]["all"]["occluded"]["all"]["all"]["both"]
    assert entry["baselines"]["untrained, whitened"]["value"] is not None
    scorer = pq.read_table(tmp_path / "out" / "traces.parquet").to_pydict()
    surprise = [s for name, s in zip(scorer["scorer"], scorer["surprise"], strict=True) if name == "latent distance"]
    assert len(set(surprise)) > len(surprise) / 4


def test_a_pixel_baseline_is_at_one_half(suite: Path, tmp_path: Path):
    result = evaluate(suite, tmp_path, "--model", "baseline:pixel copy")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["tree"]["locked"]["pixel copy"]["all"]["occluded"]["all"]["all"]["both"]["value"] == 0.5


def test_a_baseline_of_locked_windows_alone_is_evaluated_too(suite: Path, tmp_path: Path):
    result = evaluate(suite, tmp_path, "--model", "baseline:visible copy")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert "visible copy" in scores["tree"]["locked"]
    assert "visible copy" not in scores["tree"]["sliding"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("runs/nothing", "no such run folder"),
        ("baseline:pixel cpy", "did you mean 'pixel copy'"),
    ],
)
def test_a_wrong_model_is_a_one_line_error(suite: Path, tmp_path: Path, model: str, message: str):
    result = evaluate(suite, tmp_path, "--model", model)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_suite_or_window_is_a_one_line_error(suite: Path, tmp_path: Path):
    result = subprocess.run(
        [sys.executable, "-m", "eval", "voe", "--model", "baseline:pixel copy", "--suite", "bultin:x", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert "did you mean builtin:DIR" in result.stderr
    result = evaluate(suite, tmp_path, "--model", f"untrained:{suite / 'recipe.yaml'}", "--contexts", "40")
    assert result.returncode == 2
    assert "longer than the 24" in result.stderr
