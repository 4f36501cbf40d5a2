"""Masks of the masked family: what drawing them takes in the training process, and what packing of views could save.

    python -m benchmarks.masks [--against COMMIT] [--rounds 9] [--out FILE.json]

Times: CPU time of the training process for the masks of one training step of one process; drawn by the model, or received from
data workers, which drew them beside the frames. --against: also as another commit draws them; all masks must be equal.

Counts: the tokens that a view shows and predicts, how many are dropped so that all windows of a batch have as many, and how
many tokens would be padding if none were dropped. The calls of attention are those of one forward pass.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Comparison, add_out, describe_machine, markdown_table, paired, write_results
from worldmodel.data.token_masks.drawing import MaskRequest, MaskRule, covered_tokens, draw_masks, step_layout
from worldmodel.data.token_masks.stacked import View, draw_batch, stack_masks
from worldmodel.models.masked import MaskedConfig
from worldmodel.process.arguments import whole_number
from worldmodel.recipe import DEMO_RECIPE, Recipe, read_recipe

ROOT = Path(__file__).parents[1]
RECIPES = {"masked": 1, "vjepa_vit_l": 128}  # with their processes
STEPS = 6  # per measurement, each with masks of its own
COUNTED_STEPS = 48
DRAWN = "drawn by the model"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="a commit at which the model drew all masks, such as 2e21f5b")
    parser.add_argument("--rounds", type=whole_number(3), default=9)
    add_out(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe_machine(("torch", "numpy"))
    times, counts, calls, results = [], [], [], {}
    for name, processes in RECIPES.items():
        recipe = read_recipe(DEMO_RECIPE.with_name(f"{name}.yaml"), [])
        rule, clips = rule_of(recipe), recipe.data.batch_size // processes
        found = measure(rule, clips, args.rounds, other_masks(args.against, recipe) if args.against else None)
        others = [it for it in found.samples if it != DRAWN]
        milliseconds = [f"{1e3 * found.cpu_s(it) / STEPS:.2f}" for it in found.samples]
        times.append([f"`{name}`, {clips} windows", *milliseconds, *(found.ratio(it, DRAWN) for it in others)])
        headers = ["recipe", *(f"{it}, ms" for it in found.samples), *(f"{it} / {DRAWN}" for it in others)]
        counted = count_tokens(rule, clips)
        counts += [[f"`{name}`", number, *row.values()] for number, row in enumerate(counted, start=1)]
        calls.append([f"`{name}`", *attention_calls(recipe).values()])
        results[name] = {"times": found.as_json(), "counts": counted, "attention_calls": attention_calls(recipe)}
    print(f"{machine.line()}\n\n{markdown_table(headers, times)}\n")
    print(markdown_table(["recipe", "view", *counted[0]], counts))
    print(f"\n{markdown_table(['recipe', 'attention calls, one per view', 'one for all views'], calls)}")
    write_results(args.out, machine, results)


def rule_of(recipe: Recipe) -> MaskRule:
    """The rule of the masks of a recipe."""
    model = masked_model(recipe)
    return model.mask_rule(recipe.window.frames // model.encoder.tubelet_size, model.token_grid(recipe.window))


def measure(rule: MaskRule, clips: int, rounds: int, others: Callable[[range, int], list[View]] | None) -> Comparison:
    """CPU time of STEPS training steps. Raises AssertionError where masks differ."""
    ids, seeds = range(10**6, 10**6 + clips), range(2**62, 2**62 + STEPS)
    answers = [[pickle.dumps(draw_masks(MaskRequest(rule, seed, id))) for id in ids] for seed in seeds]

    def draw() -> None:
        step_layout.cache_clear()
        for seed in seeds:
            draw_batch(rule, ids, seed)

    def receive() -> None:
        for windows in answers:
            stack_masks(rule, [pickle.loads(answer) for answer in windows])

    contenders: dict[str, Callable[[], object]] = {DRAWN: draw, "received from workers": receive}
    if others is not None:
        for seed in seeds:
            for ours, theirs in zip(draw_batch(rule, ids, seed).views, others(ids, seed), strict=True):
                assert torch.equal(ours.visible, theirs.visible)
                assert torch.equal(ours.masked, theirs.masked)
        contenders = {"at the other commit": lambda: [others(ids, seed) for seed in seeds], **contenders}
    return paired(contenders, rounds)


def other_masks(commit: str, recipe: Recipe) -> Callable[[range, int], list[View]]:
    """The function that draws the masks of a recipe at a commit at which the model drew all masks."""
    command = ["git", "-C", str(ROOT), "show", f"{commit}:worldmodel/models/masks.py"]
    source = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    module = ModuleType("masks_of_another_commit")
    sys.modules[module.__name__] = module
    exec(compile(source, module.__name__, "exec"), module.__dict__)
    model, window = masked_model(recipe), recipe.window
    steps, grid = window.frames // model.encoder.tubelet_size, model.token_grid(window)
    masks = [module.MaskConfig(**mask.model_dump()) for mask in model.masks]
    return lambda ids, seed: module.sample_views(masks, list(ids), seed, steps, grid, model.tokens_kept)


def count_tokens(rule: MaskRule, clips: int) -> list[dict[str, Any]]:
    """Tokens of each view, means over COUNTED_STEPS training steps; shares in percent."""
    rows = []
    for number in range(len(rule.views)):
        used, drawn, longest = np.zeros(2), np.zeros(2), np.zeros(2)  # visible, masked
        for seed in range(COUNTED_STEPS):
            layout = step_layout(rule, number, seed)
            covered = np.array([covered_tokens(rule, number, seed, id)[0].sum() for id in range(clips)])
            visible = (layout.references.shape[1] - covered) * layout.visible_steps
            both = np.stack((visible, rule.tokens - visible))
            used += layout.lengths(rule)
            drawn += both.mean(1)
            longest += both.max(1)
        dropped, padding = 100 * (1 - used / drawn), 100 * (1 - drawn / longest)
        rows.append({
            "visible": round(used[0] / COUNTED_STEPS), "to predict": round(used[1] / COUNTED_STEPS), "padding, %": 0,
            "visible that are dropped, %": f"{dropped[0]:.1f}", "to predict that are dropped, %": f"{dropped[1]:.1f}",
            "padding if none were dropped, visible, %": f"{padding[0]:.1f}", "to predict, %": f"{padding[1]:.1f}",
        })  # fmt: skip
    return rows


def attention_calls(recipe: Recipe) -> dict[str, int]:
    """Calls of the attention kernel in encoder and predictor of a forward pass, with one per view, and with one for all."""
    model = masked_model(recipe)
    blocks = model.encoder.depth + model.predictor.depth
    return {"one per view": blocks * len(model.masks), "one for all views": blocks}


def masked_model(recipe: Recipe) -> MaskedConfig:
    assert isinstance(recipe.model, MaskedConfig)
    return recipe.model


if __name__ == "__main__":
    main()
