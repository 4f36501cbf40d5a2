"""The command on films of many kinds: what it says, what it keeps, and what it says of films that it cannot score."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eval.__main__ import main
from eval.plausibility import batches as viewing
from eval.plausibility import page as film_cards
from eval.plausibility.page import ends, short_names
from eval.plausibility.video_list import Named, Unread, find_films
from worldmodel.checkpoint import add_file, open_checkpoint, save_checkpoint, write_state
from worldmodel.config import load
from worldmodel.manifest import Clip, write_manifest
from worldmodel.models import build_model
from worldmodel.recipe import Recipe
from worldmodel.rollouts.decoder_fitting import new_decoder
from worldmodel.video import read_frames, write_video

RECIPE = """
window: {frames: 12, fps: 12, size_px: 16}
data: {manifest: nowhere.parquet}
decoder: {net: {size_px: 16, width: 4}}
model:
  kind: causal
  encoder: {patch_px: 8, width: 16, depth: 1, heads: 2, latent_dim: 4, head_width: 16, latent_grid: 2}
  predictor: {width: 24, depth: 1, heads: 2, horizons: 6}
  rollout_steps: 0
"""
HOSTILE = "<script>window.pwned=1<b>.mp4"


def square(speed: float, frames: int = 12, height: int = 16, width: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 [T, H, W, 3]: a bright square that goes right, `speed` pixels a frame, on a grey of its own."""
    film = np.full((frames, height, width, 3), 60 + 10 * (seed % 9), np.uint8)
    for t in range(frames):
        left = int(seed + speed * t) % (width - 4)
        film[t, 6:10, left : left + 4] = (240, 200, 20 * (seed % 10))
    return film


def clip(path: Path, frames: int, **changes) -> Clip:
    fields = {"clip_id": path.stem, "path": str(path), "member": None, "start_s": 0.0, "stop_s": frames / 12, "fps": 12.0}
    size = {"frames": frames, "width": 16, "height": 16, "rotation": 0, "codec": "h264"}
    return Clip(**{**fields, **size, "split": "val", "label": None, "truth": None, "source": "", "content_hash": "", **changes})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """36 lawful films with their manifest, a recipe, and films to be scored."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "recipe.yaml").write_text(RECIPE)
    clips = []
    for seed in range(36):
        path = folder / f"lawful_{seed:02d}.mp4"
        write_video(path, square(0.25 * (seed % 8), seed=seed), 12.0, lossless=True)
        clips.append(clip(path, 12))
    write_manifest(folder / "lawful.parquet", clips, command="test", config={})
    films = folder / "films"
    films.mkdir()
    write_video(films / "wide.mp4", square(0.5, 40, 20, 36), 25.0)
    write_video(films / HOSTILE, square(1.0, 12, seed=3), 12.0)
    write_video(films / "short.mp4", square(1.0, 2), 12.0)
    (films / "broken.mp4").write_bytes(b"no film at all")
    (films / "frames").mkdir()
    for t, picture in enumerate(square(1.0, 9, seed=2)):
        Image.fromarray(picture).save(films / "frames" / f"{t}.png")
    return folder


@pytest.fixture(scope="module")
def run_with_decoder(world) -> Path:
    """A run that was saved as it was born, and a decoder as well."""
    recipe = load(Recipe, world / "recipe.yaml")
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window)
    state = {"step": 1, "samples": 0, "recipe": recipe.model_dump(mode="json")}
    folder = save_checkpoint(world / "run", {"model": model.state_dict()}, state)
    add_file(open_checkpoint(folder), "decoder", new_decoder(model, recipe).state_dict())
    return world / "run"


def players(page: Path) -> list[dict]:
    return [json.loads(it) for it in re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())]


@pytest.fixture
def score(world, tmp_path, monkeypatch, capsys):
    """(FILES and options) -> (exit code, objects of --out, what was said on standard error)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*words: str, lawful: str = "lawful.parquet", model: str = ""):
        (tmp_path / "scores.jsonl").unlink(missing_ok=True)
        model = model or f"untrained:{world / 'recipe.yaml'}"
        options = ["--model", model, "--out", str(tmp_path / "scores.jsonl")]
        options += ["--lawful", str(world / lawful)] if lawful else []
        code = main(["score", *words, *options])
        out = tmp_path / "scores.jsonl"
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else None
        return code, rows, capsys.readouterr().err

    return run


