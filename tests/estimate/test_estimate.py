"""The estimate agrees with what a step on this machine computes and allocates; each recipe fits the card that it names."""

import math
import re
from pathlib import Path

import gloo_ranks
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from worldmodel.config import ConfigError
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch
from worldmodel.estimate.__main__ import main
from worldmodel.estimate.hardware import PROCESSORS
from worldmodel.estimate.reckoning import Assumptions, decode_s_per_clip, estimate, wire_bytes
from worldmodel.estimate.trace import trace_step
from worldmodel.models import causal
from worldmodel.recipe import Recipe, read_recipe
from worldmodel.training.optimizer import OptimConfig, build_optimizers, clip_gradients
from worldmodel.training.setup import build_learner

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CAUSAL = {
    "kind": "causal",
    "encoder": {"patch_px": 8, "width": 96, "depth": 1, "heads": 2, "latent_dim": 32, "latent_grid": 4, "head_width": 64},
    "predictor": {"width": 96, "depth": 1, "heads": 2, "horizons": 3},
    "rollout_steps": 2,
}
MASKED = {
    "kind": "masked",
    "encoder": {"patch_px": 8, "width": 96, "depth": 2, "heads": 2},
    "predictor": {"width": 48, "depth": 1, "heads": 2},
    "masks": [{"blocks": 2, "area": 0.15}, {"blocks": 1, "area": 0.5}],
}


def recipe_of(model: dict, checkpointing: bool = False, **train: object) -> Recipe:
    objectives = {"forecast": {"kind": "forecast", "distance": "l1" if model["kind"] == "masked" else "l2"}}
    data = {
        "window": {"frames": 8, "size_px": 32},
        "data": {"batch_size": 8},
        "augment": {"crop_area_min": 1, "crop_aspect_max": 1},
    }
    model = {**model, "activation_checkpointing": checkpointing}
    return Recipe.model_validate({**data, "model": model, "objectives": objectives, "train": {"precision": "fp32", **train}})


