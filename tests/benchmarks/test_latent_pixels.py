"""What latents keep of their patches, against models whose answer is known."""

import pytest
import torch

from benchmarks.latent_pixels import measure, r2
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.causal import CausalConfig, CausalWorldModel


def model(linear_dim: int) -> CausalWorldModel:
    """Patches of 2 x 2 px in two frames have 24 numbers."""
    encoder = {"patch_px": 2, "latent_grid": 4, "depth": 0, "latent_dim": 26, "linear_dim": linear_dim, "tubelet_size": 2}
    config = {"encoder": encoder, "predictor": {"width": 24, "heads": 4, "depth": 1, "horizons": 3}, "rollout_steps": 0}
    torch.manual_seed(0)
    return CausalWorldModel(CausalConfig.model_validate(config), WindowConfig(frames=16, fps=6, size_px=8)).eval()


def videos() -> torch.Tensor:
    return torch.randint(0, 256, (20, 16, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_linear_map_to_more_numbers_than_a_patch_has_keeps_all_pixels():
    """An untrained predictor copies, so skill is 0. Latents of noise forget the step before, so change is 2."""
    found = measure(model(linear_dim=25), videos())
    assert found.pixels == pytest.approx(1, abs=1e-3)
    assert found.colour == pytest.approx(1, abs=1e-3)
    assert found.skill == (0, 0)
    assert found.change == pytest.approx(2, rel=0.05)


def test_a_video_that_stands_still_does_not_change():
    still = videos()[:, :1].expand(-1, 16, -1, -1, -1)
    assert measure(model(linear_dim=25), still).change == 0


def test_r2_worked_by_hand():
    """The best line through 0, 1, 1, 0 at 0, 0, 1, 1 is flat; the one through 0, 0, 2, 2 is exact."""
    features = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert r2(features, torch.tensor([[0.0], [1.0], [1.0], [0.0]])) == pytest.approx(0)
    assert r2(features, torch.tensor([[0.0], [0.0], [2.0], [2.0]])) == pytest.approx(1)
