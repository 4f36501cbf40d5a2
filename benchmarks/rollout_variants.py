"""What else could speed up training steps of vit_s with rollouts: `python -m benchmarks.rollout_variants`.

Each variant changes one thing of the present code, which the code itself does not do; the variants take turns. CPU time of one
thread in bfloat16, small frames, one clip, without `compile`, as in benchmarks/rollout.py. Two of them bound what is possible:
without recomputation a step needs several times the memory, and without rollouts it trains something else.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.measure import add_out, describe_machine, markdown_table, paired, write_results
from benchmarks.rollout import recipe_with_rollouts
from benchmarks.steps.causal_step import step_of
from worldmodel.config import load_config
from worldmodel.models.blocks import attention, block_causal
from worldmodel.models.blocks.layers import Blocks
from worldmodel.models.causal import CausalWorldModel
from worldmodel.process.arguments import whole_number
from worldmodel.recipe import Recipe
from worldmodel.training.learner import Learner
from worldmodel.training.setup import build_learner

Variant = Callable[[Learner], AbstractContextManager[object]]


def as_it_is(_learner: Learner) -> AbstractContextManager[object]:
    return nullcontext()


def without_masks(_learner: Learner) -> AbstractContextManager[object]:
    return patch.object(block_causal, "MASKED_BELOW_TOKENS", 32)


def with_fused_attention(_learner: Learner) -> AbstractContextManager[object]:
    return patch.object(attention, "prefers_products", lambda _queries: False)


def without_last_recomputation(learner: Learner) -> AbstractContextManager[object]:
    """The first backward pass is that of the predictor's last block, so that storing it does not raise the peak of memory."""
    last, recompute = _model(learner).predictor.blocks.layers[-1], torch.utils.checkpoint.checkpoint

    def checkpoint(layer: Any, *given: Any, **options: Any) -> Any:
        return layer(*given) if layer is last else recompute(layer, *given, **options)

    return patch.object(torch.utils.checkpoint, "checkpoint", checkpoint)


@contextmanager
def without_recomputation(learner: Learner) -> Iterator[None]:
    stacks = [module for module in learner.modules() if isinstance(module, Blocks)]
    for stack in stacks:
        stack.checkpointing = False
    yield
    for stack in stacks:
        stack.checkpointing = True


def without_rollouts(learner: Learner) -> AbstractContextManager[object]:
    model = _model(learner)
    return patch.object(model, "config", model.config.model_copy(update={"rollout_steps": 0}))


VARIANTS: dict[str, Variant] = {
    "as it is": as_it_is,
    "49 tokens per step: a product for each step, without a mask": without_masks,
    "attention by torch's kernel": with_fused_attention,
    "last block of the predictor is not recomputed": without_last_recomputation,
    "bound: nothing is recomputed": without_recomputation,
    "bound: no rollouts": without_rollouts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole_number(3), default=7)
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine(("torch",))
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_config(Recipe, recipe_with_rollouts(Path(folder)))
    torch.manual_seed(0)
    learner = build_learner(recipe)
    step = training_step(learner, recipe)
    contenders = {name: partial(_run, variant, learner, step) for name, variant in VARIANTS.items()}
    losses = {name: run() for name, run in contenders.items()}
    found = paired(contenders, args.rounds)
    rows = [
        [name, f"{1e3 * found.cpu_s(name):.0f}", found.ratio("as it is", name), f"{losses[name]:.4f}"] for name in contenders
    ]
    print(f"{machine.line()}\n\n{markdown_table(('variant', 'CPU ms', 'as it is / variant', 'loss'), rows)}")
    write_results(args.out, machine, {"times": found.as_json("as it is"), "losses": losses})


def training_step(learner: Learner, recipe: Recipe) -> Callable[[], float]:
    """A training step on random frames. Weights hardly change, so that all losses are those of the same weights."""
    still = recipe.optim.model_copy(update={"lr": 1e-9, "weight_decay": 0.0})
    return step_of(learner, recipe.model_copy(update={"optim": still}), "bf16")


def _run(variant: Variant, learner: Learner, step: Callable[[], float]) -> float:
    with variant(learner):
        return step()


def _model(learner: Learner) -> CausalWorldModel:
    assert isinstance(learner.model, CausalWorldModel)
    return learner.model


if __name__ == "__main__":
    main()
