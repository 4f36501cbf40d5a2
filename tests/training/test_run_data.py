"""A run finds its data from any working directory and after a move, never uses other data, and works without data."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from worldmodel.checkpoint import Checkpoint, find_checkpoint, latest_checkpoint, write_state
from worldmodel.config import load_config, parse_config
from worldmodel.manifest import Manifest, ManifestError, write_manifest
from worldmodel.recipe import Recipe, changed_fields, read_recipe
from worldmodel.rollout import main as rollout
from worldmodel.rollouts.decoder_fitting import fit_decoder
from worldmodel.runs.held_out import MAX_SAVED_BYTES, load_held_out, save_held_out
from worldmodel.runs.run_data import find_data, resolve_paths, run_folder_of


@pytest.fixture(scope="module")
def trained(videos: Path, tmp_path_factory: pytest.TempPathFactory, train_once) -> Path:
    """A project folder with data/videos.parquet and runs/run, which named the data by a relative path."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(videos.parent, project / "data")
    (project / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(project)
        train_once(project / "runs", "train.max_steps=5", "data.manifest=data/videos.parquet", "decoder.max_steps=5")
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """The moved project. The paths in its run do not exist any more, or belong to the other copy."""
    shutil.copytree(trained, tmp_path / "moved")
    for file in (tmp_path / "moved" / "runs" / "run").rglob("*"):
        if file.name in ("state.json", "recipe.yaml"):
            text = file.read_text().replace(str(trained), "/gone/project")
            file.write_text(text)
            if file.name == "state.json":
                write_state(file.parent, json.loads(text))
    return tmp_path / "moved"


@pytest.mark.parametrize(
    ("folder", "run"),
    [
        ("a/run/checkpoints/00000500", "a/run"),
        ("a/run/checkpoints/damaged-00000500", "a/run"),
        ("a/out/mine", "a/out/mine"),
        ("a/out/00000500", "a/out/00000500"),
        ("a/checkpoints/mine", "a/checkpoints/mine"),
    ],
)
def test_a_checkpoint_belongs_to_the_run_of_its_checkpoints_folder_and_else_to_none(tmp_path: Path, folder: str, run: str):
    assert run_folder_of(Checkpoint(tmp_path / folder, {})) == tmp_path / run


def test_the_data_of_a_neighbour_are_not_those_of_an_exported_checkpoint(project: Path):
    """Beside it lies a checkpoint of another run, which was trained on the data that are found."""
    out = project / "out"
    for name in ("mine", "00000005"):
        shutil.copytree(find_checkpoint(project / "runs" / "run").folder, out / name)
    state = json.loads((out / "mine" / "state.json").read_text())
    write_state(out / "mine", {**{k: v for k, v in state.items() if k != "digest"}, "data": ["f" * 64]})
    assert find_data(*opened(out / "00000005")).complete
    assert "is not the data that this run was trained on" in find_data(*opened(out / "mine")).missing[0]


def opened(run: Path) -> tuple[Recipe, object]:
    checkpoint = find_checkpoint(run)
    return parse_config(Recipe, checkpoint.state["recipe"], source="state"), checkpoint


def with_state(run: Path, **changes: object) -> None:
    """Change fields of the run in all checkpoints. None removes a key; "manifest" is that of the recipe."""
    for file in run.glob("checkpoints/*/state.json"):
        state = json.loads(file.read_text())
        for key, value in changes.items():
            if key == "manifest":
                state["recipe"]["data"]["manifest"] = value
            elif value is None:
                state.pop(key, None)
            else:
                state[key] = value
        write_state(file.parent, state)


def as_of_an_earlier_version(run: Path, manifest: str = "data/videos.parquet") -> None:
    """Store the relative path that was given, and neither the run folder nor a digest."""
    with_state(run, manifest=manifest, run_folder=None, data=None)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["manifest"] = manifest
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def other_data(videos: Path, folder: Path, clips: int) -> Path:
    """A manifest of fewer clips, at the same relative path below a folder."""
    manifest = Manifest.open(videos)
    (folder / "data").mkdir(parents=True)
    rows = [*manifest.rows("train")[:clips], *manifest.rows("val")]
    write_manifest(folder / "data" / "videos.parquet", [manifest.clip(int(row)) for row in rows], command="test", config={})
    return folder / "data" / "videos.parquet"


def test_a_run_writes_absolute_paths_and_finds_its_data_from_another_folder(trained: Path, tmp_path: Path, monkeypatch):
    recipe = load_config(Recipe, trained / "runs" / "run" / "recipe.yaml")
    assert recipe.data.manifest == str(trained / "data" / "videos.parquet")
    monkeypatch.chdir(tmp_path)
    own, checkpoint = opened(trained / "runs" / "run")
    assert find_data(own, checkpoint).manifests == (trained / "data" / "videos.parquet",)


def test_data_is_found_where_run_and_data_were_moved_together(project: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, checkpoint = opened(project / "runs" / "run")
    assert recipe.data.manifest == "/gone/project/data/videos.parquet"
    assert find_data(recipe, checkpoint).manifests == (project / "data" / "videos.parquet",)


def test_a_run_of_an_earlier_version_finds_its_data_above_its_folder_or_in_the_working_directory(
    project: Path, videos: Path, tmp_path: Path, monkeypatch
):
    run = project / "runs" / "run"
    as_of_an_earlier_version(run)
    monkeypatch.chdir(tmp_path)
    assert find_data(*opened(run)).manifests == (project / "data" / "videos.parquet",)
    shutil.move(run, tmp_path / "alone")
    assert not find_data(*opened(tmp_path / "alone")).complete
    monkeypatch.chdir(project)
    assert find_data(*opened(tmp_path / "alone")).manifests == (project / "data" / "videos.parquet",)


@pytest.mark.parametrize("earlier", [False, True])
def test_other_data_at_the_same_relative_path_is_never_taken(
    project: Path, videos: Path, tmp_path: Path, monkeypatch, earlier: bool
):
    run = project / "runs" / "run"
    if earlier:
        as_of_an_earlier_version(run)
    shutil.rmtree(project / "data")
    other = other_data(videos, project, clips=20)
    monkeypatch.chdir(project)
    data = find_data(*opened(run))
    assert data.manifests == (None,)
    assert f"{other} is not the data that this run was trained on" in data.missing[0]


def test_a_digest_distinguishes_data_of_equal_size(project: Path, videos: Path, monkeypatch):
    run = project / "runs" / "run"
    manifest = Manifest.open(project / "data" / "videos.parquet")
    clips = [manifest.clip(row) for row in range(len(manifest))]
    write_manifest(project / "data" / "videos.parquet", [clips[1], clips[0], *clips[2:]], command="test", config={})
    assert not find_data(*opened(run)).complete
    with_state(run, data=None)  # without a digest only the number of windows is known
    assert find_data(*opened(run)).complete


def test_a_given_path_is_used_unchanged(project: Path, videos: Path, tmp_path: Path):
    other = other_data(videos, tmp_path, clips=20)
    recipe, checkpoint = opened(project / "runs" / "run")
    assert find_data(recipe, checkpoint, [str(other)]).manifests == (other,)
    with pytest.raises(ManifestError, match="2 manifests are given; this run has 1"):
        find_data(recipe, checkpoint, [str(other), str(other)])


def test_resuming_finds_moved_data_and_another_spelling_of_its_path_is_no_change(project: Path, tmp_path: Path, monkeypatch):
    run = project / "runs" / "run"
    began, last = opened(run)
    monkeypatch.chdir(tmp_path)  # another folder than that of the recipe's relative path
    for spelling in ("data/videos.parquet", "/gone/project/data/videos.parquet"):
        given_recipe = parse_config(Recipe, {**began.model_dump(mode="json"), "run": str(run)}, source="test")
        given_recipe = given_recipe.model_copy(update={"data": given_recipe.data.model_copy(update={"manifest": spelling})})
        assert resolve_paths(given_recipe, last).data.manifest == str(project / "data" / "videos.parquet")
    wrong = given_recipe.model_copy(update={"data": given_recipe.data.model_copy(update={"manifest": "typo.parquet"})})
    assert resolve_paths(wrong, last).data.manifest == str(tmp_path / "typo.parquet")  # is then reported as missing


@pytest.mark.parametrize("recorded", ["runs/base", "/gone/project/runs/base"])
def test_another_spelling_of_init_from_is_no_change_and_another_folder_is_one(project: Path, monkeypatch, recorded: str):
    run = project / "runs" / "run"
    began, last = opened(run)
    last.state["recipe"]["init_from"] = recorded
    began = began.model_copy(update={"init_from": recorded})
    monkeypatch.chdir(project)

    def changes(init_from: str) -> list[str]:
        now = began.model_copy(update={"init_from": init_from, "run": str(run)})
        return [entry for entry in changed_fields(began, resolve_paths(now, last)) if entry.startswith("init_from")]

    assert changes("runs/base") == changes(str(project / "runs" / "base")) == []
    assert len(changes("runs/other")) == 1


def test_a_new_run_has_absolute_paths(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = {"kind": "frozen", "run": "runs/teacher"}
    recipe = parse_config(Recipe, {"init_from": "runs/a", "data": {"manifest": ["a.parquet", "b.parquet"]}}, source="test")
    recipe = parse_config(
        Recipe, {**recipe.model_dump(mode="json"), "model": {"kind": "causal", "target": target}}, source="test"
    )
    found = resolve_paths(recipe, None)
    assert found.init_from == str(tmp_path / "runs" / "a")
    assert found.model.target.run == str(tmp_path / "runs" / "teacher")
    assert found.data.manifest == (str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"))


def test_the_recipe_in_a_moved_run_folder_belongs_to_that_run(project: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = project / "runs" / "run" / "recipe.yaml"
    assert read_recipe(file).run == str(file.parent)
    assert read_recipe(file, ["run=runs/new"]).run == "runs/new"
    shutil.copy(file, tmp_path / "recipe.yaml")  # no run folder
    assert read_recipe(tmp_path / "recipe.yaml").run == load_config(Recipe, file).run


def test_resuming_with_a_new_data_path_records_it(trainer, project: Path, tmp_path: Path):
    run = project / "runs" / "run"
    shutil.move(project / "data", project / "elsewhere")
    moved = project / "elsewhere" / "videos.parquet"
    more = ("train.max_steps=10", "decoder.max_steps=5")
    lost = trainer(run, *more, "data.manifest=/gone/project/data/videos.parquet", flags=("--allow-changed-recipe",))
    assert lost.returncode == 2
    assert "/gone/project/data/videos.parquet: no such manifest" in lost.stderr
    assert "resume with data.manifest=NEW/PATH" in lost.stderr
    done = trainer(run, *more, f"data.manifest={moved}", flags=("--allow-changed-recipe",))
    assert done.returncode == 0, done.stderr
    assert load_config(Recipe, run / "recipe.yaml").data.manifest == str(moved)
    assert latest_checkpoint(run).state["recipe"]["data"]["manifest"] == str(moved)
    first = next(run.glob("checkpoints/*5"))  # older than the move
    checkpoint = find_checkpoint(first)
    assert find_data(parse_config(Recipe, checkpoint.state["recipe"], source=""), checkpoint).manifests == (moved,)


def test_a_rollout_without_data_shows_the_windows_stored_in_the_run_folder(project: Path, tmp_path: Path, monkeypatch, capsys):
    run = tmp_path / "alone"
    shutil.move(project / "runs" / "run", run)
    monkeypatch.chdir(tmp_path)
    assert rollout([str(run), "--count", "1", "--samples", "2", "--out", "out"]) == 0
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert "No nearest training frame: /gone/project/data/videos.parquet" in page
    assert "The held-out windows are the 6 that the run folder stores" in page
    assert "continuation 2" in page
    assert json.loads((tmp_path / "out" / "horizon.json").read_text())["windows"] == 6
    capsys.readouterr()
    assert rollout([str(run), "--data", "typo.parquet"]) == 2
    assert "typo.parquet: no such manifest" in capsys.readouterr().err
    (run / "held_out.npz").unlink()
    assert rollout([str(run)]) == 2
    output = capsys.readouterr().err
    assert "/gone/project/data/videos.parquet" in output
    assert "Give the run's manifest with --data" in output


def test_a_rollout_accepts_the_path_of_moved_data(project: Path, tmp_path: Path):
    run, given = tmp_path / "alone", project / "data" / "videos.parquet"
    shutil.move(project / "runs" / "run", run)
    assert rollout([str(run), "--count", "1", "--data", str(given), "--out", str(tmp_path / "out")]) == 0
    assert "among 288 latent steps of 24 of 24 training windows" in (tmp_path / "out" / "gallery.html").read_text()


def test_few_held_out_windows_are_stored_and_are_exact(tmp_path: Path):
    frames = torch.randint(0, 256, (20, 2, 8, 8, 3), dtype=torch.uint8)
    save_held_out(tmp_path, frames)
    assert torch.equal(load_held_out(tmp_path), frames[:16])
    large = torch.zeros(20, 1, 700, 700, 3, dtype=torch.uint8)  # 1.5 MB each
    save_held_out(tmp_path, large)
    assert len(load_held_out(tmp_path)) == MAX_SAVED_BYTES // (700 * 700 * 3)
    save_held_out(tmp_path, torch.zeros(5, 1, 1500, 1500, 3, dtype=torch.uint8))
    assert len(load_held_out(tmp_path)) == 3  # shown by a rollout by default
    (tmp_path / "held_out.npz").write_bytes((tmp_path / "held_out.npz").read_bytes()[:100])
    assert load_held_out(tmp_path) is None


def test_a_decoder_is_not_stored_where_nothing_can_be_written(project: Path, monkeypatch):
    run, messages = project / "runs" / "run", []
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    monkeypatch.setattr("worldmodel.rollouts.decoder_fitting.os.access", lambda *_: False)
    fit_decoder(run, torch.device("cpu"), steps=1, report=messages.append)
    assert any("not stored" in line for line in messages)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_data_is_not_made_in_the_wrong_folder(trainer, project: Path, tmp_path: Path):
    """data.make writes below the working directory. A run that resumes elsewhere does not make its manifest there."""
    run = tmp_path / "alone"
    shutil.move(project / "runs" / "run", run)
    make = "data.make=[synthesize, data/demo, --train, '4']"
    done = trainer(run, make, "data.manifest=/gone/project/data/videos.parquet", "train.max_steps=5", "decoder.max_steps=5")
    assert done.returncode == 2
    assert "no such manifest" in done.stderr
    assert "making it" not in done.stdout