def test_films_of_any_kind_are_scored_and_one_that_is_bad_loses_none(world, score, tmp_path):
    page = tmp_path / "it.html"
    code, rows, said = score(str(world / "films"), str(world / "gone.mp4"), "--folder-fps", "6", "--html", str(page))
    assert code == 2
    by_name = {Path(row["film"]).name: row for row in rows}
    assert set(by_name) == {"wide.mp4", HOSTILE, "short.mp4", "broken.mp4", "frames", "gone.mp4"}
    assert [row["rank"] for row in rows if "rank" in row] == [1, 2, 3]
    assert "2 frames at 12 frames/s are too few" in by_name["short.mp4"]["error"]
    assert by_name["gone.mp4"]["error"] == "no such file or folder"
    assert "broken.mp4: " in said
    assert len([line for line in said.splitlines() if line.startswith("eval score: ")]) == 3
    wide = by_name["wide.mp4"]
    assert (wide["size_px"], wide["fps"], wide["seconds"]) == ([36, 20], 25, 1.6)
    assert wide["times_s"] == pytest.approx([t / 12 for t in range(2, 18)], abs=1e-5)  # 19 frames, in windows of 12
    assert [len(wide["over_time"][name]) for name in ("whitened", "distance")] == [16, 16]
    assert by_name["frames"]["seconds"] == 1.5
    assert any("has 6 frames/s and is seen at 12" in note for note in by_name["frames"]["notes"])
    assert HOSTILE not in page.read_text()
    assert "Not scored" in page.read_text()


def test_numbers_of_a_film_hang_together(world, score):
    _, (row,), _ = score(str(world / "films" / HOSTILE))
    main, raw = row["scorers"]["whitened"], row["scorers"]["distance"]
    assert row["scorer"] == "whitened"
    for key in ("plausibility", "copy_adjusted_plausibility"):
        assert row[key] == main[key]
    assert raw["copy_share"] == pytest.approx(raw["surprise"] / (raw["surprise"] + raw["error_of_copying"]), rel=1e-4)
    peak = row["times_s"][int(np.argmax(row["over_time"]["whitened"]))]
    assert main["peak_s"] == pytest.approx(peak, abs=1e-5)
    assert row["where"]["side"] == 2
    assert len(row["where"]["mean"]) == 4
    assert np.mean(row["where"]["mean"]) == pytest.approx(np.mean(row["over_time"]["whitened"]), rel=1e-4)
    beside = row["compared_with"]
    assert (beside["lawful_stretches"], beside["lawful_films"], beside["seconds"]) == (30, 30, 1.0)
    assert 0 <= main["plausibility"] <= 1
    assert main["plausibility"] * 30 == pytest.approx(round(main["plausibility"] * 30), abs=1e-3)  # a share of thirty


def test_of_a_long_film_the_page_shows_what_lies_around_its_peak(world, score, tmp_path, monkeypatch):
    monkeypatch.setattr(film_cards, "MOST_S", 0.8)
    _, (row,), _ = score(str(world / "films" / "wide.mp4"), "--html", str(tmp_path / "it.html"))
    (shown,) = players(tmp_path / "it.html")
    from_s = min(max(0.0, row["scorers"]["whitened"]["peak_s"] - 0.4), 0.8)
    assert (shown["frames"], shown["fps"]) == (20, 25)
    times, values = shown["curves"][0]["lines"][0]
    seen = {round(time - from_s, 3): value for time, value in zip(row["times_s"], row["over_time"]["whitened"], strict=True)}
    assert values == pytest.approx([seen[round(time, 3)] for time in times], rel=1e-3)
    assert len(times) in (9, 10)  # 0.8 s at 12 a second
    assert [heat["side"] for curve in shown["curves"] for heat in curve["heats"]] == [2, 2]  # none of copying
    half, most = (value for value, _ in shown["curves"][0]["levels"])
    assert 0 < half < most


