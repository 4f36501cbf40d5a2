"""`eval plausibility` on videos of many kinds: its output, its cache, and videos that it cannot score."""

import base64
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import launch
import numpy as np
import pytest
import torch
from PIL import Image

from eval.__main__ import main
from eval.plausibility import batches
from eval.plausibility import page as page_module
from eval.plausibility.page import ends, short_names
from eval.plausibility.video_list import NamedClip, UnreadableVideo, find_videos
from worldmodel.checkpoint import add_file, open_checkpoint, save_checkpoint, write_state
from worldmodel.config import load_config
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


def moving_square(speed: float, frames: int = 12, height: int = 16, width: int = 16, seed: int = 0) -> np.ndarray:
    """uint8 [T, H, W, 3]: a bright square that moves right by `speed` pixels per frame; `seed` chooses the background."""
    video = np.full((frames, height, width, 3), 60 + 10 * (seed % 9), np.uint8)
    for t in range(frames):
        left = int(seed + speed * t) % (width - 4)
        video[t, 6:10, left : left + 4] = (240, 200, 20 * (seed % 10))
    return video


def clip(path: Path, frames: int, **changes) -> Clip:
    fields = {"clip_id": path.stem, "path": str(path), "member": None, "start_s": 0.0, "stop_s": frames / 12, "fps": 12.0}
    size = {"frames": frames, "width": 16, "height": 16, "rotation": 0, "codec": "h264"}
    return Clip(**{**fields, **size, "split": "val", "label": None, "truth": None, "source": "", "content_hash": "", **changes})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """36 calibration videos with their manifest, a recipe, and videos to be scored."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "recipe.yaml").write_text(RECIPE)
    clips = []
    for seed in range(36):
        path = folder / f"calibration_{seed:02d}.mp4"
        write_video(path, moving_square(0.25 * (seed % 8), seed=seed), 12.0, lossless=True)
        clips.append(clip(path, 12))
    write_manifest(folder / "calibration.parquet", clips, command="test", config={})
    videos = folder / "videos"
    videos.mkdir()
    write_video(videos / "wide.mp4", moving_square(0.5, 40, 20, 36), 25.0)
    write_video(videos / HOSTILE, moving_square(1.0, 12, seed=3), 12.0)
    write_video(videos / "short.mp4", moving_square(1.0, 2), 12.0)
    (videos / "broken.mp4").write_bytes(b"not a video")
    (videos / "frames").mkdir()
    for t, picture in enumerate(moving_square(1.0, 9, seed=2)):
        Image.fromarray(picture).save(videos / "frames" / f"{t}.png")
    return folder


@pytest.fixture(scope="module")
def run_with_decoder(world) -> Path:
    """An untrained run with an untrained decoder."""
    recipe = load_config(Recipe, world / "recipe.yaml")
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window)
    state = {"step": 1, "samples": 0, "recipe": recipe.model_dump(mode="json")}
    folder = save_checkpoint(world / "run", {"model": model.state_dict()}, state)
    add_file(open_checkpoint(folder), "decoder", new_decoder(model, recipe).state_dict())
    return world / "run"


def players(page: Path) -> list[dict]:
    return [json.loads(entry) for entry in re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())]


@pytest.fixture
def score(world, tmp_path, monkeypatch, capsys):
    """(FILES and options) -> (exit code, rows of --out, text on standard error)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str, calibration: str = "calibration.parquet", model: str = ""):
        (tmp_path / "scores.jsonl").unlink(missing_ok=True)
        model = model or f"untrained:{world / 'recipe.yaml'}"
        options = ["--model", model, "--out", str(tmp_path / "scores.jsonl")]
        options += ["--calibration", str(world / calibration)] if calibration else []
        code = main(["plausibility", *arguments, *options])
        out = tmp_path / "scores.jsonl"
        rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else None
        return code, rows, capsys.readouterr().err

    return run


