"""Objectives with weights of their own: inverse dynamics and steps to go. Values, gradients and exactness."""

from dataclasses import replace

import pytest
import torch

from worldmodel.models.latents import Latents, LatentSizes
from worldmodel.objectives import build_objective
from worldmodel.objectives.idm import InverseDynamicsConfig
from worldmodel.objectives.objective import ObjectiveBase
from worldmodel.objectives.statistics import Statistics, global_centers, loss_gradients, with_exact_gradient
from worldmodel.objectives.steps_to_go import StepsToGoConfig

SIZES = LatentSizes(6, 2, 3, 3, 5, 1, action=2)
CONFIGS = [
    InverseDynamicsConfig(width=8),
    StepsToGoConfig(width=8, points=4, pairs=7),
    StepsToGoConfig(width=8, points=6, groups=3, pairs=7),
]


@pytest.fixture
def latents(of_context) -> Latents:
    source = torch.Generator().manual_seed(0)
    made = of_context(torch.randn(5, 6, 2, 3, dtype=torch.float64, generator=source), step_seed=4)
    return replace(made, actions=torch.randn(5, 5, 2, dtype=torch.float64, generator=source))


def gradients(config: ObjectiveBase, parts: list[Latents]) -> tuple[float, list[torch.Tensor]]:
    """The loss of a global batch in these parts, and the gradient of the weights of its head."""
    torch.manual_seed(1)
    objective = build_objective(config, SIZES).double()
    centers = global_centers(parts[0])
    found = [Statistics(objective.sums(part, centers), objective.rows(part)) for part in parts]
    for part, own in zip(found, loss_gradients(objective, found), strict=True):
        loss = with_exact_gradient(part, own)
        loss.backward()
    return loss.item(), [weight.grad for weight in objective.parameters()]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind} {getattr(config, 'groups', '')}".strip())
def test_micro_batches_give_the_loss_and_the_gradient_of_the_whole(config: ObjectiveBase, latents: Latents):
    whole, expected = gradients(config, [latents])
    cut = lambda rows: replace(  # noqa: E731
        latents, context=latents.context[rows], context_mask=latents.context_mask[rows], actions=latents.actions[rows]
    )
    loss, found = gradients(config, [cut(slice(0, 2)), cut(slice(2, 5))])
    assert loss == pytest.approx(whole, rel=1e-12)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-12)


def test_the_error_of_an_action_is_the_mean_over_its_numbers(latents: Latents):
    objective = build_objective(InverseDynamicsConfig(weight=3.0), SIZES).double()
    for weight in objective.parameters():
        torch.nn.init.zeros_(weight)  # it predicts 0
    terms = objective.value(objective.sums(latents, global_centers(latents)))
    assert terms["action"].item() == pytest.approx(3 * latents.actions.square().mean().item())


def test_a_distance_that_is_too_large_costs_more_than_one_that_is_too_small():
    objective = build_objective(StepsToGoConfig(expectile=0.1), SIZES)
    errors = objective._errors(torch.tensor([6.0, 2.0]), torch.tensor([4.0, 4.0]))
    assert errors.tolist() == pytest.approx([0.9, 0.1])  # (2 / sqrt 4)^2, weighted


def test_pairs_lie_within_the_clip_and_depend_on_the_step_alone():
    objective = build_objective(StepsToGoConfig(pairs=500), SIZES)
    first, last = objective._pairs(6, 11)
    assert (first >= 0).all()
    assert (first < last).all()
    assert set((last - first).tolist()) == {1, 2, 3, 4, 5}
    assert all(map(torch.equal, (first, last), objective._pairs(6, 11)))


def test_distances_of_groups_are_added():
    """Two rooms that meet in a door at 0: the way is that to the door plus that behind it, 3 + 4 and not 5."""
    left, right = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]])
    for groups, expected in ((2, 7.0), (1, 5.0)):
        objective = build_objective(StepsToGoConfig(points=4, groups=groups), SIZES)
        assert objective._distance(left, right).item() == pytest.approx(expected, abs=1e-5)


def test_points_that_groups_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="points 32 is not divisible by groups 5"):
        StepsToGoConfig(groups=5)


@pytest.mark.parametrize("groups", [1, 4])
def test_steps_to_go_is_a_distance(groups: int):
    objective = build_objective(StepsToGoConfig(groups=groups), SIZES)
    a, b, c = torch.randn(3, 4, 2, 3)
    torch.testing.assert_close(objective(a, b), objective(b, a))
    assert (objective(a, c) <= objective(a, b) + objective(b, c) + 1e-3).all()
    assert objective(a[:, None], b[None, :2]).shape == (4, 2)
