"""Planning by inverse dynamics: what is rolled out, what is told, within which bounds, and as the start of a search."""

import pytest
import torch
from torch import Tensor

from tests.support.made_acting_model import made_acting, pictures
from worldmodel.planning import (
    ActionSpace,
    CEMConfig,
    Context,
    GoalHead,
    GradientConfig,
    ICEMConfig,
    MPPIConfig,
    PlanningError,
    generators_of,
    goal_distance,
    inverse_plan,
    search,
)

UNBOUNDED = ActionSpace(torch.tensor([-torch.inf] * 2), torch.tensor([torch.inf] * 2), torch.ones(2))


def moved(context: Context, actions: Tensor) -> Tensor:
    """A model whose latent is a position [B, 1, 2], which actions move."""
    return context.last[:, None, None] + actions.cumsum(2)[..., None, :]


def even_steps(now: Tensor, goal: Tensor, steps_left: Tensor) -> Tensor:
    """The exact inverse of `moved`: the rest of the way, divided by the steps left."""
    return (goal - now)[:, 0] / steps_left[:, None]


def positions(*rows: tuple[float, float]) -> Tensor:
    return torch.tensor(rows)[:, None]


def test_an_exact_inverse_reaches_the_goal_in_the_steps_that_are_left():
    now, goal = Context(positions((0, 0), (1, 1))[:, None]), positions((4, -8), (1, 5))
    plan = inverse_plan(even_steps, moved, now, goal, UNBOUNDED, horizon=4)
    torch.testing.assert_close(plan.actions, torch.tensor([[1.0, -2.0], [0.0, 1.0]])[:, None].expand(-1, 4, -1))
    torch.testing.assert_close(plan.cost, torch.zeros(2))
    assert (plan.sequences, plan.predictor_steps, plan.best_cost.shape) == (1, 4, (1, 2))


def test_the_steps_left_fall_by_one_and_are_at_least_one():
    told = []

    def inverse(now: Tensor, goal: Tensor, steps_left: Tensor) -> Tensor:
        told.append(steps_left.tolist())
        return even_steps(now, goal, steps_left)

    start, goal = Context(positions((0, 0), (0, 0))[:, None]), positions((6, 0), (6, 0))
    plan = inverse_plan(inverse, moved, start, goal, UNBOUNDED, horizon=3, steps_left=torch.tensor([2.0, 12.0]))
    assert told == [[2, 12], [1, 11], [1, 10]]
    torch.testing.assert_close(plan.actions[:, :, 0], torch.tensor([[3.0, 3.0, 0.0], [0.5, 0.5, 0.5]]))
    torch.testing.assert_close(plan.cost, torch.tensor([0.0, 4.5**2 / 2]))  # mean over x and y


def test_the_model_sees_only_actions_within_the_bounds():
    """The rest of the way is planned from where the clipped actions lead: 2.5 of 10 px are made in each step."""
    seen = []

    def imagine(context: Context, actions: Tensor) -> Tensor:
        seen.append(actions)
        return moved(context, actions)

    start, goal = Context(positions((0, 0))[:, None]), positions((6, 8))
    plan = inverse_plan(even_steps, imagine, start, goal, ActionSpace.ball(2, 2.5), horizon=3, steps_left=1)
    torch.testing.assert_close(plan.actions[0], torch.tensor([1.5, 2.0]).expand(3, 2))
    assert torch.equal(torch.cat(seen, 2)[:, 0], plan.actions)
    torch.testing.assert_close(plan.cost, torch.tensor([(1.5**2 + 2.0**2) / 2]))


def test_a_plan_does_not_depend_on_the_other_environments():
    generator = torch.Generator().manual_seed(0)
    now, goal = torch.randn(5, 1, 1, 2, generator=generator), torch.randn(5, 1, 2, generator=generator)
    left = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    together = inverse_plan(even_steps, moved, Context(now), goal, UNBOUNDED, 3, left)
    for number in range(5):
        rows = slice(number, number + 1)
        alone = inverse_plan(even_steps, moved, Context(now)[rows], goal[rows], UNBOUNDED, 3, left[rows])
        assert torch.equal(alone.actions[0], together.actions[number])
        assert torch.equal(alone.cost[0], together.cost[number])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_rollout_with_a_run_is_what_the_run_imagines(frames):
    """One step at a time, with memory that slides, the model predicts what it predicts of the whole plan."""
    made = made_acting().untrained()  # its forecasts depend on actions; those of a new model do not
    between = torch.randn(2, frames - 1, 4, generator=torch.Generator().manual_seed(3))
    context = made.observe(pictures(frames), between if frames > 1 else None)
    goal = made.encode(pictures(1))[:, 0]
    features = goal[0].numel()
    torch.manual_seed(0)
    head = GoalHead(torch.zeros(features), torch.ones(features), torch.zeros(4), torch.ones(4), longest=5)
    space = ActionSpace.box([-1, -1], [1, 1], block=2)
    plan = inverse_plan(head, made.imagine, context, goal, space, horizon=6)
    whole = made.imagine(context, plan.actions[:, None])
    assert float((whole[:, 0, -1] - context.last).abs().mean()) > 0.1
    torch.testing.assert_close(plan.cost[:, None], goal_distance(whole, goal), atol=1e-5, rtol=1e-4)


