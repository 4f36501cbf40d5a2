"""Masks that data workers draw are those that the model would draw itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from made_clips import SIZE_PX, windows_of

from worldmodel.data.augmentation.augment import AugmentConfig
from worldmodel.data.loader import Batch, training_batches
from worldmodel.data.token_masks.drawing import MaskRequest, MaskRule, _generator, draw_masks
from worldmodel.data.token_masks.stacked import draw_batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel
from worldmodel.models.masks import MaskConfig, mask_rule
from worldmodel.objectives import build_objective
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.training.learner import Learner

VIEWS = (
    MaskConfig(blocks=8, area=0.15),
    MaskConfig(blocks=2, area=0.7),
    MaskConfig(blocks=0, visible_time_fraction=(0.3, 0.7)),
)
WINDOW = WindowConfig(frames=8, fps=10, size_px=SIZE_PX)
SMALL = {
    "encoder": {"patch_px": 8, "tubelet_size": 2, "width": 24, "depth": 1, "heads": 2},
    "predictor": {"width": 24, "depth": 1, "heads": 2},
    "masks": [{"blocks": 2, "area": 0.2}, {"blocks": 0, "visible_time_fraction": [0.3, 0.7]}],
}
RULE = MaskedConfig.model_validate(SMALL).mask_rule(4, (4, 4))


def digest(rules: Sequence[MaskRule]) -> str:
    found = hashlib.sha256()
    for rule in rules:
        for step_seed in (0, 5, 2**40, 2**63 - 1):
            masks = draw_batch(rule, [0, 17, (3 << 55) | (2 << 40) | 1234567], step_seed)
            parts = [part for view in masks.views for part in (view.visible, view.masked)]
            for part in (*parts, *([] if masks.of_teacher is None else [masks.of_teacher])):
                found.update(str(tuple(part.shape)).encode() + part.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def test_masks_are_those_of_earlier_versions():
    """SHA-256 of token indices, computed at commit 2e21f5b, when the model drew them."""
    shapes = ((8, 16), (6, (8, 8)), (2, 4), (4, (5, 9)))
    rules = [mask_rule(VIEWS, *shape, share, share < 1) for shape in shapes for share in (1.0, 0.5, 0.1)]
    assert digest(rules) == "1cf08880a1e83976"


@pytest.mark.parametrize("key", [(0,), (5, 1), (2**32 - 1, 2**32), (2**63 - 1, 2, (3 << 55) | 7)])
def test_a_key_gives_the_numbers_of_numpys_own_generator(key: tuple[int, ...]):
    assert (
        _generator(*key).integers(2**63, size=4).tolist() == np.random.default_rng(list(key)).integers(2**63, size=4).tolist()
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_reader_draws_the_masks_of_every_step_wherever_it_starts(clips: Path, workers: int):
    windows = windows_of(clips, workers=workers)
    found = list(training_batches(windows, 3, 7, micro_batches=2, rank=1, world_size=2, masks=RULE))
    plain = training_batches(windows_of(clips), 3, 7, micro_batches=2, rank=1, world_size=2)
    for batch, other in zip(chain(*found), chain(*plain), strict=True):
        expected = draw_batch(RULE, other.ids.tolist(), other.step_seed)
        assert batch.masks is not None
        assert batch.masks.lengths == expected.lengths
        assert torch.equal(batch.masks.indices, expected.indices)
        assert torch.equal(batch.frames, other.frames)
        assert batch.uniforms.equal(other.uniforms)


def test_a_window_that_replaces_another_one_has_the_masks_of_its_place(clips: Path):
    """Masks belong to the sample, which keeps its number when its window cannot be read."""
    (clips.parent / "clips" / "003.mp4").write_bytes(b"no video")
    windows = windows_of(clips, workers=1, batch_size=12)
    (batch,) = next(iter(training_batches(windows, 0, 1, masks=RULE)))
    assert len(batch.bad) == 1
    assert torch.equal(batch.masks.indices, draw_batch(RULE, batch.ids.tolist(), batch.step_seed).indices)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_losses_are_the_same_to_the_bit_whoever_draws_the_masks(clips: Path, share: float):
    config = MaskedConfig.model_validate({**SMALL, "tokens_kept": share})
    torch.manual_seed(0)
    objective = build_objective(ForecastConfig(distance="l1"), config.latent_sizes(WINDOW))
    learner = Learner(MaskedWorldModel(config, WINDOW), {"forecast": objective}, AugmentConfig())
    rule = config.mask_rule(4, (4, 4))
    stream = training_batches(windows_of(clips, workers=1), 2, 5, masks=rule)
    for (batch,) in stream:
        losses = [losses_and_gradient(learner, one) for one in (batch, replace(batch, masks=None))]
        for ours, plain in zip(*losses, strict=True):
            assert torch.equal(ours, plain)


def losses_and_gradient(learner: Learner, batch: Batch) -> list[torch.Tensor]:
    learner.zero_grad()
    loss = learner(batch)
    loss.total.backward()
    return [loss.total.detach(), *(weight.grad.clone() for weight in learner.parameters() if weight.grad is not None)]


def test_masks_of_other_frames_are_refused():
    model = MaskedWorldModel(MaskedConfig.model_validate(SMALL), WINDOW)
    other = draw_batch(replace(RULE, grid=(2, 2)), [0, 1], 5)
    with pytest.raises(ValueError, match="masks were drawn by"):
        model(torch.zeros(2, 8, 3, SIZE_PX, SIZE_PX), torch.arange(2), 5, masks=other)


def test_indices_travel_as_two_bytes_while_they_fit():
    small, large = (replace(RULE, grid=grid) for grid in ((128, 128), (128, 129)))  # 65,536 tokens, and more
    assert draw_masks(MaskRequest(small, 1, 2)).indices.dtype == np.uint16
    assert draw_masks(MaskRequest(large, 1, 2)).indices.max() > 65535