def test_beside_a_film_stands_what_was_expected_of_it(world, score, tmp_path, run_with_decoder):
    page = tmp_path / "it.html"
    code, (row,), _ = score(str(world / "films" / "wide.mp4"), "--html", str(page), model=str(run_with_decoder))
    assert code == 0
    (shown,) = players(page)
    assert [film["kind"] for film in shown["films"]] == ["film", "drawn", "drawn"]
    sizes = []
    for film in shown["films"]:
        (tmp_path / "film.mp4").write_bytes(base64.b64decode(film["mp4"]))
        frames = read_frames(tmp_path / "film.mp4", indices=range(shown["frames"]))
        sizes.append(frames.shape[1:3])
        start = frames[0, 2:-2, 2:-2]
        assert (np.ptp(start) < 8) == (film["kind"] == "drawn")  # nothing is forecast of the beginning
    assert sizes == [(20, 36), (16, 30), (16, 30)]  # of 16 px, as wide as the film: 29, made even
    moments, starts, stops = np.array(shown["seen"]).T
    assert moments.tolist() == pytest.approx(row["times_s"], abs=1e-4)  # each moment that is judged
    assert (starts < stops).all()
    assert (stops <= moments + 1e-4).all()
    says = shown["films"][1]["says"]
    assert says[0] == [moments[0], f"{moments[0] - stops[0] + 1 / 12:.2f} s ahead"]
    assert "drawn by the decoder" in page.read_text()


def test_without_a_decoder_a_line_says_so_and_the_rest_is_the_same(world, score, tmp_path, run_with_decoder):
    bare = tmp_path / "bare"
    shutil.copytree(run_with_decoder, bare)
    (checkpoint,) = (bare / "checkpoints").iterdir()
    state = open_checkpoint(checkpoint).state
    sums = {name: digest for name, digest in state["sha256"].items() if not name.startswith("decoder")}
    write_state(checkpoint, {**state, "sha256": sums})
    found = {}
    for name, model in (("with", run_with_decoder), ("without", bare)):
        found[name] = score(str(world / "films" / "wide.mp4"), "--html", str(tmp_path / f"{name}.html"), model=str(model))[1]
    assert found["with"][0]["over_time"] == found["without"][0]["over_time"]
    drawn, plain = (players(tmp_path / f"{name}.html")[0] for name in ("with", "without"))
    assert plain["curves"] == drawn["curves"]
    assert [film["kind"] for film in plain["films"]] == ["film"]
    said = (tmp_path / "without.html").read_text()
    assert f"it has no decoder to draw it; `python -m worldmodel.rollout {bare}` trains one" in said


def test_a_name_that_is_not_utf8_is_refused():
    (found,) = find_films([os.fsdecode(b"\xff.mp4")], 10.0)
    assert found == Unread("\\udcff.mp4", "its name is not UTF-8, so no table and no page can hold it; rename it")


@pytest.mark.parametrize("name", ["a\u202fb", "c\u00a0d", "\U0001f468\u200d\U0001f469", "tab\tx", "new\nline", "esc\x1b[31m"])
def test_every_name_that_the_file_system_takes_is_scored(world, tmp_path, name):
    path = tmp_path / f"{name}.mp4"
    shutil.copy(world / "films" / "wide.mp4", path)
    (found,) = find_films([str(path)], 10.0)
    assert isinstance(found, Named)
    assert found.clip.path == str(path)


def test_a_manifest_is_scored_clip_by_clip_and_lawful_films_beside_others_alone(world, score, tmp_path):
    film = world / "films" / "wide.mp4"
    clips = [clip(film, 20, fps=25.0), clip(film, 20, fps=25.0, start_s=0.8), clip(world / "lawful_03.mp4", 12)]
    write_manifest(tmp_path / "three.parquet", clips, command="test", config={})
    code, rows, _ = score(str(tmp_path / "three.parquet"))
    assert code == 0
    names = {row["film"] for row in rows}
    assert names == {str(film), f"{film} from 0.8 s", str(world / "lawful_03.mp4")}
    lawful = next(row for row in rows if "lawful_03" in row["film"])
    assert "is one of the lawful films itself: compared with the others" in lawful["notes"]
    assert lawful["compared_with"]["lawful_films"] == 17  # others of its half


