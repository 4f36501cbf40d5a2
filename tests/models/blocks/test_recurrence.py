"""The gated recurrence: worked by hand, what a closed gate keeps, and continuing from kept states."""

import pytest
import torch

from worldmodel.models.blocks.recurrence import LIFETIMES, GatedRecurrence
from worldmodel.models.causal_predictor import PredictorConfig

STEPS, TOKENS, WIDTH = 5, 3, 8


def recurrence() -> GatedRecurrence:
    torch.manual_seed(0)
    return GatedRecurrence(WIDTH).double()


def some_tokens(steps: int = STEPS) -> torch.Tensor:
    return torch.randn(2, steps * TOKENS, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def with_gate(bias: float) -> GatedRecurrence:
    """Gates that do not depend on the input."""
    layer = recurrence()
    torch.nn.init.zeros_(layer.gate.weight)
    torch.nn.init.constant_(layer.gate.bias, bias)
    return layer


def test_half_open_gates_worked_by_hand():
    """Gates of 1/2: the state after values 1, 0 and 3 is 1/2, 1/4 and 13/8."""
    layer = with_gate(0.0)
    layer.value = layer.norm = torch.nn.Identity()
    values = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64).view(1, 3, 1).expand(-1, -1, WIDTH)
    states = layer(values, tokens=1)[1]
    assert states[0, 0, :, 0].tolist() == [1 / 2, 1 / 4, 13 / 8]


def test_closed_gates_keep_what_was_there_before():
    past = torch.randn(2, 1, 2 * TOKENS, WIDTH, dtype=torch.float64)
    states = with_gate(-50.0)(some_tokens(), TOKENS, past)[1]
    assert torch.equal(states[:, :, : 2 * TOKENS], past)
    kept = past[:, 0, -TOKENS:].repeat(1, STEPS, 1)
    torch.testing.assert_close(states[:, 0, 2 * TOKENS :], kept)


def test_a_state_belongs_to_its_place_and_does_not_see_the_future():
    layer, before = recurrence(), some_tokens()
    after = before.clone()
    after[:, 3 * TOKENS + 1, 0] += 1  # token 1 of step 3
    differs = (layer(before, TOKENS)[0] != layer(after, TOKENS)[0]).any(-1)[0]
    assert differs.nonzero().flatten().tolist() == [3 * TOKENS + 1, 4 * TOKENS + 1]


@pytest.mark.parametrize("first", [1, 3])
def test_continuing_from_kept_states_equals_the_whole(first: int):
    layer, x = recurrence(), some_tokens()
    whole, states = layer(x, TOKENS)
    early, past = layer(x[:, : first * TOKENS], TOKENS)
    late, memory = layer(x[:, first * TOKENS :], TOKENS, past)
    torch.testing.assert_close(torch.cat((early, late), dim=1), whole)
    torch.testing.assert_close(memory, states)


def test_initial_lifetimes_lie_between_their_bounds():
    lifetimes = 1 / torch.sigmoid(recurrence().gate.bias)
    assert lifetimes.min() >= LIFETIMES[0] - 1e-6
    assert lifetimes.max() <= LIFETIMES[1] + 1e-6
    assert lifetimes.max() / lifetimes.min() > 2


def test_more_recurrences_than_blocks_are_refused():
    with pytest.raises(ValueError, match="recurrences 3 must not exceed depth 2"):
        PredictorConfig(depth=2, recurrences=3)
