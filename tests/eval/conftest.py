"""An evaluation made up by hand, with the files that `python -m eval voe` writes; and a model of another family."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.probes.ground_truth import ClipTruth
from eval.voe.scorers import ScorerId
from eval.voe.scores.score import score
from eval.voe.suites.builtin import PAIRS
from eval.voe.surprise.traces import TraceBlock, Traces, write_traces
from eval.voe.trials import Trial, Video, read_trials, write_trials
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel
from worldmodel.models.video_encoder import VideoEncoderConfig
from worldmodel.video import write_video

FPS, FRAMES, REVEAL = 12.0, 24, 15
HOSTILE = "<script>window.pwned=1</script>"
PAIRINGS = (("a", "u", True), ("b", "v", True), ("a", "v", False), ("b", "u", False))
SCORERS = (
    "whitened",
    "latent distance",
    "pixel copy",
    "latent copy",
    "latent copy, whitened",
    "untrained 0",
    "untrained 0, whitened",
)


def truth_of(centres: np.ndarray, **changed) -> ClipTruth:
    """Bodies of 8 px that can move, at centre_px [T, O, 2] in a picture of 64 px at 10 fps, all visible, none touching."""
    frames, count = centres.shape[:2]
    fields = {
        "fps": 10.0,
        "width": 64,
        "height": 64,
        "fixed": np.zeros(count, bool),
        "shape": np.array(["box"] * count, "U16"),
        "colour_rgb": np.tile(np.array([1.0, 0.0, 0.0]), (count, 1)),
        "present": np.isfinite(centres).all(2),
        "position_m": np.zeros((frames, count, 3)),
        "centre_px": centres.astype(float),
        "width_px": np.full((frames, count), 8.0),
        "visible_px": np.full((frames, count), 50),
        "unoccluded_px": np.full((frames, count), 50),
        "contact": np.zeros((frames, count, count), bool),
    }
    return ClipTruth(**{**fields, **changed})


@pytest.fixture
def make_truth():
    return truth_of


@pytest.fixture(scope="session")
def masked_model() -> MaskedWorldModel:
    """Context and forecast share a window of 8 frames at 12 fps, 4 latent steps of 4 x 4 tokens; random weights."""
    torch.manual_seed(0)
    config = MaskedConfig(
        encoder=VideoEncoderConfig(patch_px=4, tubelet_size=2, width=12, depth=1, heads=2),
        predictor=MaskPredictorConfig(width=12, depth=1, heads=2),
    )
    model = build_model(config, WindowConfig(frames=8, fps=12, size_px=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


VERDICTS = ("warming_up", "healthy", "dimensional_collapse", "dimensional_collapse", "healthy", "healthy")
SKILLS = (-0.5, 0.2, 0.3, 0.3, 0.5, 0.4)


def write_run(folder: Path, *, verdicts=VERDICTS, skills=SKILLS, steps: int = 600, max_steps: int = 600, wait: float = 0.02):
    """A run folder: a row of metrics every 10 steps of 1 s, and a health check every 100 steps that takes 5 s more, in the row
    after it. The best checkpoint is at the health check with the highest skill."""
    folder.mkdir(parents=True)
    checks, lines, seconds = (
        {100 * (index + 1): entry for index, entry in enumerate(zip(verdicts, skills, strict=True))},
        [],
        0.0,
    )
    for step in range(10, steps + 1, 10):
        seconds += 10 + 5 * (step - 10 in checks)
        row = {
            "step": step,
            "samples": 8 * step,
            "seconds": seconds,
            "loss": 50 / step,
            "loss/forecast/direct": 30 / step,
        }
        row |= {"loss/forecast/imagined": 0.0, "loss/spread/std": 20 / step, "lr": 1e-3, "grad_norm": 2.0, "batch_hash": "00"}
        lines.append({**row, "samples_per_s": 8.0, "data_wait_fraction": wait})
    health = []
    for step, (verdict, skill) in checks.items():
        metrics = {"effective_rank": 7.0, "max_rank": 8, "effective_rank_with_position": 6.0, "position_fraction": 0.3}
        metrics |= {"std_min": 0.5, "std_mean": 1.0, "corr_offdiag": 0.01, "skill": skill}
        ahead = {f"{name}/{h}": skill for name in ("skill", "skill_copy", "skill_mean") for h in ("0.25", "0.5", "1")}
        health.append({"step": step, "verdict": verdict, "advice": "observed", **metrics, **ahead})
    for name, rows in (("metrics", lines), ("health", health)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    best = max(checks, key=lambda step: checks[step][1], default=None)
    if best is not None:
        (folder / "best.json").write_text(json.dumps({"checkpoint": f"{best:08d}", "skill": checks[best][1]}))
    recipe = f"train: {{max_steps: {max_steps}, precision: fp32}}\nhealth: {{every: 100}}\n"
    recipe += f"data: {{workers: 2, manifest: '{HOSTILE}'}}\n"
    (folder / "recipe.yaml").write_text(recipe + "objectives: {spread: {kind: vicreg}}\noptim: {clip_norm: 1.0}\n")
    return folder


@pytest.fixture
def make_run():
    return write_run


@pytest.fixture(scope="session")
def evaluation(tmp_path_factory) -> Path:
    """32 test quadruplets of two properties, one with a hostile name, and 8 on val, with scores.json.

    Whitened surprise finds the impossible video in every quadruplet but numbers 0 and 1 of permanence, by a margin that grows
    with the number. The videos of the best one of permanence, number 15, are missing.
    """
    out = tmp_path_factory.mktemp("evaluation")
    return write_evaluation(out, {"permanence": 16, HOSTILE: 16})


def write_evaluation(out: Path, properties: dict[str, int]) -> Path:
    for context, outcome, _ in PAIRINGS:
        write_video(out / f"{context}{outcome}.mp4", moving_square(context, outcome), FPS)
    trials = [
        _trial(out, name, number, split)
        for name, count in properties.items()
        for split, some in (("test", count), ("val", 4))
        for number in range(some)
    ]
    write_trials(out / "trials.json", trials)
    write_traces(
        out / "traces.parquet", [block for trial in trials for video in trial.videos for block in _blocks(trial, video)]
    )
    (out / "maps").mkdir()
    for video in trials[8].videos:
        np.savez(out / "maps" / f"{video.video_id}.npz", **_maps(video))
    protocol = json.loads((Path(__file__).parent / "protocol.json").read_text(encoding="utf-8"))
    (out / "protocol.json").write_text(json.dumps(protocol), encoding="utf-8")
    scores = score(read_trials(out / "trials.json"), Traces.open(out / "traces.parquet"), protocol)
    (out / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    return out


def _maps(video: Video) -> dict[str, np.ndarray]:
    """Surprise of 2 x 2 tokens, highest at the last one: in locked windows of one step, in sliding ones of three. Half of
    the sliding windows have a context of another length, which is not used."""
    locked, free = np.full((4, 1, 4), 2.0), np.full((4, 3, 4), 0.1 if video.label else 0.4)
    locked[..., 3], free[..., 3], free[2:] = 5.0, 1.0, 99.0
    return {
        "locked/whitened": locked,
        "locked/cut_s": np.arange(12, 16) / FPS,
        "locked/context_s": np.full(4, 12 / FPS),
        "sliding/whitened": free,
        "sliding/cut_s": np.array([0.5, 1.0, 0.5, 1.0]),
        "sliding/context_s": np.array([4, 4, 8, 8]) / FPS,
    }


def moving_square(context: str, outcome: str) -> np.ndarray:
    """uint8 [24, 32, 48, 3], wider than high: a bright square whose left edge is at pixel t in frame t."""
    frames = np.full((FRAMES, 32, 48, 3), 90, np.uint8)
    for t in range(FRAMES):
        frames[t, 10:20, t : t + 8] = (250, 120, 90) if context == "a" else (20, 150, 250)
        frames[t, 22:28, 30:40] = 230 if outcome == "u" else 20
    return frames


def _trial(out: Path, name: str, number: int, split: str) -> Trial:
    group = f"{name}-{split}-{number:02d}"
    gone = name == "permanence" and number == 15
    short = "h" if name == HOSTILE else "p"
    videos = tuple(
        Video(
            f"{short}-{split}-{number}-{c}{o}", str(out / ("<u>gone.mp4" if gone else f"{c}{o}.mp4")), FPS, FRAMES, label, c, o
        )
        for c, o, label in PAIRINGS
    )
    return Trial(
        group,
        videos,
        PAIRS,
        name,
        split,
        "occluded",
        str(1 + number % 2),
        ("easy", "hard")[number // 2 % 2],
        0.1 * number,
        True,
        (12, 14),
        13,
        (10, 13 + number % 3),
        13,
        REVEAL,
        f"leaks {HOSTILE}" if name == HOSTILE else "",
    )


def _blocks(trial: Trial, video: Video) -> list[TraceBlock]:
    number = int(trial.group_id[-2:])
    gain = -0.5 if trial.property == "permanence" and number < 2 else 0.1 * (number + 1)
    blocks = []
    for scorer in SCORERS:
        raised = gain * {"whitened": 1, "latent distance": 0.5}.get(scorer, 0) * (not video.label)
        for windows, starts, context in (("locked", (0, 1), 12), ("sliding", (0, 4, 8), 4), ("sliding", (0, 4, 8), 8)):
            for start in starts:
                cut = start + context
                frames = np.arange(cut, FRAMES if windows == "locked" else min(start + 16, FRAMES))
                surprise = 1 + 0.01 * start + raised * (frames >= REVEAL)
                blocks.append(
                    TraceBlock(
                        [video.video_id],
                        ScorerId.parse(scorer),
                        windows,
                        start / FPS,
                        context / FPS,
                        frames / FPS,
                        surprise[None].astype(float),
                    )
                )
    return blocks
