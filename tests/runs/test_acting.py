"""A run as planners use it: its latents, its context, its untrained copy, and runs that cannot plan."""

import numpy as np
import pytest
import torch

from tests.support.made_acting_model import FRAMES, checkpoint_of, made_acting, made_recipe, pictures
from worldmodel.config import ConfigError
from worldmodel.runs import acting as module
from worldmodel.runs.acting import load_acting_model
from worldmodel.video import write_video
from worldmodel.video.geometry import read_square_frames


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Load a made run as if it were in a folder."""

    def load(made):
        monkeypatch.setattr(module, "find_checkpoint", lambda _path: checkpoint_of(made))
        monkeypatch.setattr(module, "load_model", lambda _folder, _device: (made.model, made.recipe))
        return load_acting_model("made")

    return load


def test_an_untrained_copy_does_not_ignore_actions_and_depends_on_its_seed():
    made = made_acting()
    actions = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(2))
    costs = []
    for seed in (0, 0, 1):
        copy = made.untrained(seed)
        costs.append(copy.goal_cost(copy.observe(pictures(1)), copy.encode(pictures(2))[:, -1])(actions))
    assert (costs[0].std(1) > 0).all()
    assert torch.equal(costs[0], costs[1])
    assert not torch.equal(costs[0], costs[2])


def test_planning_uses_the_latents_that_the_predictor_was_trained_on(load):
    made = made_acting(made_recipe(target={"kind": "ema"}))
    with torch.no_grad():
        for parameter in made.model.teacher.parameters():
            parameter += 1
    before = load(made).encode(pictures(2))
    with torch.no_grad():
        for parameter in made.model.teacher.parameters():
            parameter += 1
    assert torch.equal(made.encode(pictures(2)), before)
    assert torch.equal(made.observe(pictures(1)).last, made.encode(pictures(1))[:, -1])


def test_of_a_wide_or_tall_picture_the_middle_square_is_seen_as_in_training():
    made, square = made_acting(), pictures(2)
    side = square.shape[2]
    wide, tall = torch.zeros(2, *square.shape[:2], side, side, 3, dtype=torch.uint8)
    wide = torch.cat([wide[..., : side // 2, :], square, wide[..., : side // 2, :]], 3)
    tall = torch.cat([tall[:, :, : side // 2], square, tall[:, :, : side // 2]], 2)
    assert torch.equal(made.encode(wide), made.encode(square))
    assert torch.equal(made.encode(tall), made.encode(square))


def test_a_large_picture_is_resized_as_a_video_is_in_training(tmp_path):
    made, rng = made_acting(), np.random.default_rng(0)
    large = rng.integers(0, 256, (3, 50, 70, 3), np.uint8)
    write_video(tmp_path / "large.mp4", large, 10, lossless=True)
    read = read_square_frames(tmp_path / "large.mp4", made.model.size_px, "center_crop", indices=range(3))
    assert torch.equal(made.encode(torch.from_numpy(large)[None]), made.encode(torch.from_numpy(read)[None]))


def test_runs_that_cannot_plan_are_refused(load):
    with pytest.raises(ConfigError, match="tubelet_size is 2; planning encodes single frames"):
        load(made_acting(made_recipe(tubelet_size=2)))
    encoder = made_recipe().model.encoder.model_dump()
    with pytest.raises(ConfigError, match=r"model\.target\.kind is frozen"):
        load(made_acting(made_recipe(target={"kind": "frozen", "run": "teacher", "encoder": encoder})))


def test_a_predictor_without_blocks_sees_one_frame(load):
    assert load(made_acting()).max_context == FRAMES
    made = load(made_acting(made_recipe(depth=0)))
    assert made.max_context == 1
    context = made.observe(pictures(3))  # no actions are needed
    assert context.latents.shape[1] == 1
    assert torch.equal(context.last, made.encode(pictures(3))[:, -1])
