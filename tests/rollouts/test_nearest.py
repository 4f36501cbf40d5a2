"""The nearest training frame, worked by hand, and other continuations of one context."""

import torch

from worldmodel.data.window_config import WindowConfig
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.world_model import latent_distance
from worldmodel.rollouts.continuations import continuation, step_errors
from worldmodel.rollouts.nearest import nearest


def test_the_nearest_is_the_least_mean_over_places():
    """To (0, 0 | 0, 0): the first is (3^2 + 0) / 2 over features at one of two places, 2.25; the second 1 everywhere."""
    bank = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[4.0, 4.0], [4.0, 4.0]]])
    asked = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 4.0)])
    which, far = nearest(asked, bank, lambda a, b: latent_distance(a, b, "l2"))
    assert which.tolist() == [1, 2]
    assert far.tolist() == [1.0, 0.0]


def model() -> CausalWorldModel:
    torch.manual_seed(0)
    encoder = {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "latent_grid": 2}
    predictor = {"width": 16, "depth": 1, "heads": 2, "horizons": 2}
    config = CausalConfig.model_validate({"encoder": encoder, "predictor": predictor, "rollout_steps": 0})
    net = CausalWorldModel(config, WindowConfig(frames=12, fps=12.0, size_px=16)).eval()
    torch.nn.init.normal_(net.predictor.head[-1].weight, std=0.3)  # else it is born a copier
    return net


def test_without_errors_a_continuation_is_what_the_model_imagines():
    net = model()
    context = net.normalise(torch.randint(0, 256, (1, 4, 16, 16, 3), dtype=torch.uint8))
    own = net.imagine(context, 12)  # the context slides
    silent = continuation(net, context, 12, torch.zeros(5, 4, 8), torch.Generator().manual_seed(1))
    torch.testing.assert_close(silent, own)


def test_drawn_errors_have_the_covariance_of_the_models_own():
    """One step from one context, 4000 times: what differs is the error alone."""
    net = model()
    frames = torch.randint(0, 256, (6, 12, 16, 16, 3), dtype=torch.uint8)
    residuals = step_errors(net, frames, torch.device("cpu"))
    context = net.normalise(frames[:1, :4])
    many = continuation(net, context.expand(4000, -1, -1, -1, -1), 1, residuals, torch.Generator().manual_seed(1))
    wanted, found = (torch.cov(x.flatten(1).T, correction=0) for x in (residuals, many[:, 0]))
    assert (found - wanted).abs().max() < 0.1 * wanted.diagonal().max()
