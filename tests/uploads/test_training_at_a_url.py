"""A training whose run folder is a URL: uploaded, continued on another machine, read, and without any secret."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from made_training import losses, run_training, write_clips_with_actions, write_recipe

from eval.subject import open_subject
from worldmodel import export, load_model
from worldmodel.config import ConfigError, parse_config
from worldmodel.models.weights_hash import weights_hash
from worldmodel.recipe import Recipe, read_recipe
from worldmodel.runs.session import with_local_run

URL = "s3://bucket/runs/mine"


def test_a_run_at_a_url_is_continued_by_a_machine_that_has_nothing_of_it(server, tmp_path, new_process, capsys):
    recipe = write_recipe(tmp_path, write_clips_with_actions(tmp_path, 10))
    assert run_training(recipe, f"run={URL}") == 0
    expected = dict(server.objects)
    local = Path(with_local_run(read_recipe(recipe, [f"run={URL}"])).run)
    whole = losses(local)

    shutil.rmtree(os.environ["WORLDMODEL_CACHE_DIR"])
    for path in [path for path in server.objects if "00000004" in path or path.endswith("metrics.jsonl")]:
        del server.objects[path]  # as if the machine was lost after step 2
    server.objects["/bucket/runs/mine/metrics.jsonl"] = b"".join(
        expected["/bucket/runs/mine/metrics.jsonl"].splitlines(keepends=True)[:2]
    )
    new_process()
    server.write_faults += [503, "drop"]
    assert run_training(recipe, f"run={URL}") == 0
    assert "resuming" in capsys.readouterr().out
    assert losses(local) == whole
    last = "/bucket/runs/mine/checkpoints/00000004/model.safetensors"
    assert server.objects[last] == expected[last]
    assert "/bucket/runs/mine/lock.json" not in server.objects

    shutil.rmtree(os.environ["WORLDMODEL_CACHE_DIR"])
    model, _ = load_model(URL)
    assert model.size_px == 32
    assert open_subject(URL, torch.device("cpu")).name == "mine"
    assert export.main([URL, "--to", f"model:{tmp_path / 'exported'}"]) == 0
    everything = [*server.objects.values(), *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())]
    assert not [content for content in everything if b"verysecretkey" in content or b"AKIASECRETID" in content]
    assert run_training(recipe, f"run={URL}", "--from-scratch") == 2
    assert "has checkpoints" in capsys.readouterr().err


def put(server, url: str, folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            server.objects[f"{url.removeprefix('s3:/')}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()


def add_evaluation(run: Path, weights: str, step: int, name: str = "voe") -> None:
    (run / name).mkdir()
    protocol = {"model": {"step": step, "hash": weights}, "suite": {"name": "builtin", "trials": 7}}
    (run / name / "protocol.json").write_text(json.dumps(protocol))
    (run / name / "table.md").write_text(f"table of {name}")
    (run / name / "traces.parquet").write_text("large")


def test_the_card_of_a_run_at_a_url_has_the_health_and_the_scores_that_lie_there(server, tmp_path, capsys):
    """Also that of one of its checkpoints, and not what was removed from the URL since."""
    run = tmp_path / "run"
    assert run_training(write_recipe(tmp_path, write_clips_with_actions(tmp_path, 10)), f"run={run}") == 0
    model, _ = load_model(run)
    step = int(json.loads((run / "best.json").read_text())["checkpoint"])
    for name in ("voe", "voe_old"):
        add_evaluation(run, weights_hash(model), step, name)
    put(server, URL, run)

    def card(url: str) -> str:
        assert export.main([url, "--to", f"model:{tmp_path / 'out'}"]) == 0
        return (tmp_path / "out" / "README.md").read_text()

    for url in (f"{URL}/checkpoints/{step:08d}", URL):
        found = card(url)
        assert "table of voe\n" in found
        assert "table of voe_old\n" in found
        assert "Verdict at step" in found
    assert not list((Path(os.environ["WORLDMODEL_CACHE_DIR"]) / "copies").rglob("traces.parquet"))
    for name in ("protocol.json", "table.md"):
        del server.objects[f"/bucket/runs/mine/voe_old/{name}"]
    assert "table of voe_old" not in card(URL)
    add_evaluation(tmp_path / "out", weights_hash(model), step)
    put(server, "s3://bucket/exported", tmp_path / "out")
    assert "table of voe" in card("s3://bucket/exported")


@pytest.mark.parametrize("name", ["run", "upload_to", "init_from", "data.manifest"])
def test_credentials_in_a_url_are_refused_and_not_repeated(tmp_path, name, capsys):
    for url in ("s3://me:topsecret@bucket/run", "s3://bucket/run?X-Amz-Signature=topsecret", "https://h/r?token=topsecret"):
        assert run_training(write_recipe(tmp_path, "m.parquet"), f"{name}={url}") == 2
        told = capsys.readouterr().err
        assert f"{name}: " in told
        assert "must not hold a user name" in told
        assert "topsecret" not in told


@pytest.mark.parametrize(
    "changes",
    [
        "model.target={kind: frozen, run: URL}",
        "data.make=[python, make.py, URL]",
        "data.manifest=[a.parquet, URL]",
    ],
)
def test_credentials_in_any_field_are_refused_before_the_run_is_locked(tmp_path, changes, capsys):
    recipe = write_recipe(tmp_path, "m.parquet")
    assert run_training(recipe, f"run={tmp_path / 'run'}", changes.replace("URL", "https://me:topsecret@host/run")) == 2
    told = capsys.readouterr().err
    assert "must not hold a user name" in told
    assert "topsecret" not in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("target.cache", {"kind": "masked", "target": {"kind": "frozen", "run": "runs/x", "cache": "URL"}}),
        ("frozen_encoder.source", {"kind": "causal", "frozen_encoder": {"source": "URL"}}),
        ("frozen_encoder.cache", {"kind": "causal", "frozen_encoder": {"source": "hf:o/n", "cache": "hf:URL"}}),
    ],
)
def test_every_field_of_a_model_is_checked_for_credentials(name, model):
    model = json.loads(json.dumps(model).replace("URL", "https://me:topsecret@host/run"))
    with pytest.raises(ConfigError, match=rf"model\.{name}: https://\.\.\.: a URL must not hold") as raised:
        parse_config(Recipe, {"model": model}, "recipe")
    assert "topsecret" not in str(raised.value)


def test_a_store_that_cannot_be_written_is_refused(tmp_path, capsys):
    assert run_training(write_recipe(tmp_path, "m.parquet"), "run=https://host/run") == 2
    assert "run: https://host/run is a URL; expected s3:// or gs://" in capsys.readouterr().err