STARTED = [
    CEMConfig(horizon=4, samples=10, elites=3, iterations=1),
    ICEMConfig(horizon=4, samples=10, elites=3, iterations=1),
    MPPIConfig(horizon=4, samples=10, iterations=1),
    GradientConfig(horizon=4, samples=2, iterations=1),
]


@pytest.mark.parametrize("config", STARTED, ids=lambda config: config.kind)
def test_every_search_begins_at_the_plan_of_the_inverse_model(config):
    """With one iteration the exact plan is found from there, and is not found from the centre of the bounds."""
    start, goal = Context(positions((0, 0))[:, None]), positions((2, -3))
    space = ActionSpace.box([-1, -1], [1, 1])

    def cost(actions: Tensor) -> Tensor:
        return goal_distance(moved(start, actions), goal)

    plan = inverse_plan(even_steps, moved, start, goal, space, horizon=4)
    warm = search(cost, space, config, generators_of([0]), plan.next_start)
    cold = search(cost, space, config, generators_of([0]))
    assert float(warm.best_cost[0]) == pytest.approx(0, abs=1e-10)
    assert float(cold.best_cost[0]) > 0.05


def broken(value: float, at: int):
    """An inverse model whose actions of one step and of the second environment are no numbers."""

    def inverse(now: Tensor, goal: Tensor, steps_left: Tensor) -> Tensor:
        actions = even_steps(now, goal, steps_left)
        actions[1] = torch.where(steps_left[1] == at, value, actions[1])
        return actions

    return inverse


def test_what_does_not_fit_is_named():
    start, goal, box = Context(torch.zeros(2, 1, 1, 2)), torch.ones(2, 1, 2), ActionSpace.box([-1, -1], [1, 1])
    with pytest.raises(PlanningError, match=r"now \[2, 1, 2\] and of the goal \[1, 1, 2\]; expected \[B, N, D\] for both"):
        inverse_plan(even_steps, moved, start, goal[:1], box, 2)
    with pytest.raises(PlanningError, match="horizon 0; expected 1"):
        inverse_plan(even_steps, moved, start, goal, box, 0)
    with pytest.raises(PlanningError, match=r"steps_left has shape \[3\]; expected a number, or one per environment: \[2\]"):
        inverse_plan(even_steps, moved, start, goal, box, 2, torch.ones(3))
    with pytest.raises(PlanningError, match=r"steps_left nan; expected finite numbers"):
        inverse_plan(even_steps, moved, start, goal, box, 2, float("nan"))
    wide = ActionSpace.box([-1, -1], [1, 1], block=3)
    with pytest.raises(PlanningError, match=r"inverse model returned shape \[2, 2\]; expected \[2, 6\]; a planned step has 3"):
        inverse_plan(even_steps, moved, start, goal, wide, 2)
    with pytest.raises(PlanningError, match=r"world model returned shape \[2, 1, 1, 2\]; expected \[2, 1, 1, 1, 2\]"):
        inverse_plan(even_steps, lambda context, actions: actions, start, goal, box, 2)


def test_numbers_that_are_not_finite_are_named_with_their_source():
    """An infinite action would otherwise be clipped to the bounds, and pass."""
    start, goal, box = Context(torch.zeros(2, 1, 1, 2)), torch.ones(2, 1, 2), ActionSpace.box([-1, -1], [1, 1])
    for value in (float("nan"), float("inf")):
        with pytest.raises(PlanningError, match="environment 1, planned step 2: the inverse model returned actions"):
            inverse_plan(broken(value, at=1), moved, start, goal, box, 3)
    with pytest.raises(PlanningError, match="environment 0, planned step 0: the world model predicted latents that are NaN"):
        inverse_plan(even_steps, lambda context, actions: moved(context, actions) * torch.nan, start, goal, box, 3)


def test_a_context_without_its_actions_cannot_go_on():
    with pytest.raises(PlanningError, match="context of 3 latent steps needs the 2 actions between them"):
        Context(torch.zeros(2, 3, 1, 2)).after(torch.zeros(2, 2), torch.zeros(2, 1, 2))