def test_videos_of_any_kind_are_scored_and_a_bad_one_does_not_affect_the_others(world, score, tmp_path):
    page = tmp_path / "it.html"
    code, rows, stderr = score(str(world / "videos"), str(world / "gone.mp4"), "--folder-fps", "6", "--html", str(page))
    assert code == 2
    by_name = {Path(row["video"]).name: row for row in rows}
    assert set(by_name) == {"wide.mp4", HOSTILE, "short.mp4", "broken.mp4", "frames", "gone.mp4"}
    assert [row["rank"] for row in rows if "rank" in row] == [1, 2, 3]
    assert "the video has 2 frames at 12 frames/s" in by_name["short.mp4"]["error"]
    assert by_name["gone.mp4"]["error"] == "no such file or folder"
    assert "broken.mp4: " in stderr
    assert len([line for line in stderr.splitlines() if line.startswith("eval plausibility: ")]) == 3
    wide = by_name["wide.mp4"]
    assert (wide["size_px"], wide["fps"], wide["duration_s"]) == ([36, 20], 25, 1.6)
    assert wide["times_s"] == pytest.approx([t / 12 for t in range(2, 18)], abs=1e-5)  # 19 frames, in windows of 12
    assert [len(wide["surprise_over_time"][name]) for name in ("whitened", "latent distance")] == [16, 16]
    assert by_name["frames"]["duration_s"] == 1.5
    assert any("has 6 frames/s and is shown to the model at 12" in note for note in by_name["frames"]["notes"])
    assert HOSTILE not in page.read_text()
    assert "Not scored" in page.read_text()


def test_numbers_of_a_video_are_consistent(world, score):
    _, (row,), _ = score(str(world / "videos" / HOSTILE))
    main, raw = row["scorers"]["whitened"], row["scorers"]["latent distance"]
    assert row["scorer"] == "whitened"
    for key in ("plausibility", "copy_adjusted_plausibility"):
        assert row[key] == main[key]
    assert raw["copy_relative_surprise"] == pytest.approx(raw["surprise"] / (raw["surprise"] + raw["copy_error"]), rel=1e-4)
    peak = row["times_s"][int(np.argmax(row["surprise_over_time"]["whitened"]))]
    assert main["peak_s"] == pytest.approx(peak, abs=1e-5)
    assert row["spatial"]["grid_size"] == 2
    assert len(row["spatial"]["mean"]) == 4
    assert np.mean(row["spatial"]["mean"]) == pytest.approx(np.mean(row["surprise_over_time"]["whitened"]), rel=1e-4)
    compared = row["compared_with"]
    assert (compared["calibration_segments"], compared["calibration_videos"], compared["segment_s"]) == (30, 30, 1.0)
    assert 0 <= main["plausibility"] <= 1
    assert main["plausibility"] * 30 == pytest.approx(round(main["plausibility"] * 30), abs=1e-3)  # a multiple of a thirtieth


def test_of_a_long_video_the_page_shows_the_part_around_the_peak(world, score, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "MAX_SHOWN_S", 0.8)
    _, (row,), _ = score(str(world / "videos" / "wide.mp4"), "--html", str(tmp_path / "it.html"))
    (shown,) = players(tmp_path / "it.html")
    from_s = min(max(0.0, row["scorers"]["whitened"]["peak_s"] - 0.4), 0.8)
    assert (shown["frames"], shown["fps"]) == (20, 25)
    times, values = shown["curves"][0]["lines"][0]
    expected = {
        round(time - from_s, 3): value
        for time, value in zip(row["times_s"], row["surprise_over_time"]["whitened"], strict=True)
    }
    assert values == pytest.approx([expected[round(time, 3)] for time in times], rel=1e-3)
    assert len(times) in (9, 10)  # 0.8 s at 12 a second
    assert [heat["grid_size"] for curve in shown["curves"] for heat in curve["heats"]] == [2, 2]  # the copy baseline has none
    half, most = (value for value, _ in shown["curves"][0]["levels"])
    assert 0 < half < most


def test_the_page_shows_decoded_forecasts(world, score, tmp_path, run_with_decoder):
    page = tmp_path / "it.html"
    options = ("--html", str(page), "--geometry", "resize")
    code, (row,), _ = score(str(world / "videos" / "wide.mp4"), *options, model=str(run_with_decoder))
    assert code == 0
    (shown,) = players(page)
    assert [video["kind"] for video in shown["videos"]] == ["unlabelled", "decoded", "decoded"]
    sizes = []
    for video in shown["videos"]:
        (tmp_path / "video.mp4").write_bytes(base64.b64decode(video["mp4"]))
        frames = read_frames(tmp_path / "video.mp4", indices=range(shown["frames"]))
        sizes.append(frames.shape[1:3])
        start = frames[0, 2:-2, 2:-2]
        assert (np.ptp(start) < 8) == (video["kind"] == "decoded")  # the beginning is not forecast
    assert sizes == [(20, 36), (16, 30), (16, 30)]  # of 16 px and as wide as the video: 29, made even
    times_s, starts, stops = np.array(shown["contexts"]).T
    assert times_s.tolist() == pytest.approx(row["times_s"], abs=1e-4)  # each time with a forecast
    assert (starts < stops).all()
    assert (stops <= times_s + 1e-4).all()
    captions = shown["videos"][1]["captions"]
    assert captions[0] == [times_s[0], f"{times_s[0] - stops[0] + 1 / 12:.2f} s ahead"]
    assert "drawn by the decoder" in page.read_text()