def test_what_lawful_films_showed_is_kept(world, score, tmp_path, monkeypatch):
    film = str(world / "films" / HOSTILE)
    first = score(film)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    assert kept
    looked = []
    watch = viewing.watch
    monkeypatch.setattr(viewing, "watch", lambda *given: looked.append(len(given[1])) or watch(*given))
    assert score(film)[:2] == first[:2]
    assert looked == [1]  # the film, and none of the lawful ones
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")} == kept
    score(film, "--contexts", "3")
    assert len(list((tmp_path / "cache" / "worldmodel" / "lawful").iterdir())) == 2


def test_a_lawful_film_that_could_not_be_read_is_watched_once_it_can_be(world, score, tmp_path):
    """The file is there all the time, as on storage that fails for a while. Its first clip is too short for ever."""
    path, film = tmp_path / "damaged.mp4", str(world / "films" / HOSTILE)
    path.write_bytes((world / "lawful_08.mp4").read_bytes())
    clips = [clip(world / f"lawful_{n:02d}.mp4", 12) for n in range(8)] + [replace(clip(path, 12), frames=1), clip(path, 12)]
    write_manifest(world / "damaged.parquet", clips, command="t", config={})
    path.write_bytes(b"damaged")
    assert score(film, lawful="damaged.parquet")[1][0]["compared_with"]["lawful_films"] == 8
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")}
    assert score(film, lawful="damaged.parquet")[1][0]["compared_with"]["lawful_films"] == 8
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")} == kept
    path.write_bytes((world / "lawful_08.mp4").read_bytes())
    for _ in range(2):
        found = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")}
        assert score(film, lawful="damaged.parquet")[1][0]["compared_with"]["lawful_films"] == 9
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")} == found


def test_answers_of_one_square_are_never_taken_for_the_other(world, score, tmp_path, monkeypatch):
    film, page = str(world / "films" / "wide.mp4"), tmp_path / "it.html"
    squeezed = score(film)[1][0]
    cropped = score(film, "--square", "crop", "--html", str(page))[1][0]
    assert (squeezed["square"], cropped["square"]) == ("squeeze", "crop")
    assert squeezed["scorers"] != cropped["scorers"]
    assert "The model sees the central square of each frame" in page.read_text()
    (tmp_path / "film.mp4").write_bytes(base64.b64decode(players(page)[0]["films"][0]["mp4"]))
    assert read_frames(tmp_path / "film.mp4", indices=[0]).shape[1:3] == (20, 20)
    assert len(list((tmp_path / "cache" / "worldmodel" / "lawful").iterdir())) == 2
    assert score(film, "--square", "squeeze")[1][0] == squeezed  # from the cache
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert score(film, "--square", "crop")[1][0] == cropped  # without it


def test_an_interrupted_scoring_writes_nothing_and_goes_on(world, score, tmp_path, monkeypatch):
    films = [str(world / f"lawful_{seed:02d}.mp4") for seed in range(12)]  # two pieces of work
    whole = score(*films)
    watch, looked = viewing.watch, []

    def until_second(*given):
        if looked:
            raise KeyboardInterrupt
        looked.append(given)
        return watch(*given)

    monkeypatch.setattr(viewing, "watch", until_second)
    code, rows, said = score(*films)
    assert (code, rows) == (130, None)
    assert "goes on from here" in said
    again = []
    monkeypatch.setattr(viewing, "watch", lambda *given: again.append(given) or watch(*given))
    assert score(*films)[1] == whole[1]
    assert len(again) == 1
    assert not list((tmp_path / "cache" / "worldmodel" / "films").iterdir())


def _interrupt():
    raise KeyboardInterrupt


def test_a_scoring_that_goes_on_is_made_again_where_a_lawful_video_is_back(world, score, monkeypatch):
    """What it stored was whitened by the errors on the other lawful videos alone."""
    films = [str(world / f"lawful_{seed:02d}.mp4") for seed in range(12)]
    whole = score(*films)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{os.environ['XDG_CACHE_HOME']} of another")
    read = viewing.read_square

    def fail(path, *given, **named):
        if Path(path).name == "lawful_03.mp4":
            raise OSError("the storage does not answer")
        return read(path, *given, **named)

    monkeypatch.setattr(viewing, "read_square", fail)
    with monkeypatch.context() as interrupted:
        load = viewing.load_watched
        interrupted.setattr(viewing, "load_watched", lambda file: load(file) if "films" not in file.parts else _interrupt())
        assert score(*films)[0] == 130
    monkeypatch.setattr(viewing, "read_square", read)
    assert score(*films)[1] == whole[1]