def measured_step(recipe: Recipe) -> tuple[int, int]:
    """FLOPs by torch's counter, and bytes at the peak of torch's CPU allocator above those before the step."""
    learner = build_learner(recipe)
    optimizers = build_optimizers(learner, recipe.optim)
    clips, size = recipe.data.batch_size, recipe.window.size_px

    def step() -> None:
        frames = torch.zeros(clips, recipe.window.frames, size, size, 3, dtype=torch.uint8)
        learner(Batch(frames, torch.rand(clips, UNIFORMS_PER_SAMPLE), torch.arange(clips))).total.backward()
        clip_gradients(learner, recipe.optim.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    # attention as matrix products, since torch does not count the FLOPs of its kernel for CPUs
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = sorted(
        (e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    )
    now = peak = 0
    for event in events:
        now += event.nbytes()
        peak = max(peak, now)
    return counter.get_total_flops(), peak


@pytest.mark.parametrize(
    ("model", "checkpointing"),
    [(CAUSAL, False), (MASKED, True), ({**MASKED, "tokens_kept": 0.5}, False)],
    ids=["causal", "masked, checkpointing", "masked, dropped tokens"],
)
def test_flops_and_memory_agree_with_a_real_step_within_ten_percent(model: dict, checkpointing: bool):
    recipe = recipe_of(model, checkpointing)
    traced = trace_step(recipe, 1, gpu=False)
    flops, peak = measured_step(recipe)
    assert traced.flops == pytest.approx(flops, rel=0.1)
    assert traced.activations == pytest.approx(peak, rel=0.1)


def test_flops_of_an_encoder_and_predictor_equal_those_by_hand():
    """Linear layers: 2 FLOPs per weight and token forward, twice that backward. Attention: 4 S^2 W, then 10 S^2 W."""
    model = {
        "kind": "causal",
        "encoder": {"patch_px": 8, "width": 64, "depth": 1, "heads": 2, "latent_dim": 32, "latent_grid": 4, "head_width": 48},
        "predictor": {"width": 64, "depth": 1, "heads": 2, "horizons": 1},
        "rollout_steps": 0,
    }
    sizes = {"window": {"frames": 2, "size_px": 32}, "data": {"batch_size": 3}, "train": {"precision": "fp32"}}
    recipe = Recipe.model_validate({**sizes, "model": model, "objectives": {"forecast": {"kind": "forecast"}}})
    block = 12 * 64**2
    patches, tokens = 3 * 2 * 16, 3 * 16  # nothing is forecast from the last of two steps
    encoder = patches * (192 * 64 + block + 64 * 48 + 48 * 32)
    predictor = tokens * (32 * 64 + block + 64 * 128 + 128 * 32)
    attention = (6 + 3) * 14 * 16 * 16 * 64
    no_gradient_for_pixels = patches * 192 * 64
    expected = 6 * (encoder + predictor) - 2 * no_gradient_for_pixels + attention
    assert trace_step(recipe, 1, gpu=True).flops == pytest.approx(expected, rel=0.02)


def test_nothing_without_data_is_left_behind():
    recipe = recipe_of(CAUSAL)
    trace_step(recipe, 1, gpu=False)
    assert causal.row_index.cache_info().currsize == 0
    measured_step(recipe)  # would fail with a tensor without data


def test_memory_is_divided_and_traffic_follows_from_the_number_of_processes():
    cost = estimate(recipe_of(CAUSAL, parallel="fsdp2"), PROCESSORS["h100"], 4, Assumptions())
    alone = estimate(recipe_of(CAUSAL), PROCESSORS["h100"], 1, Assumptions())
    assert cost.weights == pytest.approx(alone.weights / 4, rel=1e-3)
    assert alone.wire == alone.buffers == 0
    assert wire_bytes(1000, 4, sharded=False) == 1500  # 2 x 3/4
    assert wire_bytes(1000, 4, sharded=True) == 2250  # 3 x 3/4
    assert wire_bytes(1000, 4, sharded=True, halved=800) == 1650  # 1 x 3/4, and twice 200 + 800 / 2
    assert wire_bytes(1000, 4, sharded=True, frozen=400) == 2550  # 3 x 3/4, and 400 x 3/4
    assert wire_bytes(1000, 4, sharded=False, frozen=400) == 1500  # DDP sends nothing of weights that are not trained


def test_frozen_blocks_are_half_the_traffic_in_bf16():
    frozen = {"optim": {"frozen": ["encoder.blocks.layers.0.attention", "encoder.blocks.layers.0.mlp"]}}
    wires = []
    for precision in ("fp32", "bf16"):
        recipe = recipe_of(MASKED, parallel="fsdp2", precision=precision)
        recipe = Recipe.model_validate({**recipe.model_dump(), **frozen})
        step = trace_step(recipe, 4, gpu=True)
        assert step.frozen.all == step.frozen.halvable > 0
        assert step.frozen.all == 2 * (12 * 96**2 + 9 * 96) * 4  # a patch embedding before them is trained
        trained = 3 * step.gradients - (step.blocks if precision == "bf16" else 0)
        wires.append(estimate(recipe, PROCESSORS["h100"], 4, Assumptions()).wire * 4 / 3 - trained)
    assert wires == pytest.approx([step.frozen.all, step.frozen.all / 2], rel=1e-3)


COUNT_GATHERED = """
import torch
from torch.distributed.fsdp._fully_shard import _fsdp_param_group as group
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch
from worldmodel.recipe import Recipe
from worldmodel.training.setup import build_learner, distribute

original, gathered = group.foreach_all_gather, []

def counted(parameters, *args, **options):
    frozen = [p for p in parameters if not p.sharded_param.requires_grad]
    gathered.append(sum(4 * p.sharded_param.numel() for p in frozen))
    return original(parameters, *args, **options)

group.foreach_all_gather = counted

def main(accelerator, recipes):
    found = []
    for recipe in map(Recipe.model_validate, recipes):
        setup = distribute(build_learner(recipe), recipe, None, accelerator, None)
        gathered.clear()
        frames = torch.zeros(4, 8, 32, 32, 3, dtype=torch.uint8)
        setup.learner(Batch(frames, torch.rand(4, UNIFORMS_PER_SAMPLE), torch.arange(4))).total.backward()
        teacher = [] if setup.model.teacher is None else setup.model.teacher.parameters()
        found.append(sum(gathered) - sum(4 * p.numel() for p in teacher))
    return found
"""


@pytest.mark.slow
def test_fsdp2_gathers_as_many_bytes_of_frozen_weights_as_the_estimate_says():
    recipes = [
        recipe_of(model, parallel="fsdp2").model_copy(update={"optim": OptimConfig(frozen=prefixes)})
        for model, prefixes in (
            (MASKED, ()),
            (MASKED, ("encoder",)),
            (MASKED, ("encoder.patch", "encoder.blocks.layers.0")),
            (MASKED, ("encoder.blocks.layers.1",)),
            (MASKED, ("predictor.blocks",)),
            (CAUSAL, ("encoder",)),
        )
    ]
    estimated = [trace_step(recipe, 2, gpu=False).frozen.all for recipe in recipes]
    measured = gloo_ranks.run(COUNT_GATHERED, [recipe.model_dump(mode="json") for recipe in recipes])
    assert measured == [estimated] * 2
    assert estimated[0] == 0
    assert all(estimated[1:])


def test_all_frames_of_a_window_are_decoded():
    recipe = Recipe.model_validate({"window": {"frames": 16, "fps": 4, "size_px": 224}, "augment": {"crop_area_min": 0.5}})
    assumed = Assumptions(source_fps=30, decode_ns_per_px=1)
    pixels = (15 * 7.5 + 1) * 252 * 252 * 16 / 9
    assert decode_s_per_clip(recipe, assumed) == pytest.approx(pixels * 1e-9)


def test_the_command_says_what_does_not_fit_and_refuses_what_it_cannot_trace(capsys):
    assert main(["demo.yaml", "--kind", "cpu"]) == 0
    assert "GFLOP per window" in capsys.readouterr().out
    assert main(["demo.yaml", "--gpus", "3"]) == 2
    assert "not divisible by 3 processes" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot be traced"):
        trace_step(
            Recipe.model_validate({"objectives": {"forecast": {"kind": "forecast"}, "n": {"kind": "visreg"}}}), 1, gpu=True
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_s", "vit_b", "vit_l", "vjepa_vit_l"])
def test_a_recipe_fits_the_card_that_it_names_and_has_the_workers_that_feed_it(name: str):
    path = CONFIGS / f"{name}.yaml"
    (named,) = set(re.findall(r"GPUs? with (\d+) GB", path.read_text()))
    processor = PROCESSORS[{"24": "rtx4090", "80": "h100"}[named]]
    recipe = read_recipe(path)
    found = estimate(recipe, processor, recipe.processes, Assumptions())
    assert found.peak_bytes < 0.9 * processor.memory_bytes
    assert recipe.data.workers == math.ceil(found.decode_cores)
