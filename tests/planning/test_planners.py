"""Planners on costs with a known optimum: what they find, within which bounds, and with which random numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from worldmodel.planning import (
    ActionSpace,
    CEMConfig,
    GradientConfig,
    ICEMConfig,
    MPPIConfig,
    PlannerBase,
    PlanningError,
    WarmStart,
    generators_of,
    search,
)

HORIZON = 4
UNBOUNDED = ActionSpace(torch.tensor([-torch.inf] * 2), torch.tensor([torch.inf] * 2), torch.ones(2))
BOX = ActionSpace.box([-1, -1], [1, 1])
PLANNERS = [
    CEMConfig(horizon=HORIZON, samples=300, elites=30, iterations=20),
    ICEMConfig(horizon=HORIZON, samples=300, elites=20, iterations=20, noise_exponent=0.5),
    MPPIConfig(horizon=HORIZON, samples=200, iterations=40, temperature=0.02, std=0.3),
    GradientConfig(horizon=HORIZON, samples=5, iterations=150, learning_rate=0.1),
]
each_planner = pytest.mark.parametrize("config", PLANNERS, ids=lambda config: config.kind)


class Recorded:
    """A cost that remembers all actions that it was asked about."""

    def __init__(self, cost) -> None:
        self.cost, self.seen = cost, []

    def __call__(self, actions: Tensor) -> Tensor:
        self.seen.append(actions.detach().clone())
        return self.cost(actions)


def quadratic(optimum: Tensor):
    """Squared distance to a sequence [H, A], or to one per environment [B, 1, H, A]."""
    return lambda actions: (actions - optimum).square().sum((-1, -2))


@each_planner
def test_the_minimum_of_a_quadratic_is_found(config: PlannerBase):
    optimum = torch.tensor([[0.5, -1.5], [0.0, 1.0], [-0.7, 0.2], [1.2, 0.9]])
    plan = search(quadratic(optimum), UNBOUNDED, config, generators_of([0, 1]))
    assert plan.actions.shape == (2, HORIZON, 2)
    tolerance = 0.1 if config.kind == "mppi" else 0.02  # a weighted mean of samples with a fixed spread
    torch.testing.assert_close(plan.actions, optimum.expand(2, -1, -1), atol=tolerance, rtol=0)
    torch.testing.assert_close(plan.cost, quadratic(optimum)(plan.actions[:, None])[:, 0])


@each_planner
def test_an_optimum_beyond_the_bounds_is_approached_at_the_edge(config: PlannerBase):
    cost = Recorded(quadratic(torch.tensor([3.0, 0.25])))
    plan = search(cost, BOX, config, generators_of([0]))
    atol = 0.1 if config.kind == "mppi" else 0.02
    torch.testing.assert_close(plan.actions[0], torch.tensor([1.0, 0.25]).expand(HORIZON, 2), atol=atol, rtol=0)
    seen = torch.cat([actions.flatten() for actions in cost.seen])
    assert float(seen.abs().max()) <= 1.0  # the model never sees an action that cannot be executed


@each_planner
def test_no_action_is_longer_than_the_norm(config: PlannerBase):
    cost = Recorded(quadratic(torch.tensor([30.0, 40.0])))
    plan = search(cost, ActionSpace.ball(2, max_norm=2.5), config.model_copy(update={"horizon": 2}), generators_of([0]))
    lengths = torch.cat([torch.linalg.vector_norm(actions, dim=-1).flatten() for actions in cost.seen])
    assert float(lengths.max()) <= 2.5 + 1e-5
    torch.testing.assert_close(plan.actions[0], torch.tensor([1.5, 2.0]).expand(2, 2), atol=0.1, rtol=0)


@each_planner
def test_the_deeper_of_two_minima_is_found(config: PlannerBase):
    """Basins around -0.8 (depth 1) and 0.8 (depth 2) in each of two steps; the search starts between them."""

    def cost(actions: Tensor) -> Tensor:
        near = [depth * torch.exp(-(actions - centre).square() / 0.1) for centre, depth in ((-0.8, 1.0), (0.8, 2.0))]
        return -(near[0] + near[1]).sum((-1, -2))

    space = ActionSpace.box([-1], [1])
    short = config.model_copy(update={"horizon": 2, "samples": max(config.samples, 50), "std": max(config.std, 0.5)})
    plan = search(cost, space, short, generators_of([3]))
    torch.testing.assert_close(plan.actions[0], torch.full((2, 1), 0.8), atol=0.1, rtol=0)


@each_planner
def test_the_best_cost_never_rises(config: PlannerBase):
    plan = search(quadratic(torch.tensor([0.3, -0.6])), BOX, config, generators_of([5, 6]))
    assert bool((plan.best_cost.diff(dim=0) <= 0).all())
    assert bool((plan.best_cost[-1] < plan.best_cost[0]).all())


@each_planner
def test_a_plan_does_not_depend_on_the_other_environments(config: PlannerBase):
    """To the bit: each environment has a generator and a goal of its own."""
    optima = torch.randn(5, 1, HORIZON, 2, generator=torch.Generator().manual_seed(0))
    together = search(quadratic(optima), BOX, config, generators_of(range(5)))
    for number in (0, 3):
        alone = search(quadratic(optima[number : number + 1]), BOX, config, generators_of([number]))
        assert torch.equal(alone.actions[0], together.actions[number])
        assert torch.equal(alone.best_cost[:, 0], together.best_cost[:, number])
    turned = search(quadratic(optima.flip(0)), BOX, config, generators_of([4, 3, 2, 1, 0]))
    assert torch.equal(turned.actions.flip(0), together.actions)


@each_planner
def test_the_seed_decides(config: PlannerBase):
    cost = quadratic(torch.tensor([0.3, -0.6]))
    first, again, other = (search(cost, BOX, config, generators_of([seed])) for seed in (1, 1, 2))
    assert torch.equal(first.actions, again.actions)
    assert not torch.equal(first.next_start.elites, other.next_start.elites)


@each_planner
def test_calls_and_sequences_are_counted(config: PlannerBase):
    cost = Recorded(quadratic(torch.zeros(2)))
    plan = search(cost, BOX, config, generators_of([0, 1]))
    assert plan.cost_calls == len(cost.seen)
    assert plan.sequences == sum(actions.shape[1] for actions in cost.seen)
    assert plan.predictor_steps == plan.sequences * HORIZON


@each_planner
def test_a_warm_start_begins_where_it_says(config: PlannerBase):
    optimum = torch.full((1, HORIZON, 2), 0.4)
    start = WarmStart(optimum, optimum[:, None])
    one = config.model_copy(update={"iterations": 1})
    plan = search(quadratic(optimum), BOX, one, generators_of([0]), start)
    assert torch.equal(plan.best_cost[0], torch.zeros(1))
    with pytest.raises(PlanningError, match=r"warm start has shape \[1, 4, 2\]; expected \[2, 4, 2\]"):
        search(quadratic(optimum), BOX, one, generators_of([0, 1]), start)


@each_planner
def test_proposals_compete_in_the_first_iteration_within_the_bounds(config: PlannerBase):
    """The optimum lies at the edge of the box. It is proposed, by actions beyond the bounds, and found at once."""
    optimum = torch.tensor([[1.0, -1.0]]).expand(1, HORIZON, 2)
    one = config.model_copy(update={"iterations": 1})
    proposals = torch.stack([torch.zeros(1, HORIZON, 2), 3 * optimum], dim=1)
    proposed = search(quadratic(optimum), BOX, one, generators_of([0]), proposals=proposals)
    alone = search(quadratic(optimum), BOX, one, generators_of([0]))
    assert float(proposed.best_cost[0]) == 0
    assert float(alone.best_cost[0]) > 0.1
    evaluations = 2 if config.kind == "gradient" else 1  # before its step and after it
    assert proposed.sequences == alone.sequences + 2 * evaluations
    with pytest.raises(PlanningError, match=r"proposals have shape \[1, 2, 3, 2\]; expected \[1, P, 4, 2\]"):
        search(quadratic(optimum), BOX, one, generators_of([0]), proposals=proposals[:, :, 1:])


@each_planner
def test_blocks_are_planned_as_one_step(config: PlannerBase):
    """Three actions per step: the optimum differs within a block, and the bounds hold for each action."""
    space = ActionSpace.box([-1, 0], [1, 2], block=3)
    optimum = torch.tensor([-1.0, 2.0, 0.0, 0.5, 1.0, 1.0])
    scale = space.step_scale
    short = config.model_copy(update={"horizon": 2})
    plan = search(lambda a: ((a - optimum) / scale).square().sum((-1, -2)), space, short, generators_of([0]))
    assert plan.actions.shape == (1, 2, 6)
    sequence = space.sequence(plan.actions)
    assert sequence.shape == (1, 6, 2)
    torch.testing.assert_close(sequence[0, :3], optimum.view(3, 2), atol=0.15, rtol=0)


@each_planner
def test_nan_costs_are_never_chosen_and_all_nan_is_an_error(config: PlannerBase):
    def half(actions: Tensor) -> Tensor:
        cost = quadratic(torch.tensor([0.5, 0.5]))(actions)
        return torch.where(actions[..., 0, 0] > 0.2, torch.nan, cost)

    plan = search(half, BOX, config.model_copy(update={"iterations": 3}), generators_of([0]))
    assert bool(plan.best_cost.isfinite().all())
    with pytest.raises(PlanningError, match=r"environment 0: none of .* sequences has a finite cost"):
        search(lambda actions: actions.sum((-1, -2)) * torch.nan, BOX, config, generators_of([0]))


@each_planner
def test_a_cost_of_the_wrong_shape_is_named(config: PlannerBase):
    with pytest.raises(PlanningError, match=r"returned shape \[1, \d+, 4\] .*; expected \[1, \d+\]"):
        search(lambda actions: actions.sum(-1), BOX, config, generators_of([0]))


def test_gradient_needs_a_gradient():
    with pytest.raises(PlanningError, match="no gradient with respect to the actions; choose cem, icem or mppi"):
        search(lambda a: a.detach().sum((-1, -2)), BOX, GradientConfig(horizon=1), generators_of([0]))


def test_no_environment_is_an_error():
    for config in PLANNERS:
        with pytest.raises(PlanningError, match="one random generator per environment"):
            search(quadratic(torch.zeros(2)), BOX, config, [])


def test_the_mean_may_be_returned_instead_of_the_best():
    """Costs with noise: the best of many is lucky, the mean is not."""
    config = CEMConfig(horizon=1, samples=50, elites=10, iterations=5, returns="mean")
    plan = search(quadratic(torch.tensor([0.3, 0.3])), BOX, config, generators_of([0]))
    assert torch.equal(plan.actions, plan.next_start.mean)


def test_icem_draws_fewer_samples_in_later_iterations():
    """100 / 1.25^i, at least 2 * 10, and from the second iteration on 3 kept elites; the mean in the last one."""
    cost = Recorded(quadratic(torch.zeros(2)))
    config = ICEMConfig(horizon=2, samples=100, elites=10, iterations=10)
    search(cost, BOX, config, generators_of([0]))
    assert [actions.shape[1] for actions in cost.seen] == [100, 83, 67, 54, 44, 36, 29, 24, 23, 24, 1]


def test_icem_keeps_the_elites_of_the_last_search():
    kept = torch.full((1, 5, HORIZON, 2), 0.7)
    cost = Recorded(quadratic(torch.tensor([0.7, 0.7])))
    config = ICEMConfig(horizon=HORIZON, samples=20, elites=10, iterations=1)
    plan = search(cost, BOX, config, generators_of([0]), WarmStart(torch.zeros(1, HORIZON, 2), kept))
    assert cost.seen[0].shape[1] == 20 + 3 + 1
    assert plan.cost.item() == 0


def test_mppi_weights_are_those_of_the_formula():
    """One iteration: the mean of all samples, weighted by exp(-cost / temperature)."""
    cost = Recorded(lambda actions: actions.sum((-1, -2)))
    plan = search(cost, BOX, MPPIConfig(horizon=1, samples=8, iterations=1, temperature=0.5), generators_of([0]))
    actions = cost.seen[0][0]
    weights = torch.exp(-actions.sum((-1, -2)) / 0.5)
    torch.testing.assert_close(plan.actions[0], (weights[:, None, None] * actions).sum(0) / weights.sum())


def test_a_shifted_start_repeats_its_last_step():
    mean = torch.arange(6.0).view(1, 3, 2)
    start = WarmStart(mean, mean[:, None]).shifted(2)
    expected = torch.tensor([[[4.0, 5.0], [4.0, 5.0], [4.0, 5.0]]])
    assert torch.equal(start.mean, expected)
    assert torch.equal(start.elites, expected[:, None])
    with pytest.raises(PlanningError, match="4 steps were executed of a plan of 3"):
        start.shifted(4)


def test_a_shortened_start_ends_where_it_ended():
    plan = torch.arange(3.0).reshape(1, 3, 1)
    start = WarmStart(plan, plan[:, None]).shortened(2)
    assert start.mean.flatten().tolist() == start.elites.flatten().tolist() == [2]
    with pytest.raises(PlanningError, match="3 steps were executed of a plan of 3; expected that a step is left"):
        WarmStart(plan, plan[:, None]).shortened(3)


def test_more_elites_than_samples_are_refused():
    with pytest.raises(ValueError, match="elites 30 is more than samples 20"):
        CEMConfig(horizon=1, samples=20)
