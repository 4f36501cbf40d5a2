"""The masked family trains by the same loop, on one process or several, and is drawn by the same rollout."""

from pathlib import Path

import pytest

MODEL = (
    "model={kind: masked, encoder: {patch_px: 8, frames_per_latent: 2, width: 24, depth: 1, heads: 2}, "
    "predictor: {width: 24, depth: 1, heads: 2}, "
    "masks: [{blocks: 2, area: 0.3}, {blocks: 0, seen_share: [0.3, 0.7]}], target: {kind: ema, momentum: 0.9}}"
)
L1 = "objectives={forecast: {kind: forecast, distance: l1}, spread: {kind: vicreg}}"


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "parallel"), [(2, "ddp"), (2, "fsdp2")])
def test_ranks_and_micro_batches_have_the_masks_and_the_loss_of_one_process(
    trainer, read_rows, tmp_path: Path, ranks: int, parallel: str
):
    short = (MODEL, L1, "train.updates=6")
    for name, count, more in (("one", 1, ()), ("many", ranks, (f"train.parallel={parallel}", "train.micro_batches=2"))):
        done = trainer(tmp_path / name, *short, *more, ranks=count)
        assert done.returncode == 0, done.stderr
    for one, many in zip(read_rows(tmp_path / "one"), read_rows(tmp_path / "many"), strict=True):
        assert one["ids_hash"] == many["ids_hash"]
        assert many["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_it_learns_to_fill_in_and_is_drawn(trainer, read_rows, tmp_path: Path):
    from worldmodel.rollout import main

    run = tmp_path / "run"
    done = trainer(run, MODEL, L1, "train.updates=40", "optim.lr=3e-3", "health.every=20", "checkpoint.every=20")
    assert done.returncode == 0, done.stderr
    filled_in = [row["loss/forecast/direct"] for row in read_rows(run)]
    assert sum(filled_in[-5:]) < 0.9 * sum(filled_in[:5])
    assert {"skill", "skill/0.167", "skill/0.833"} <= read_rows(run, "health")[-1].keys()
    assert main([str(run), "--count", "1"]) == 0
    assert (run / "films" / "held_out_0.mp4").stat().st_size > 0


def test_pixels_as_targets_need_no_pressure_against_collapse(trainer, read_rows, tmp_path: Path):
    pixels = (
        MODEL,
        "model.target={kind: pixels}",
        "model.distance=l2",
        "objectives={forecast: {kind: forecast, distance: l2}}",
    )
    done = trainer(tmp_path / "run", *pixels, "train.updates=40", "optim.lr=3e-3")
    assert done.returncode == 0, done.stderr
    losses = [row["loss"] for row in read_rows(tmp_path / "run")]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
    assert not list((tmp_path / "run").glob("checkpoints/*/ema.safetensors"))