def test_without_a_decoder_the_page_says_so_and_the_rest_is_equal(world, score, tmp_path, run_with_decoder):
    bare = tmp_path / "bare"
    shutil.copytree(run_with_decoder, bare)
    (checkpoint,) = (bare / "checkpoints").iterdir()
    state = open_checkpoint(checkpoint).state
    sums = {name: digest for name, digest in state["sha256"].items() if not name.startswith("decoder")}
    write_state(checkpoint, {**state, "sha256": sums})
    found = {}
    for name, model in (("with", run_with_decoder), ("without", bare)):
        found[name] = score(str(world / "videos" / "wide.mp4"), "--html", str(tmp_path / f"{name}.html"), model=str(model))[1]
    assert found["with"][0]["surprise_over_time"] == found["without"][0]["surprise_over_time"]
    drawn, plain = (players(tmp_path / f"{name}.html")[0] for name in ("with", "without"))
    assert plain["curves"] == drawn["curves"]
    assert [video["kind"] for video in plain["videos"]] == ["unlabelled"]
    stderr = (tmp_path / "without.html").read_text()
    assert f"has no decoder; `python -m worldmodel.rollout {bare}` trains one" in stderr


def test_a_name_that_is_not_utf8_is_refused():
    (found,) = find_videos([os.fsdecode(b"\xff.mp4")], 10.0)
    assert found == UnreadableVideo("\\udcff.mp4", "its name is not UTF-8, so tables and pages cannot hold it; rename it")


@pytest.mark.parametrize("name", ["a\u202fb", "c\u00a0d", "\U0001f468\u200d\U0001f469", "tab\tx", "new\nline", "esc\x1b[31m"])
def test_every_file_name_that_the_file_system_allows_is_accepted(world, tmp_path, name):
    path = tmp_path / f"{name}.mp4"
    shutil.copy(world / "videos" / "wide.mp4", path)
    (found,) = find_videos([str(path)], 10.0)
    assert isinstance(found, NamedClip)
    assert found.clip.path == str(path)


def test_a_manifest_is_scored_clip_by_clip_and_calibration_videos_are_compared_with_others_only(world, score, tmp_path):
    video = world / "videos" / "wide.mp4"
    clips = [clip(video, 20, fps=25.0), clip(video, 20, fps=25.0, start_s=0.8), clip(world / "calibration_03.mp4", 12)]
    write_manifest(tmp_path / "three.parquet", clips, command="test", config={})
    code, rows, _ = score(str(tmp_path / "three.parquet"))
    assert code == 0
    names = {row["video"] for row in rows}
    assert names == {str(video), f"{video} from 0.8 s", str(world / "calibration_03.mp4")}
    calibration = next(row for row in rows if "calibration_03" in row["video"])
    assert "is one of the calibration videos: compared with the others only" in calibration["notes"]
    assert calibration["compared_with"]["calibration_videos"] == 17  # the others of its fold


def test_results_on_calibration_videos_are_cached(world, score, tmp_path, monkeypatch):
    video = str(world / "videos" / HOSTILE)
    first = score(video)
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    assert cached
    calls = []
    evaluate = batches.window_surprise
    monkeypatch.setattr(batches, "window_surprise", lambda *given: calls.append(len(given[1])) or evaluate(*given))
    assert score(video)[:2] == first[:2]
    assert calls == [1]  # the video, and none of the calibration videos
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")} == cached
    score(video, "--contexts", "3")
    assert len(list((tmp_path / "cache" / "worldmodel" / "plausibility_reference").iterdir())) == 2