def test_objects_go_to_standard_output_and_words_do_not(world, score, capsys):
    options = ["--model", f"untrained:{world / 'recipe.yaml'}", "--lawful", str(world / "lawful.parquet")]
    assert main(["score", str(world / "films" / "wide.mp4"), *options]) == 0
    out, said = capsys.readouterr()
    assert [json.loads(line)["rank"] for line in out.splitlines()] == [1]
    assert "adjusted: relative to copying" in said
    assert "wide.mp4" in said


def test_few_lawful_films_give_no_whitening_and_a_word(world, score, tmp_path):
    write_manifest(world / "three.parquet", [clip(world / f"lawful_{n:02d}.mp4", 12) for n in range(3)], command="t", config={})
    _, (row,), _ = score(str(world / "films" / HOSTILE), lawful="three.parquet")
    assert list(row["scorers"]) == ["distance"]
    assert "only 3 lawful stretches to compare with: plausibility is rough" in row["notes"]


def test_lawful_films_that_are_gone_are_left_out_with_a_word(world, score):
    clips = [clip(world / f"lawful_{n:02d}.mp4", 12) for n in range(8)]
    write_manifest(world / "gone.parquet", [*clips, clip(world / "lawful_99.mp4", 12)], command="t", config={})
    code, (row,), said = score(str(world / "films" / HOSTILE), lawful="gone.parquet")
    assert code == 0
    assert row["compared_with"]["lawful_films"] == 8
    assert "1 lawful films were left out, such as" in said
    write_manifest(world / "none.parquet", [clip(world / "lawful_99.mp4", 12)], command="t", config={})
    code, rows, said = score(str(world / "films" / HOSTILE), lawful="none.parquet")
    assert (code, rows) == (2, None)
    assert "none of the 1 lawful films" in said


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        ((), {"model": "blind:pixel copy"}, "blind:pixel copy makes no forecasts"),
        ((), {"model": "runs/nothing"}, "runs/nothing: no such run folder"),
        ((), {"lawful": ""}, "no lawful films to compare with: nowhere.parquet: no such manifest; give some with --lawful"),
        ((), {"lawful": "gone/away.parquet"}, "no such manifest"),
        (("--contexts", "20"), {}, "a context of 20 frames is longer than the 12 the model can see"),
        (("--html", "no/such/folder/page.html"), {}, "cannot be written: there is no folder"),
    ],
)
def test_what_cannot_be_done_is_one_line(world, score, words, given, said):
    code, rows, error = score(str(world / "films" / HOSTILE), *words, **given)
    assert (code, rows) == (2, None)
    (line,) = [line for line in error.splitlines() if line.startswith("eval score: ")]
    assert said in line
    assert "Traceback" not in error


@pytest.mark.slow
def test_two_ranks_say_what_one_says(world, score, tmp_path):
    films = [str(world / f"lawful_{seed:02d}.mp4") for seed in range(20)]
    _, rows, _ = score(*films)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29637"]
    options = ["--model", f"untrained:{world / 'recipe.yaml'}", "--lawful", str(world / "lawful.parquet")]
    command = [*launch, "-m", "eval", "score", *films, *options, "--out", str(tmp_path / "two.jsonl")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "other")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in (tmp_path / "two.jsonl").read_text().splitlines()] == rows


