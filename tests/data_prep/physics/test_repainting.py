"""Repainting changes looks and nothing else."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.errors import PrepError
from data_prep.physics.generation import GenerationConfig, claim_output
from data_prep.physics.job_plan import PossibleJob, train_jobs
from data_prep.physics.jobs import run_job
from data_prep.physics.repainting import MIN_CONTRAST, PATTERNS, repaint
from data_prep.physics.video_format import VideoFormat

FRAMES, SIZE_PX = 4, 16


def moving_square() -> tuple[np.ndarray, np.ndarray]:
    """A square (entity 1) that moves to the right and passes behind an occluder (entity 255)."""
    segmentation = np.zeros((FRAMES, SIZE_PX, SIZE_PX), np.uint8)
    for frame in range(FRAMES):
        segmentation[frame, 6:10, 3 * frame : 3 * frame + 4] = 1
    segmentation[:, 4:12, 6:9] = 255
    return np.full((*segmentation.shape, 3), 120, np.uint8), segmentation


def test_entities_keep_one_colour_and_their_outline() -> None:
    """Frames without shading stay without: each entity has one colour in its interior, in every frame."""
    frames, segmentation = moving_square()
    for seed in range(10):
        painted = repaint(frames, segmentation, np.random.default_rng(seed))
        body, occluder = painted[0, 7:9, 1:3].reshape(-1, 3), painted[:, 5:11, 7].reshape(-1, 3)
        assert len(np.unique(occluder, axis=0)) == 1
        assert len(np.unique(body, axis=0)) == 1
        assert (painted[3, 7:9, 10:12].reshape(-1, 3) == body).all()
        gap = np.linalg.norm((body[0].astype(float) - occluder[0]) / 255)
        assert gap >= MIN_CONTRAST - 0.01


def test_backdrop_stands_still() -> None:
    frames, segmentation = moving_square()
    painted = repaint(frames, segmentation, np.random.default_rng(0))
    assert (painted[:, :3] == painted[:1, :3]).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_are_weights(pattern: object) -> None:
    weight = pattern(np.random.default_rng(1), SIZE_PX)  # type: ignore[operator]
    assert weight.shape == (SIZE_PX, SIZE_PX)
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_equal_seeds_paint_equally_and_others_do_not() -> None:
    frames, segmentation = moving_square()
    one, same, other = (repaint(frames, segmentation, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_ground_truth_of_a_repainted_video_is_that_of_the_plain_one(tmp_path: Path) -> None:
    """The scene is sampled alike; only the frames and the names of the files differ."""
    video = VideoFormat(32, 16, 12.0)
    plain, painted = (
        run_job(PossibleJob("train", 0, 0, randomised_looks=share), str(tmp_path), video).clips[0] for share in (0.0, 1.0)
    )
    assert plain["label"] == painted["label"]
    assert plain["content_hash"] != painted["content_hash"]
    first, second = (np.load(tmp_path / clip["truth"]) for clip in (plain, painted))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_share_is_given_to_every_job() -> None:
    assert {job.randomised_looks for job in train_jobs(40, 0, randomised_looks=0.5)} == {0.5}
    assert {job.randomised_looks for job in train_jobs(40, 0)} == {0.0}


def test_a_folder_keeps_its_share(tmp_path: Path) -> None:
    """A folder of plain videos, whose configuration does not name the share, is not resumed with another one."""
    plain, painted = (
        GenerationConfig(kind="train", videos=2, randomised_looks=share, seed=0, size_px=64, frames=24, fps=12.0, generator="1")
        for share in (0.0, 0.5)
    )
    claim_output(tmp_path, plain)
    assert "randomised_looks" not in (tmp_path / "train.json").read_text(encoding="utf-8")
    claim_output(tmp_path, plain)
    with pytest.raises(PrepError, match=r"randomised_looks is 0.0 there and 0.5 now"):
        claim_output(tmp_path, painted)