def test_an_unreadable_calibration_video_is_used_once_it_can_be_read(world, score, tmp_path):
    """Only reading fails, as on storage that fails temporarily. The first clip is always too short."""
    path, video = tmp_path / "damaged.mp4", str(world / "videos" / HOSTILE)
    path.write_bytes((world / "calibration_08.mp4").read_bytes())
    clips = [clip(world / f"calibration_{n:02d}.mp4", 12) for n in range(8)] + [
        replace(clip(path, 12), frames=1),
        clip(path, 12),
    ]
    write_manifest(world / "damaged.parquet", clips, command="t", config={})
    path.write_bytes(b"damaged")
    assert score(video, calibration="damaged.parquet")[1][0]["compared_with"]["calibration_videos"] == 8
    cached = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")}
    assert score(video, calibration="damaged.parquet")[1][0]["compared_with"]["calibration_videos"] == 8
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")} == cached
    path.write_bytes((world / "calibration_08.mp4").read_bytes())
    for _ in range(2):
        found = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")}
        assert score(video, calibration="damaged.parquet")[1][0]["compared_with"]["calibration_videos"] == 9
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npz")} == found


def test_cached_results_of_one_geometry_are_never_used_for_the_other(world, score, tmp_path, monkeypatch):
    video, page = str(world / "videos" / "wide.mp4"), tmp_path / "it.html"
    cropped = score(video, "--html", str(page))[1][0]
    resized = score(video, "--geometry", "resize")[1][0]
    assert (resized["geometry"], cropped["geometry"]) == ("resize", "center_crop")
    assert resized["scorers"] != cropped["scorers"]
    assert "The model sees the centre square of each frame" in page.read_text()
    (tmp_path / "video.mp4").write_bytes(base64.b64decode(players(page)[0]["videos"][0]["mp4"]))
    assert read_frames(tmp_path / "video.mp4", indices=[0]).shape[1:3] == (20, 20)
    assert len(list((tmp_path / "cache" / "worldmodel" / "plausibility_reference").iterdir())) == 2
    assert score(video, "--geometry", "resize")[1][0] == resized  # from the cache
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert score(video, "--geometry", "center_crop")[1][0] == cropped  # without it


def test_an_interrupted_command_writes_nothing_and_resumes(world, score, tmp_path, monkeypatch):
    videos = [str(world / f"calibration_{seed:02d}.mp4") for seed in range(12)]  # two batches
    whole = score(*videos)
    evaluate, calls = batches.window_surprise, []

    def until_second(*given):
        if calls:
            raise KeyboardInterrupt
        calls.append(given)
        return evaluate(*given)

    monkeypatch.setattr(batches, "window_surprise", until_second)
    code, rows, stderr = score(*videos)
    assert (code, rows) == (130, None)
    assert "the same command again" in stderr
    again = []
    monkeypatch.setattr(batches, "window_surprise", lambda *given: again.append(given) or evaluate(*given))
    assert score(*videos)[1] == whole[1]
    assert len(again) == 1
    assert not list((tmp_path / "cache" / "worldmodel" / "videos").iterdir())


def _interrupt():
    raise KeyboardInterrupt


def test_a_resumed_command_starts_over_if_a_calibration_video_is_back(world, score, monkeypatch):
    """The stored results were whitened by the errors on the other calibration videos only."""
    videos = [str(world / f"calibration_{seed:02d}.mp4") for seed in range(12)]
    whole = score(*videos)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{os.environ['XDG_CACHE_HOME']} of another")
    read = batches.read_square_frames

    def fail(path, *given, **named):
        if Path(path).name == "calibration_03.mp4":
            raise OSError("the storage does not answer")
        return read(path, *given, **named)

    monkeypatch.setattr(batches, "read_square_frames", fail)
    with monkeypatch.context() as interrupted:
        load = batches.load_surprise
        interrupted.setattr(batches, "load_surprise", lambda file: load(file) if "videos" not in file.parts else _interrupt())
        assert score(*videos)[0] == 130
    monkeypatch.setattr(batches, "read_square_frames", read)
    assert score(*videos)[1] == whole[1]


def test_json_goes_to_standard_output_and_messages_do_not(world, score, capsys):
    options = ["--model", f"untrained:{world / 'recipe.yaml'}", "--calibration", str(world / "calibration.parquet")]
    assert main(["plausibility", str(world / "videos" / "wide.mp4"), *options]) == 0
    out, stderr = capsys.readouterr()
    assert [json.loads(line)["rank"] for line in out.splitlines()] == [1]
    assert "adjusted: relative to the copy baseline" in stderr
    assert "wide.mp4" in stderr