@pytest.fixture
def project(world, tmp_path) -> Path:
    """A run beside the videos that it was trained on, and one to be scored; all of it can be moved."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for film in [*world.glob("lawful_*.mp4"), world / "films" / "wide.mp4"]:
        shutil.copy(film, folder / "data")
    clips = [clip(folder / "data" / f"lawful_{n:02d}.mp4", 12) for n in range(36)]
    write_manifest(folder / "data" / "films.parquet", clips, command="test", config={})
    recipe = load(Recipe, world / "recipe.yaml", [f"data.manifest={folder / 'data' / 'films.parquet'}"])
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window)
    state = {"step": 1, "samples": 0, "recipe": recipe.model_dump(mode="json"), "run_folder": str(folder / "run")}
    save_checkpoint(folder / "run", {"model": model.state_dict()}, state)
    return folder


def test_a_run_alone_scores_as_it_does_beside_its_data(project, score, tmp_path, monkeypatch):
    film = tmp_path / "film.mp4"
    shutil.move(project / "data" / "wide.mp4", film)
    beside = score(str(film), lawful="", model=str(project / "run"))
    assert beside[0] == 0
    run = shutil.copytree(project / "run", tmp_path / "alone" / "run")
    shutil.rmtree(project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    code, rows, said = score(str(film), lawful="", model=str(run))
    assert (code, rows) == beside[:2]
    assert f"the reference distribution stored in {run / 'reference'} is taken" in said
    assert str(project / "data" / "films.parquet") in said


def test_without_files_the_reference_is_stored_for_later(project, score, tmp_path, capsys):
    assert score(lawful="", model=str(project / "run"))[:2] == (0, None)
    assert [path.name[:6] for path in (project / "run" / "reference").iterdir()] == ["score-"]
    for path in (project / "data").glob("lawful_*.mp4"):  # the manifest is there, its videos are not
        path.unlink()
    assert score(str(project / "data" / "wide.mp4"), lawful="", model=str(project / "run"))[0] == 0
    assert "nothing to score" in score(lawful="lawful.parquet", model=str(project / "run"))[2]


def test_a_stored_reference_is_of_one_protocol_and_of_one_checkpoint(project, score, tmp_path):
    film = shutil.copy(project / "data" / "wide.mp4", tmp_path)
    run = project / "run"
    assert score(lawful="", model=str(run))[0] == 0
    shutil.rmtree(project / "data")
    code, _, said = score(film, "--contexts", "3", lawful="", model=str(run))
    assert code == 2
    assert "holds some for other weights or another protocol" in said
    (checkpoint,) = (run / "checkpoints").iterdir()
    before = open_checkpoint(checkpoint)
    weights = {name: tensor + 0.01 for name, tensor in before.tensors("model").items()}
    state = {key: value for key, value in before.state.items() if key not in ("sha256", "format")}
    save_checkpoint(run, {"model": weights}, {**state, "step": 2})
    code, _, said = score(film, lawful="", model=str(run / "checkpoints" / "00000002"))
    assert code == 2
    assert "holds some for other weights or another protocol" in said
    assert score(film, lawful="", model=str(checkpoint))[0] == 0


def test_videos_that_the_user_names_are_not_stored_as_the_runs_own(project, score):
    film = str(project / "data" / "wide.mp4")
    assert score(film, model=str(project / "run"))[0] == 0
    assert not (project / "run" / "reference").exists()


def test_a_reference_that_lacks_videos_is_not_stored(project, score):
    (project / "data" / "lawful_07.mp4").unlink()
    code, _, said = score(str(project / "data" / "wide.mp4"), lawful="", model=str(project / "run"))
    assert (code, "1 lawful films were left out" in said) == (0, True)
    assert not (project / "run" / "reference").exists()


def test_in_a_run_folder_that_cannot_be_written_to_films_are_scored_all_the_same(project, score, monkeypatch):
    def refused(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("eval.cache.run_folder.np.savez_compressed", refused)
    code, rows, said = score(str(project / "data" / "wide.mp4"), lawful="", model=str(project / "run"))
    assert (code, len(rows)) == (0, 1)
    assert "Permission" not in said
    assert not list(project.rglob("*.part*"))


def test_a_stored_reference_that_was_cut_short_is_not_used(project, score, tmp_path):
    film = shutil.copy(project / "data" / "wide.mp4", tmp_path)
    assert score(lawful="", model=str(project / "run"))[0] == 0
    shutil.rmtree(project / "data")
    (file,) = (project / "run" / "reference").iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    code, _, said = score(film, lawful="", model=str(project / "run"))
    assert (code, "no lawful films to compare with" in said) == (2, True)


def test_of_a_long_ranking_both_ends_are_shown():
    assert ends(3, 40) == [0, 1, 2]
    assert ends(10, 5) == [0, 1, 2, 8, 9]


def test_names_are_told_without_the_folder_they_share():
    assert short_names(["/a/b/c/x.mp4", "/a/b/d/y.mp4"]) == ["c/x.mp4", "d/y.mp4"]
    assert short_names(["/a/b/x.mp4"]) == ["x.mp4"]
    assert short_names(["x.mp4", "x.mp4"]) == ["x.mp4", "x.mp4"]
