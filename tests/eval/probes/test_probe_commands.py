"""`eval probe` and `eval forecast`, whole, on few films: what they leave, and what they refuse in a line."""

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
from eval.commands import probe as probing
from eval.errors import EvalError
from eval.probes.layers import check_layered, coarse
from worldmodel.manifest import Clip, Manifest, write_manifest
from worldmodel.video import probe

RECIPE = """
window: {frames: 24, fps: 12, size_px: 64}
model:
  kind: causal
  encoder: {patch_px: 16, width: 16, depth: 1, heads: 2, latent_dim: 8, head_width: 16}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 8}
  rollout_steps: 0
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A nano suite of one property, 40 lawful films, and a recipe."""
    folder = tmp_path_factory.mktemp("films")
    assert data_prep(["synthesize", str(folder), "--suite", "nano", "--properties", "permanence", "--workers", "1"]) == 0
    assert data_prep(["synthesize", str(folder / "lawful"), "--train", "40", "--workers", "1"]) == 0
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def run(command: str, films: Path, out: Path, *options: str, data: str = "lawful/train.parquet") -> int:
    model = ["--model", f"untrained:{films / 'recipe.yaml'}"]
    return main([command, *model, "--data", str(films / data), "--out", str(out), *options])


def arguments(films: Path, out: Path, *options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    probing.add_arguments(parser)
    data = str(films / "lawful/train.parquet")
    return parser.parse_args(["--model", f"untrained:{films / 'recipe.yaml'}", "--data", data, "--out", str(out), *options])


@pytest.fixture(scope="module")
def probed(films: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("probed")
    assert run("probe", films, out, "--split", "train", "--folds", "3", "--horizons", "0.25,0.5") == 0
    return out


def test_what_was_stopped_goes_on_and_says_the_same(films: Path, tmp_path: Path, monkeypatch):
    ask = ("--split", "train", "--folds", "3", "--horizons", "0.25", "--only", "position,size,colour")
    assert run("probe", films, tmp_path / "whole", *ask) == 0
    asked, real = [], probing.encoded

    def stops(question, recordings):
        asked.append(question.prop.name)
        if asked.count("size") == 1 and asked[-1] == "size":
            raise KeyboardInterrupt
        return real(question, recordings)

    monkeypatch.setattr(probing, "encoded", stops)
    with pytest.raises(KeyboardInterrupt):
        probing.run(arguments(films, tmp_path / "stopped", *ask))
    assert not (tmp_path / "stopped" / "probe.json").exists()
    probing.run(arguments(films, tmp_path / "stopped", *ask))
    assert asked == ["position", "size", "size", "colour"]
    whole, stopped = (json.loads((tmp_path / name / "probe.json").read_text()) for name in ("whole", "stopped"))
    assert stopped | {"made": None} == whole | {"made": None}
    assert not (tmp_path / "stopped" / "answers").exists()


def test_an_evaluation_that_is_none_is_refused_before_anything_is_encoded(films: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delattr(probing, "gather")
    assert run("probe", films, tmp_path, "--split", "train", "--physics", str(tmp_path / "gone")) == 2
    assert "gone has no protocol.json: it is no finished evaluation" in lines(capsys)[0]


def test_another_evaluation_asks_nothing_anew_but_why_its_quadruplets_fail(films: Path, tmp_path: Path, monkeypatch):
    asked: list[str] = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "protocol.json").write_text(name)
    real = probing.encoded
    monkeypatch.setattr(probing, "encoded", lambda question, _: [asked.append(question.prop.name), real(question, _)][1])
    monkeypatch.setattr(probing, "open_quadruplets", lambda out, *_: out.name)
    monkeypatch.setattr(probing, "triage", lambda quadruplets, *_: [asked.append(quadruplets), {}][1])
    monkeypatch.setattr(probing, "write_json", lambda *_: pytest.fail("stopped"))  # answers stay
    ask = ("--split", "train", "--folds", "3", "--horizons", "0.25", "--only", "position", "--physics")
    for name in ("one", "one", "other"):
        with pytest.raises(pytest.fail.Exception):
            probing.run(arguments(films, tmp_path / "out", *ask, str(tmp_path / name)))
    assert asked == ["position", "one", "other"]


def test_only_what_is_asked_for_is_probed(films: Path, tmp_path: Path, capsys):
    ask = ["--split", "train", "--folds", "3", "--horizons", "0.25", "--only"]
    assert run("probe", films, tmp_path, *ask, "position") == 0
    found = json.loads((tmp_path / "probe.json").read_text())
    assert list(found["encoded"]) == list(found["properties"]) == ["position"]
    assert found["tracking"] is None
    assert run("probe", films, tmp_path, *ask, "posture") == 2
    assert "--only posture: posture is none of position, velocity" in capsys.readouterr().err


def test_every_number_has_n_an_interval_and_what_guessing_gets(probed: Path):
    found = json.loads((probed / "probe.json").read_text())
    scores = [score for kinds in found["encoded"].values() for sources in kinds.values() for score in sources.values()]
    scores += [
        score
        for kinds in found["predicted"].values()
        for times in kinds.values()
        for sources in times.values()
        for hows in sources.values()
        for score in hows.values()
    ]
    assert len(scores) > 20
    assert all({"value", "low", "high", "n", "rows", "chance", "metric"} <= score.keys() for score in scores)
    sure = [score for score in scores if score["n"] >= 20]
    assert len(sure) > 10
    assert all(score["low"] - 0.01 <= score["value"] <= score["high"] + 0.01 for score in sure)
    assert {"model", "pixels"} <= found["encoded"]["position"]["linear"].keys()
    ahead = found["predicted"]["position"]["linear"]["0.5"]
    assert {"model: forecast", "model: copy", "model: what came", "pixels: copy", "constant velocity"} <= ahead.keys()


def test_pixels_tell_where_a_body_is(probed: Path):
    """Thirty films are enough to read its place off the picture, roughly; else the truth would not be of these frames."""
    found = json.loads((probed / "probe.json").read_text())
    assert found["encoded"]["position"]["linear"]["pixels"]["low"] > 0


def test_the_table_of_numbers_holds_what_the_json_holds(probed: Path):
    found = json.loads((probed / "probe.json").read_text())
    with (probed / "probe.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [
        it for it in rows if (it["part"], it["of"], it["probe"], it["source"]) == ("encoded", "position", "linear", "pixels")
    ]
    assert float(row["value"]) == found["encoded"]["position"]["linear"]["pixels"]["value"]
    assert {it["part"] for it in rows} == {"encoded", "predicted", "tracking"}
    assert imread(probed / "readings.png").ndim == imread(probed / "tracking.png").ndim == 3


def test_what_cannot_be_probed_is_said_and_the_rest_goes_on(probed: Path):
    """Forty films hold two of different depth too seldom for three folds."""
    found = json.loads((probed / "probe.json").read_text())
    assert "depth order" not in found["encoded"]
    assert any(note.startswith("depth order") and "too few" in note for note in found["notes"])


def test_the_card_and_its_numbers(films: Path, tmp_path: Path):
    assert run("forecast", films, tmp_path, "--split", "train", "--folds", "3") == 0
    found = json.loads((tmp_path / "forecast.json").read_text())
    horizons = len(found["horizons_s"])
    assert horizons == 24 - 8  # a third of the window is seen
    assert found["error"]["direct"][7] is not None
    assert found["error"]["direct"][8] is None  # beyond what it forecasts directly
    assert all(it is not None for it in found["error"]["open loop"])
    for by_baseline in (*found["skill"].values(), *found["position_skill"].values()):
        assert all(len(curve) == horizons for curve in by_baseline.values())
    at = next(k for k, it in enumerate(found["position_px"]["constant velocity"]) if it)
    assert found["position_px"]["constant velocity"][at]["value"] < found["position_px"]["last place"][at]["value"]
    assert "step" not in (tmp_path / "forecast.md").read_text().splitlines()[0]  # it never trained
    assert imread(tmp_path / "forecast.png").ndim == 3


@pytest.mark.slow
def test_why_quadruplets_fail(films: Path, tmp_path: Path):
    model = f"untrained:{films / 'recipe.yaml'}"
    assert main(["physics", "--model", model, "--suite", f"builtin:{films}", "--out", str(tmp_path / "physics")]) == 0
    options = ("--split", "train", "--folds", "3", "--physics", str(tmp_path / "physics"))
    assert run("probe", films, tmp_path / "out", *options) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())["triage"]
    (name, _) = found["properties"]
    assert name == "all"
    everything = found["properties"]["permanence"]
    assert everything["n"] == 2  # spliced test quadruplets of a nano suite
    # contexts end in one and the same picture: nothing that looks at it alone can remember
    assert everything["stages"]["predicted, model: copy"]["value"] == 0.5
    assert everything["stages"]["remembered, pixels: copy"]["value"] == 0.5
    assert sum(everything["blame"].values()) == everything["failed"]
    assert "Why quadruplets fail" in (tmp_path / "out" / "probe.md").read_text()
    (films / "other.yaml").write_text(RECIPE.replace("width: 24", "width: 32"))
    other = ["probe", "--model", f"untrained:{films / 'other.yaml'}", "--data", str(films / "lawful/train.parquet")]
    assert main([*other, "--out", str(tmp_path / "other"), *options]) == 2


@pytest.fixture
def labelled(make_video, tmp_path: Path):
    """labelled(labels): videos of 24 frames whose brightness is their class, divided into train, val and test; the manifest."""

    def write(labels=("dark", "light"), splits=("train", "val", "test")) -> str:
        clips, rng = [], np.random.default_rng(0)
        for number in range(24):
            kind = number % len(labels)
            shade = rng.integers(40 + 120 * kind, 70 + 120 * kind, (1, 1, 1, 3))
            frames = np.broadcast_to(shade, (24, 64, 80, 3)).astype(np.uint8)
            info = probe(make_video(tmp_path / f"{number}.mp4", frames, fps=12))
            split = splits[(number // 2) % len(splits)]
            size = (info.width, info.height, info.rotation, info.codec)
            name = f"{number:016d}"
            path = str(tmp_path / f"{number}.mp4")
            clips.append(Clip(name, path, None, 0.0, 2.0, 12.0, 24, *size, split, labels[kind], None, "shades", name))
        write_manifest(tmp_path / "clips.parquet", clips, command="test", config={})
        return str(tmp_path / "clips.parquet")

    return write


def test_classes_of_labelled_clips(films: Path, labelled, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eval.probes.attentive.UPDATES", 40)
    assert run("probe", films, tmp_path / "out", "--labels", data=labelled()) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    for kind in ("linear", "attentive"):
        score = found["classes"][kind]["pixels"]
        assert (score["value"], score["n"], score["chance"]) == (1.0, 8, 0.5)
        losses = score["val_loss"]
        assert f"{score['rate']:g}" == min(losses, key=losses.get)


def lines(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("eval ")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split", "test"], "no clip has split 'test'; it has 38 train, 2 val"),
        ([], "has 2 val films, too few for 5 folds"),
        (["--split", "train", "--context-s", "9"], "--context-s 9 is 108 frames at 12 fps; the model sees 1 to 24"),
        (["--split", "train", "--context-s", "2"], "a context and one step after it are 25"),
        (["--split", "train", "--horizons", "0.5,3"], "--horizons 3: after the shortest context films leave"),
        (["--labels"], "no clip has split 'test'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(films: Path, tmp_path: Path, capsys, options, said):
    assert run("probe", films, tmp_path, *options) == 2
    (line,) = lines(capsys)
    assert said in line


def test_other_data_than_it_needs_is_one_line(films: Path, labelled, tmp_path: Path, capsys):
    unlabelled = labelled(labels=(None, None))
    assert run("probe", films, tmp_path, "--labels", data=unlabelled) == 2
    assert "24 of 24 clips have no label" in lines(capsys)[0]
    assert run("probe", films, tmp_path, data=unlabelled) == 2
    assert "has 8 val films, too few for 5 folds" in lines(capsys)[0]
    assert run("probe", films, tmp_path, "--folds", "2", data=unlabelled) == 2
    assert "the manifest names no truth" in lines(capsys)[0]
    one = labelled(labels=("same", "same"))
    assert run("probe", films, tmp_path, "--labels", data=one) == 2
    assert "nothing to tell apart" in lines(capsys)[0]
    for command in ("probe", "forecast"):
        assert run(command, films, tmp_path, "--split", "test", data="suite.parquet") == 2
        assert "half of these films are impossible" in lines(capsys)[0]
    assert main(["forecast", "--model", "blind:pixel copy", "--data", unlabelled, "--out", str(tmp_path)]) == 2
    assert "has no latents" in lines(capsys)[0]


def test_films_without_truth_have_a_card_without_position(films: Path, labelled, tmp_path: Path):
    assert run("forecast", films, tmp_path / "out", data=labelled()) == 0
    found = json.loads((tmp_path / "out" / "forecast.json").read_text())
    assert "position_px" not in found
    assert "No position is read: the films have no truth." in found["notes"]
    assert found["data"]["films"] == len(Manifest.open(tmp_path / "clips.parquet").rows("val"))


@pytest.fixture(scope="module")
def layered(films: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("layered")
    assert run("probe", films, out, "--split", "train", "--folds", "3", "--horizons", "0.5", "--layers") == 0
    return out


def test_layers_stand_beside_pixels_with_interval_and_chance(layered: Path):
    found = json.loads((layered / "probe.json").read_text())["layers"]
    assert found["names"] == ["patches", "block 1", "output", "predictor block 1"]
    position = found["scores"]["position"]
    assert set(position) == {*found["names"], "pixels"}
    scores = [score for by_layer in found["scores"].values() for nets in by_layer.values() for score in nets.values()]
    assert all({"value", "low", "high", "n", "rows", "chance"} <= score.keys() for score in scores)
    assert all(score["rows"] <= 4 * score["n"] for score in scores)
    assert position["patches"]["model"]["low"] > 0  # patches are pixels, linearly: a body's place can be read
    with (layered / "probe.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "layers"]
    (row,) = [it for it in rows if (it["of"], it["layer"]) == ("position", "output")]
    assert float(row["value"]) == position["output"]["model"]["value"]
    assert "Encoded where?" in (layered / "probe.md").read_text()
    assert imread(layered / "layers.png").ndim == 3


def test_layers_of_labelled_clips(films: Path, labelled, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("eval.probes.attentive.UPDATES", 40)
    shallow = films / "shallow.yaml"
    shallow.write_text(RECIPE.replace("depth: 1, heads: 2, latent", "depth: 0, heads: 2, latent"))
    command = ["probe", "--model", f"untrained:{shallow}", "--data", labelled(), "--out", str(tmp_path / "out")]
    assert main([*command, "--labels", "--layers"]) == 0
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert found["layers"]["names"] == ["patches", "output", "predictor block 1"]
    assert found["layers"]["scores"]["label"]["patches"]["model"]["value"] == 1.0  # brightness: any layer has it
    assert any("this encoder has no blocks" in note for note in found["notes"])
    assert imread(tmp_path / "out" / "layers.png").ndim == imread(tmp_path / "out" / "classes.png").ndim == 3


def test_a_model_that_shows_no_layers_is_told_so():
    with pytest.raises(EvalError, match="--layers: hf:there does not show what its layers hold"):
        check_layered({"model": object()}, "hf:there")  # type: ignore[dict-item]


def test_wide_layers_are_narrowed_and_their_place_kept():
    picture = torch.zeros(1, 1, 16, 16, 3)
    picture[0, 0, 2, 5] = 4.0
    seen = coarse(picture.flatten(2, 3))
    assert seen.shape == (1, 1, 64, 3)
    assert seen[0, 0, 8 + 2].tolist() == [1.0] * 3  # row 1, column 2, a quarter of it
    assert coarse(picture[:, :, :3].flatten(2, 3)).shape == (1, 1, 48, 3)  # no square: as it is
