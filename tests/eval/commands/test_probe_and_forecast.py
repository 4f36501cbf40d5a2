"""The commands `eval probe` and `eval forecast` on few videos: their results and one-line errors."""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from data_prep.__main__ import main as data_prep
from eval.__main__ import main
from eval.commands import probe as probe_command
from eval.errors import EvalError
from eval.probes import physics
from eval.probes.layers import check_layered, coarse
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.video import inspect_video

RECIPE = """
window: {frames: 24, fps: 12, size_px: 64}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """A nano suite of one property, 40 possible videos, and a recipe."""
    folder = tmp_path_factory.mktemp("videos")
    assert data_prep(["synthesize", str(folder), "--suite", "nano", "--properties", "permanence", "--workers", "1"]) == 0
    assert data_prep(["synthesize", str(folder / "possible"), "--train", "40", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def run(command: str, videos: Path, out: Path, *options: str, data: str = "possible/train.parquet") -> int:
    model = ["--model", f"untrained:{videos / 'recipe.yaml'}"]
    return main([command, *model, "--data", str(videos / data), "--out", str(out), *options])


def arguments(videos: Path, out: Path, *options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    probe_command.add_arguments(parser)
    data = str(videos / "possible/train.parquet")
    return parser.parse_args(["--model", f"untrained:{videos / 'recipe.yaml'}", "--data", data, "--out", str(out), *options])


@pytest.fixture(scope="module")
def probed(videos: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("probed")
    assert run("probe", videos, out, "--split", "train", "--folds", "3", "--horizons", "0.25,0.5") == 0
    return out


def test_an_interrupted_command_resumes_with_the_same_result(videos: Path, tmp_path: Path, monkeypatch):
    flags = ("--split", "train", "--folds", "3", "--horizons", "0.25", "--only", "position,size,colour")
    assert run("probe", videos, tmp_path / "whole", *flags) == 0
    evaluated, real = [], physics.evaluate_encoded

    def interrupted(task, latents):
        evaluated.append(task.prop.name)
        if evaluated.count("size") == 1 and evaluated[-1] == "size":
            raise KeyboardInterrupt
        return real(task, latents)

    monkeypatch.setattr(physics, "evaluate_encoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe_command.run(arguments(videos, tmp_path / "stopped", *flags))
    assert not (tmp_path / "stopped" / "probe.json").exists()
    probe_command.run(arguments(videos, tmp_path / "stopped", *flags))
    assert evaluated == ["position", "size", "size", "colour"]
    whole, stopped = (json.loads((tmp_path / name / "probe.json").read_text()) for name in ("whole", "stopped"))
    assert stopped | {"made": None} == whole | {"made": None}
    assert not (tmp_path / "stopped" / "answers").exists()


def test_a_folder_without_voe_results_is_refused_before_anything_is_encoded(videos: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delattr(physics, "collect_latents")
    assert run("probe", videos, tmp_path, "--split", "train", "--voe-results", str(tmp_path / "gone")) == 2
    assert "gone has no protocol.json: it is not a finished evaluation" in lines(capsys)[0]


def test_other_voe_results_repeat_the_failure_analysis_only(videos: Path, tmp_path: Path, monkeypatch):
    done: list[str] = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "protocol.json").write_text(name)
    real = physics.evaluate_encoded
    monkeypatch.setattr(physics, "evaluate_encoded", lambda task, entry: [done.append(task.prop.name), real(task, entry)][1])
    monkeypatch.setattr(probe_command, "open_quadruplets", lambda out, *_: out.name)
    monkeypatch.setattr(probe_command, "analyse_failures", lambda quadruplets, *_: [done.append(quadruplets), {}][1])
    monkeypatch.setattr(probe_command, "write_json", lambda *_: pytest.fail("interrupted"))  # the cache stays
    flags = ("--split", "train", "--folds", "3", "--horizons", "0.25", "--only", "position", "--voe-results")
    for name in ("one", "one", "other"):
        with pytest.raises(pytest.fail.Exception):
            probe_command.run(arguments(videos, tmp_path / "out", *flags, str(tmp_path / name)))
    assert done == ["position", "one", "other"]


def test_only_the_chosen_properties_are_probed(videos: Path, tmp_path: Path, capsys):
    flags = ["--split", "train", "--folds", "3", "--horizons", "0.25", "--only"]
    assert run("probe", videos, tmp_path, *flags, "position") == 0
    found = json.loads((tmp_path / "probe.json").read_text())
    assert list(found["encoded"]) == list(found["properties"]) == ["position"]
    assert found["tracking"] is None
    assert run("probe", videos, tmp_path, *flags, "posture") == 2
    assert "--only posture: posture is not one of position, velocity" in capsys.readouterr().err


def test_every_score_has_n_an_interval_and_the_chance_level(probed: Path):
    found = json.loads((probed / "probe.json").read_text())
    scores = [score for kinds in found["encoded"].values() for sources in kinds.values() for score in sources.values()]
    scores += [
        score
        for kinds in found["predicted"].values()
        for times in kinds.values()
        for sources in times.values()
        for by_probe in sources.values()
        for score in by_probe.values()
    ]
    assert len(scores) > 20
    assert all({"value", "low", "high", "n", "rows", "chance", "metric"} <= score.keys() for score in scores)
    many = [score for score in scores if score["n"] >= 20]
    assert len(many) > 10
    assert all(score["low"] - 0.01 <= score["value"] <= score["high"] + 0.01 for score in many)
    assert {"model", "pixels"} <= found["encoded"]["position"]["linear"].keys()
    ahead = found["predicted"]["position"]["linear"]["0.5"]
    assert {"model: forecast", "model: copy last", "model: target", "pixels: copy last", "constant velocity"} <= ahead.keys()


def test_the_position_of_a_body_is_read_from_pixels(probed: Path):
    """Forty videos are enough for a rough position if the ground truth belongs to these frames."""
    found = json.loads((probed / "probe.json").read_text())
    assert found["encoded"]["position"]["linear"]["pixels"]["low"] > 0


def test_the_csv_file_has_the_numbers_of_the_json_file(probed: Path):
    found = json.loads((probed / "probe.json").read_text())
    with (probed / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [
        entry
        for entry in rows
        if (entry["part"], entry["of"], entry["probe"], entry["source"]) == ("encoded", "position", "linear", "pixels")
    ]
    assert float(row["value"]) == found["encoded"]["position"]["linear"]["pixels"]["value"]
    assert {entry["part"] for entry in rows} == {"encoded", "predicted", "tracking"}
    assert imread(probed / "properties.png").ndim == imread(probed / "tracking.png").ndim == 3


def test_a_property_that_cannot_be_probed_is_noted_and_the_others_are_probed(probed: Path):
    """In forty videos two bodies at different depths are too rare for three folds."""
    found = json.loads((probed / "probe.json").read_text())
    assert "depth order" not in found["encoded"]
    assert any(note.startswith("depth order") and "too few" in note for note in found["notes"])


def test_forecast_errors_and_their_figure(videos: Path, tmp_path: Path):
    assert run("forecast", videos, tmp_path, "--split", "train", "--folds", "3") == 0
    found = json.loads((tmp_path / "forecast.json").read_text())
    horizons = len(found["horizons_s"])
    assert horizons == 24 - 8  # the context is a third of the window
    assert found["error"]["direct"][7] is not None
    assert found["error"]["direct"][8] is None  # beyond direct forecasts
    assert all(entry is not None for entry in found["error"]["open loop"])
    for by_baseline in (*found["skill"].values(), *found["position_skill"].values()):
        assert all(len(curve) == horizons for curve in by_baseline.values())
    at = next(k for k, entry in enumerate(found["position_px"]["constant velocity"]) if entry)
    assert found["position_px"]["constant velocity"][at]["value"] < found["position_px"]["last seen position"][at]["value"]
    assert "step" not in (tmp_path / "forecast.md").read_text().splitlines()[0]  # the model is untrained
    assert imread(tmp_path / "forecast.png").ndim == 3


@pytest.mark.slow
def test_failure_analysis_of_quadruplets(videos: Path, tmp_path: Path):
    model = f"untrained:{videos / 'recipe.yaml'}"
    assert main(["voe", "--model", model, "--suite", f"builtin:{videos}", "--out", str(tmp_path / "voe")]) == 0
    options = ("--split", "train", "--folds", "3", "--voe-results", str(tmp_path / "voe"))
    assert run("probe", videos, tmp_path / "out", *options) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())["failures"]
    (name, _) = found["properties"]
    assert name == "all"
    everything = found["properties"]["permanence"]
    assert everything["n"] == 2  # spliced test quadruplets of a nano suite
    # all contexts end in the same picture, which contains nothing to remember
    assert everything["stages"]["predicted, model: copy last"]["value"] == 0.5
    assert everything["stages"]["remembered, pixels: copy last"]["value"] == 0.5
    assert sum(everything["first_failed_stage"].values()) == everything["failed"]
    assert "Why quadruplets fail" in (tmp_path / "out" / "probe.md").read_text()
    (videos / "other.yaml").write_text(RECIPE.replace("width: 24", "width: 32"))
    other = ["probe", "--model", f"untrained:{videos / 'other.yaml'}", "--data", str(videos / "possible/train.parquet")]
    assert main([*other, "--out", str(tmp_path / "other"), *options]) == 2


@pytest.fixture
def labelled(make_video, tmp_path: Path):
    """labelled(labels) -> manifest of videos of 24 frames whose brightness shows their class, in train, val and test."""

    def write(labels=("dark", "light"), splits=("train", "val", "test")) -> str:
        clips, rng = [], np.random.default_rng(0)
        for number in range(24):
            kind = number % len(labels)
            shade = rng.integers(40 + 120 * kind, 70 + 120 * kind, (1, 1, 1, 3))
            frames = np.broadcast_to(shade, (24, 64, 80, 3)).astype(np.uint8)
            info = inspect_video(make_video(tmp_path / f"{number}.mp4", frames, fps=12))
            split = splits[(number // 2) % len(splits)]
            size = (info.width, info.height, info.rotation, info.codec)
            name = f"{number:016d}"
            path = str(tmp_path / f"{number}.mp4")
            clips.append(Clip(name, path, None, 0.0, 2.0, 12.0, 24, *size, split, labels[kind], None, "shades", name))
        write_manifest(tmp_path / "clips.parquet", clips, command="test", config={})
        return str(tmp_path / "clips.parquet")

    return write


def test_labelled_clips_are_classified(videos: Path, labelled, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eval.probes.fitting.attentive.STEPS", 40)
    assert run("probe", videos, tmp_path / "out", "--labels", data=labelled()) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    for kind in ("linear", "attentive"):
        score = found["classes"][kind]["pixels"]
        assert (score["value"], score["n"], score["chance"]) == (1.0, 8, 0.5)
        losses = score["val_loss"]
        assert f"{score['learning_rate']:g}" == min(losses, key=losses.get)


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("eval ")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "test"], "no clip has split 'test'; it has 38 train, 2 val"),
        ([], "has 2 val videos, too few for 5 folds"),
        (["--split", "train", "--context-s", "9"], "--context-s 9 is 108 frames at 12 fps; the model takes 1 to 24"),
        (["--split", "train", "--context-s", "2"], "at least 25 are needed for a context"),
        (["--split", "train", "--horizons", "0.5,3"], "--horizons 3: expected"),
        (["--labels"], "no clip has split 'test'"),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(videos: Path, tmp_path: Path, capsys, options, message):
    assert run("probe", videos, tmp_path, *options) == 2
    (line,) = lines(capsys)
    assert message in line


def test_unsuitable_data_is_refused_in_one_line(videos: Path, labelled, tmp_path: Path, capsys):
    unlabelled = labelled(labels=(None, None))
    assert run("probe", videos, tmp_path, "--labels", data=unlabelled) == 2
    assert "24 of 24 clips have no label" in lines(capsys)[0]
    assert run("probe", videos, tmp_path, data=unlabelled) == 2
    assert "has 8 val videos, too few for 5 folds" in lines(capsys)[0]
    assert run("probe", videos, tmp_path, "--folds", "2", data=unlabelled) == 2
    assert "the manifest lists no ground truth" in lines(capsys)[0]
    one = labelled(labels=("same", "same"))
    assert run("probe", videos, tmp_path, "--labels", data=one) == 2
    assert "at least 2 are needed" in lines(capsys)[0]
    for command in ("probe", "forecast"):
        assert run(command, videos, tmp_path, "--split", "test", data="suite.parquet") == 2
        assert "half of these videos are impossible" in lines(capsys)[0]
    assert main(["forecast", "--model", "baseline:pixel copy", "--data", unlabelled, "--out", str(tmp_path)]) == 2
    assert "has no latents" in lines(capsys)[0]


def test_videos_without_ground_truth_have_no_errors_of_position(videos: Path, labelled, tmp_path: Path):
    assert run("forecast", videos, tmp_path / "out", data=labelled()) == 0
    found = json.loads((tmp_path / "out" / "forecast.json").read_text())
    assert "position_px" not in found
    assert "No errors of position: the videos have no ground truth." in found["notes"]
    assert found["data"]["videos"] == len(Manifest.open(tmp_path / "clips.parquet").rows("val"))


@pytest.fixture(scope="module")
def layered(videos: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("layered")
    assert run("probe", videos, out, "--split", "train", "--folds", "3", "--horizons", "0.5", "--layers") == 0
    return out


def test_scores_of_layers_have_intervals_and_chance_and_pixels_beside(layered: Path):
    found = json.loads((layered / "probe.json").read_text())["layers"]
    assert found["names"] == ["patches", "block 1", "output", "predictor block 1"]
    position = found["scores"]["position"]
    assert set(position) == {*found["names"], "pixels"}
    scores = [score for by_layer in found["scores"].values() for nets in by_layer.values() for score in nets.values()]
    assert all({"value", "low", "high", "n", "rows", "chance"} <= score.keys() for score in scores)
    assert all(score["rows"] <= 4 * score["n"] for score in scores)
    assert position["patches"]["model"]["low"] > 0  # patches are a linear map of pixels, which show the position
    with (layered / "probe.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "layers"]
    (row,) = [entry for entry in rows if (entry["of"], entry["layer"]) == ("position", "output")]
    assert float(row["value"]) == position["output"]["model"]["value"]
    assert "Encoded by layer" in (layered / "probe.md").read_text()
    assert imread(layered / "layers.png").ndim == 3


def test_layers_of_labelled_clips_are_classified(videos: Path, labelled, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eval.probes.fitting.attentive.STEPS", 40)
    shallow = videos / "shallow.yaml"
    shallow.write_text(RECIPE.replace("depth: 1, heads: 2, latent", "depth: 0, heads: 2, latent"))
    command = ["probe", "--model", f"untrained:{shallow}", "--data", labelled(), "--out", str(tmp_path / "out")]
    assert main([*command, "--labels", "--layers"]) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert found["layers"]["names"] == ["patches", "output", "predictor block 1"]
    assert found["layers"]["scores"]["label"]["patches"]["model"]["value"] == 1.0  # every layer shows the brightness
    assert any("this encoder has no blocks" in note for note in found["notes"])
    assert imread(tmp_path / "out" / "layers.png").ndim == imread(tmp_path / "out" / "classes.png").ndim == 3


def test_a_model_without_layers_is_refused():
    with pytest.raises(EvalError, match="--layers: hf:there does not expose its layers"):
        check_layered({"model": object()}, "hf:there")  # type: ignore[dict-item]


def test_layers_with_many_tokens_are_averaged_to_a_coarser_grid():
    picture = torch.zeros(1, 1, 16, 16, 3)
    picture[0, 0, 2, 5] = 4.0
    pooled = coarse(picture.flatten(2, 3))
    assert pooled.shape == (1, 1, 64, 3)
    assert pooled[0, 0, 8 + 2].tolist() == [1.0] * 3  # row 1, column 2, a quarter of it
    assert coarse(picture[:, :, :3].flatten(2, 3)).shape == (1, 1, 48, 3)  # not square: unchanged
