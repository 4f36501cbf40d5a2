"""What the learner keeps out of mixed precision."""

import torch

from worldmodel.data.loader import Batch
from worldmodel.recipe import Recipe
from worldmodel.train import build_learner


def test_pixels_and_statistics_are_float32_under_bf16(monkeypatch):
    torch.manual_seed(0)
    recipe = Recipe.model_validate({"augment": {"crop_area_min": 0.5, "brightness": 0.2, "saturation": 0.2}})
    learner = build_learner(recipe)
    frames = torch.randint(0, 256, (4, 24, 72, 72, 3), dtype=torch.uint8)
    batch = Batch(frames, torch.rand(4, 10), torch.arange(4), chance=6)
    seen = []
    inner = learner.model.forward
    monkeypatch.setattr(learner.model, "forward", lambda pixels, *rest: (seen.append(pixels), inner(pixels, *rest))[1])
    learner(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = learner(batch)
        found = learner.statistics(batch).statistics.values()
    assert torch.equal(seen[0], seen[1])  # a crop whose corners are rounded to bf16 is another crop
    assert {value.dtype for part in found for value in (part.sums | part.rows).values()} == {torch.float32}
    assert loss.total.dtype == torch.float32
