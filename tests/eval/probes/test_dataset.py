"""Context lengths of probes, for models with any number of frames per latent."""

from types import SimpleNamespace

import pytest

from eval.errors import EvalError
from eval.probes.dataset import shortest_context


def model(max_context: int, tubelet_size: int) -> SimpleNamespace:
    return SimpleNamespace(fps=12.0, max_context=max_context, tubelet_size=tubelet_size)


@pytest.mark.parametrize(
    ("max_context", "f", "steps"),
    [(24, 1, 8), (24, 2, 4), (20, 4, 3), (8, 4, 2)],  # a third; else three steps, which show a velocity; else all
)
def test_the_shortest_context_is_a_third_of_the_window_but_long_enough(max_context: int, f: int, steps: int):
    assert shortest_context(model(max_context, f), None) == steps


def test_a_given_context_is_used_or_refused():
    assert shortest_context(model(20, 4), 0.34) == 1
    with pytest.raises(EvalError, match="the model takes 4 to 20"):
        shortest_context(model(20, 4), 2.0)
    with pytest.raises(EvalError, match=r"0\.1 is 1 frames"):
        shortest_context(model(20, 4), 0.1)