def test_few_calibration_videos_give_no_whitening_and_a_note(world, score, tmp_path):
    write_manifest(
        world / "three.parquet", [clip(world / f"calibration_{n:02d}.mp4", 12) for n in range(3)], command="t", config={}
    )
    _, (row,), _ = score(str(world / "videos" / HOSTILE), calibration="three.parquet")
    assert list(row["scorers"]) == ["latent distance"]
    assert "compared with only 3 calibration segments: plausibility is imprecise" in row["notes"]


def test_missing_calibration_videos_are_left_out_with_a_message(world, score):
    clips = [clip(world / f"calibration_{n:02d}.mp4", 12) for n in range(8)]
    write_manifest(world / "gone.parquet", [*clips, clip(world / "calibration_99.mp4", 12)], command="t", config={})
    code, (row,), stderr = score(str(world / "videos" / HOSTILE), calibration="gone.parquet")
    assert code == 0
    assert row["compared_with"]["calibration_videos"] == 8
    assert "1 calibration videos were left out, such as" in stderr
    write_manifest(world / "none.parquet", [clip(world / "calibration_99.mp4", 12)], command="t", config={})
    code, rows, stderr = score(str(world / "videos" / HOSTILE), calibration="none.parquet")
    assert (code, rows) == (2, None)
    assert "none of the 1 calibration videos" in stderr


@pytest.mark.parametrize(
    ("arguments", "given", "stderr"),
    [
        ((), {"model": "baseline:pixel copy"}, "baseline:pixel copy makes no forecasts"),
        ((), {"model": "runs/nothing"}, "runs/nothing: no such run folder"),
        (
            (),
            {"calibration": ""},
            "there are no calibration videos: nowhere.parquet: no such manifest; give some videos with --calibration",
        ),
        ((), {"calibration": "gone/away.parquet"}, "no such manifest"),
        (("--contexts", "20"), {}, "a context of 20 frames is longer than the 12 the model can see"),
        (("--html", "no/such/folder/page.html"), {}, "cannot be written: there is no folder"),
    ],
)
def test_an_error_is_one_line(world, score, arguments, given, stderr):
    code, rows, error = score(str(world / "videos" / HOSTILE), *arguments, **given)
    assert (code, rows) == (2, None)
    (line,) = [line for line in error.splitlines() if line.startswith("eval plausibility: ")]
    assert stderr in line
    assert "Traceback" not in error


@pytest.mark.slow
def test_two_ranks_give_the_results_of_one(world, score, tmp_path):
    videos = [str(world / f"calibration_{seed:02d}.mp4") for seed in range(20)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the ranks have: with another number, sums may have another order
    try:
        _, rows, _ = score(*videos)
    finally:
        torch.set_num_threads(threads)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29637"]
    options = ["--model", f"untrained:{world / 'recipe.yaml'}", "--calibration", str(world / "calibration.parquet")]
    command = [*launcher, "-m", "eval", "plausibility", *videos, *options, "--out", str(tmp_path / "two.jsonl")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "other")}
    done = launch.run(command, env=environment)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in (tmp_path / "two.jsonl").read_text().splitlines()] == rows


