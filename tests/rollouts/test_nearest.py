"""The nearest training frame, worked by hand, and sampled continuations of one context."""

import torch

from worldmodel.data.window_config import WindowConfig
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.world_model import latent_distance
from worldmodel.rollouts.continuations import one_step_errors, sample_continuation
from worldmodel.rollouts.nearest import nearest_latents


def test_the_nearest_latent_has_the_smallest_mean_distance_over_tokens():
    """To (0, 0 | 0, 0): the first is (3^2 + 0) / 2 over features at one of two tokens, 2.25; the second 1 everywhere."""
    bank = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], [[4.0, 4.0], [4.0, 4.0]]])
    queries = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 4.0)])
    indices, distances = nearest_latents(queries, bank, lambda a, b: latent_distance(a, b, "l2"))
    assert indices.tolist() == [1, 2]
    assert distances.tolist() == [1.0, 0.0]


def model() -> CausalWorldModel:
    torch.manual_seed(0)
    encoder = {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "latent_grid": 2}
    predictor = {"width": 16, "depth": 1, "heads": 2, "horizons": 2}
    config = CausalConfig.model_validate({"encoder": encoder, "predictor": predictor, "rollout_steps": 0})
    net = CausalWorldModel(config, WindowConfig(frames=12, fps=12.0, size_px=16)).eval()
    torch.nn.init.normal_(net.predictor.head[-1].weight, std=0.3)  # an untrained model copies the last latent
    return net


def test_without_errors_a_continuation_equals_the_rollout():
    net = model()
    context = net.normalise(torch.randint(0, 256, (1, 4, 16, 16, 3), dtype=torch.uint8))
    own = net.rollout(context, 12)  # the context slides
    noiseless = sample_continuation(net, context, 12, torch.zeros(5, 4, 8), torch.Generator().manual_seed(1))
    torch.testing.assert_close(noiseless, own)


def test_sampled_errors_have_the_covariance_of_the_models_errors():
    """One step from one context, 4000 times: only the errors differ."""
    net = model()
    frames = torch.randint(0, 256, (6, 12, 16, 16, 3), dtype=torch.uint8)
    residuals = one_step_errors(net, frames, torch.device("cpu"))
    context = net.normalise(frames[:1, :4])
    many = sample_continuation(net, context.expand(4000, -1, -1, -1, -1), 1, residuals, torch.Generator().manual_seed(1))
    expected, found = (torch.cov(x.flatten(1).T, correction=0) for x in (residuals, many[:, 0]))
    assert (found - expected).abs().max() < 0.1 * expected.diagonal().max()
