"""One model on two suites: one command evaluates both and writes one table."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.errors import EvalError
from eval.report.worlds import publish_worlds
from eval.voe.trials import read_trials
from eval.voe.worlds.results import collect

RECIPE = """
window: {frames: 24, fps: 12, size_px: 32}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16, latent_grid: 2}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


@pytest.fixture(scope="module")
def suites(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("worlds")
    (folder / "recipe.yaml").write_text(RECIPE)
    found = [folder / "home", folder / "away"]
    shared = ["--suite", "nano", "--size-px", "32", "--workers", "1", "--quadruplets", "1"]
    flat = ["--world", "flat", "--properties", "permanence,shape,solidity"]
    assert data_prep(["synthesize", str(found[0]), *shared, *flat, "--unseen", "1"]) == 0
    assert data_prep(["synthesize", str(found[1]), *shared, "--world", "flat", "--properties", "colour", "--seed", "1"]) == 0
    return found


@pytest.fixture(scope="module")
def out(suites: list[Path], tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "table"
    arguments = [option for suite in suites for option in ("--suite", f"builtin:{suite}")]
    model = ["--model", f"untrained:{suites[0].parent / 'recipe.yaml'}", "--out", str(folder), "--device", "cpu"]
    assert main(["voe", *arguments, *model]) == 0
    return folder


def test_one_command_evaluates_several_suites_and_writes_one_table(out: Path):
    assert {"home", "away", "worlds.json", "worlds.md", "worlds.html"} <= {path.name for path in out.iterdir()}
    found = json.loads((out / "worlds.json").read_text())
    assert [world["name"] for world in found["worlds"]] == ["flat (home)", "flat, unseen looks", "flat (away)"]
    rows = {row["name"]: row for row in found["worlds"][0]["rows"]["adjusted"]}
    assert list(rows) == ["mean", "what went in", "permanence", "shape", "solidity"]
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"]
        assert row["baselines"]["latent copy"] == row["baselines"]["pixel copy"] == 0.5
        assert "shuffled context" in row["baselines"]
    both = (rows["permanence"]["value"] + rows["shape"]["value"]) / 2
    assert rows["what went in"]["value"] == pytest.approx(both)
    assert "| flat, unseen looks | mean | 3 |" in (out / "worlds.md").read_text()
    assert re.search(r"<th scope=.row.>flat \(away\)", (out / "worlds.html").read_text())


def test_a_finished_evaluation_is_not_repeated_and_one_without_what_is_asked_for_is(
    suites: list[Path], out: Path, tmp_path: Path, capsys
):
    folder = tmp_path / "table"
    shutil.copytree(out, folder)
    arguments = [option for suite in suites for option in ("--suite", f"builtin:{suite}")]
    arguments += ["--model", f"untrained:{suites[0].parent / 'recipe.yaml'}", "--out", str(folder), "--device", "cpu"]
    made = [json.loads((folder / name / "protocol.json").read_text())["created"] for name in ("home", "away")]
    assert main(["voe", *arguments]) == 0
    said = capsys.readouterr().err
    for name in ("home", "away"):
        assert f"eval voe: {folder / name} is finished and is not repeated; --fresh repeats it" in said.splitlines()
    assert [json.loads((folder / name / "protocol.json").read_text())["created"] for name in ("home", "away")] == made

    assert main(["voe", *arguments, "--ablate-whitening", "--maps"]) == 0
    assert "is not repeated" not in capsys.readouterr().err
    for name in ("home", "away"):
        scores = json.loads((folder / name / "scores.json").read_text())
        assert any("per token" in scorer for scorer in scores["tree"]["locked"])
        videos = {video.video_id for trial in read_trials(folder / name / "trials.json") for video in trial.videos}
        assert len(list((folder / name / "maps").iterdir())) == len(videos)
    assert main(["voe", *arguments]) == 0  # it has more than what is asked for
    assert capsys.readouterr().err.count("is finished and is not repeated") == 2


def test_the_page_links_to_the_report_of_each_evaluation(out: Path, tmp_path: Path):
    assert re.findall(r'<a href="(.+?)">', (out / "worlds.html").read_text())[0] == "home/report.html"
    (tmp_path / 'a "b" #c').symlink_to(out / "home")
    publish_worlds([tmp_path / 'a "b" #c'], tmp_path / "table")
    (link,) = set(re.findall(r'<a href="(.+?)">', (tmp_path / "table" / "worlds.html").read_text()))
    assert link == "../a%20%22b%22%20%23c/report.html"


def test_a_property_has_the_same_score_in_the_table_as_in_its_own_evaluation(out: Path):
    scores = json.loads((out / "home" / "scores.json").read_text())
    cell = scores["tree"]["locked"]["adjusted"]["permanence"]["occluded"]["all"]["all"]["both"]
    rows = collect([out / "home"]).worlds[0].rows["adjusted"]
    mine = next(row for row in rows if row.name == "permanence")
    assert (mine.value, mine.low, mine.high, mine.n) == (cell["value"], cell["low"], cell["high"], cell["n"])


def test_evaluations_of_two_models_are_refused(out: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("protocol.json", "trials.json", "traces.parquet"):
        (other / name).write_bytes((out / "home" / name).read_bytes())
    text = (other / "protocol.json").read_text()
    model = json.loads(text)["model"]["hash"]
    (other / "protocol.json").write_text(text.replace(model, "0" * len(model)))
    with pytest.raises(EvalError, match="this table shows one model"):
        publish_worlds([out / "home", other], tmp_path / "table")


def test_all_suites_are_opened_before_the_first_is_evaluated(suites: list[Path], tmp_path: Path, capsys):
    listed = ["--suite", f"builtin:{suites[0]}", "--suite", "bultin:typo"]
    assert main(["voe", *listed, "--model", "baseline:pixel copy", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "did you mean builtin:DIR" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_suites_in_folders_of_one_name_are_refused(suites: list[Path], tmp_path: Path, capsys):
    twice = ["--suite", f"builtin:{suites[0]}", "--suite", f"builtin:{tmp_path / 'home'}"]
    model = ["--model", f"untrained:{suites[0].parent / 'recipe.yaml'}", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["voe", *twice, *model]) == 2
    assert "two folders are called home" in capsys.readouterr().err