@pytest.fixture
def project(world, tmp_path) -> Path:
    """A run with its training videos, and a video to be scored; the folder can be moved."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for video in [*world.glob("calibration_*.mp4"), world / "videos" / "wide.mp4"]:
        shutil.copy(video, folder / "data")
    clips = [clip(folder / "data" / f"calibration_{n:02d}.mp4", 12) for n in range(36)]
    write_manifest(folder / "data" / "videos.parquet", clips, command="test", config={})
    recipe = load_config(Recipe, world / "recipe.yaml", [f"data.manifest={folder / 'data' / 'videos.parquet'}"])
    torch.manual_seed(0)
    model = build_model(recipe.model, recipe.window)
    state = {"step": 1, "samples": 0, "recipe": recipe.model_dump(mode="json"), "run_folder": str(folder / "run")}
    save_checkpoint(folder / "run", {"model": model.state_dict()}, state)
    return folder


def test_a_run_without_its_data_gives_the_same_results(project, score, tmp_path, monkeypatch):
    video = tmp_path / "video.mp4"
    shutil.move(project / "data" / "wide.mp4", video)
    beside = score(str(video), calibration="", model=str(project / "run"))
    assert beside[0] == 0
    run = shutil.copytree(project / "run", tmp_path / "alone" / "run")
    shutil.rmtree(project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    code, rows, stderr = score(str(video), calibration="", model=str(run))
    assert (code, rows) == beside[:2]
    assert f"using the reference distribution stored in {run / 'reference'}" in stderr
    assert str(project / "data" / "videos.parquet") in stderr


def test_without_files_the_reference_is_stored_for_later(project, score, tmp_path, capsys):
    assert score(calibration="", model=str(project / "run"))[:2] == (0, None)
    assert [path.name.partition("-")[0] for path in (project / "run" / "reference").iterdir()] == ["plausibility"]
    for path in (project / "data").glob("calibration_*.mp4"):  # the manifest exists, its videos do not
        path.unlink()
    assert score(str(project / "data" / "wide.mp4"), calibration="", model=str(project / "run"))[0] == 0
    assert "nothing to score" in score(calibration="calibration.parquet", model=str(project / "run"))[2]


def test_a_stored_reference_is_of_one_protocol_and_of_one_checkpoint(project, score, tmp_path):
    video = shutil.copy(project / "data" / "wide.mp4", tmp_path)
    run = project / "run"
    assert score(calibration="", model=str(run))[0] == 0
    shutil.rmtree(project / "data")
    code, _, stderr = score(video, "--contexts", "3", calibration="", model=str(run))
    assert code == 2
    assert "holds results for other weights or another protocol" in stderr
    (checkpoint,) = (run / "checkpoints").iterdir()
    before = open_checkpoint(checkpoint)
    weights = {name: tensor + 0.01 for name, tensor in before.tensors("model").items()}
    state = {key: value for key, value in before.state.items() if key not in ("sha256", "format")}
    save_checkpoint(run, {"model": weights}, {**state, "step": 2})
    code, _, stderr = score(video, calibration="", model=str(run / "checkpoints" / "00000002"))
    assert code == 2
    assert "holds results for other weights or another protocol" in stderr
    assert score(video, calibration="", model=str(checkpoint))[0] == 0


def test_a_reference_of_given_videos_is_not_stored_in_the_run(project, score):
    video = str(project / "data" / "wide.mp4")
    assert score(video, model=str(project / "run"))[0] == 0
    assert not (project / "run" / "reference").exists()


def test_a_reference_that_lacks_videos_is_not_stored(project, score):
    (project / "data" / "calibration_07.mp4").unlink()
    code, _, stderr = score(str(project / "data" / "wide.mp4"), calibration="", model=str(project / "run"))
    assert (code, "1 calibration videos were left out" in stderr) == (0, True)
    assert not (project / "run" / "reference").exists()


def test_videos_are_scored_if_the_run_folder_is_read_only(project, score, monkeypatch):
    def refused(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("eval.cache.run_folder.np.savez_compressed", refused)
    code, rows, stderr = score(str(project / "data" / "wide.mp4"), calibration="", model=str(project / "run"))
    assert (code, len(rows)) == (0, 1)
    assert "Permission" not in stderr
    assert not list(project.rglob("*.part*"))


def test_a_truncated_stored_reference_is_not_used(project, score, tmp_path):
    video = shutil.copy(project / "data" / "wide.mp4", tmp_path)
    assert score(calibration="", model=str(project / "run"))[0] == 0
    shutil.rmtree(project / "data")
    (file,) = (project / "run" / "reference").iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    code, _, stderr = score(video, calibration="", model=str(project / "run"))
    assert (code, "there are no calibration videos" in stderr) == (2, True)


def test_both_ends_of_a_long_ranking_are_shown():
    assert ends(3, 40) == [0, 1, 2]
    assert ends(10, 5) == [0, 1, 2, 8, 9]


def test_names_are_shown_without_their_common_folder():
    assert short_names(["/a/b/c/x.mp4", "/a/b/d/y.mp4"]) == ["c/x.mp4", "d/y.mp4"]
    assert short_names(["/a/b/x.mp4"]) == ["x.mp4"]
    assert short_names(["x.mp4", "x.mp4"]) == ["x.mp4", "x.mp4"]
