"""Run by tests/ranks/test_composition.py, by torchrun or alone: what must be equal on one process and on several.

FOLDER/<ranks>.json      losses and gradient norms of three training steps, by "<parallel>/<feature> + <feature>"; in one
                         process the parallel is "one". "muon": the largest difference of sharded Muon to torch's.
                         "gathered/...": masked tokens in bf16, by what FSDP2 gathers in bfloat16. "health/...": std of
                         latents and skill in a health check in bf16, on several processes with FSDP2
FOLDER/of-<ranks>/       a checkpoint that these ranks wrote, and whole/ with the same tensors as they gathered them
FOLDER/read-by-<ranks>/  the tensors of of-1, as these ranks gathered them after they had loaded it
"""

import faulthandler
import functools
import itertools
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object

from worldmodel import checkpoint as checkpoints
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE
from worldmodel.data.loader import Batch
from worldmodel.health.monitor import run_health_check
from worldmodel.recipe import Recipe
from worldmodel.train import step
from worldmodel.training import parallel
from worldmodel.training.learner import Learner
from worldmodel.training.parallel import warm_up_ddp
from worldmodel.training.setup import TrainingSetup, build_learner, distribute

LIMIT_S = 280
STEPS, WINDOWS, FRAMES, SIZE_PX = 3, 8, 8, 16
CAUSAL = {
    "kind": "causal",
    "encoder": {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 16},
    "predictor": {"width": 16, "depth": 2, "heads": 2, "horizons": 2},
    "rollout_steps": 0,
}
MASKED = {
    "kind": "masked",
    "encoder": {"patch_px": 4, "width": 24, "depth": 2, "heads": 2},
    "predictor": {"width": 24, "depth": 1, "heads": 2},
    "masks": [{"blocks": 2, "area": 0.3}, {"blocks": 0, "visible_time_fraction": [0.3, 0.7]}],
    "target": {"kind": "shared", "stop_gradient": True},
    "distance": "l1",
}
ACTIONS = {"actions_per_step": 1, "action_mean": [0.0, 0.0], "action_std": [1.0, 1.0], "action_names": ["dx", "dy"]}
FEATURES = {  # what each adds to the recipe
    "bf16": {"train": {"precision": "bf16"}},
    "compile": {"train": {"compile": True}},
    "activation checkpointing": {"model": {"activation_checkpointing": True}},
    "EMA teacher": {"model": {"target": {"kind": "ema", "momentum": 0.9}}},
    "Muon": {"optim": {"kind": "muon"}},
    "rollouts": {"model": {"rollout_steps": 2, "rollout_context": 2, "predictor": {**CAUSAL["predictor"], "recurrences": 1}}},
    "actions": {"model": {"condition": {"statistics": ACTIONS}}},
    "masked tokens": {"model": MASKED},
    "dropped tokens": {"model": {**MASKED, "tokens_kept": 0.6}},
    "sharded checkpoint": {"checkpoint": {"format": "sharded"}},
    "gradient accumulation": {"train": {"grad_accum_steps": 2}},
    "frozen parts, layer decay": {"optim": {"frozen": ["encoder.patch"], "layer_decay": 0.5, "encoder_steps": 2}},
}
MASKED_FAMILY = ("masked tokens", "dropped tokens")
REFUSED = {frozenset(pair) for pair in itertools.product(("rollouts", "actions"), MASKED_FAMILY)}
PAIRS = list(itertools.combinations_with_replacement(FEATURES, 2))  # a feature with itself: it alone


def label(pair: tuple[str, ...]) -> str:
    return " + ".join(dict.fromkeys(pair))


def uncompiled(pair: tuple[str, ...]) -> tuple[str, ...]:
    """What compiled training is compared with: capturing graphs takes seconds for each cell."""
    return tuple(name for name in pair if name != "compile")


def cells(parallelism: str) -> list[tuple[str, ...]]:
    """The combinations that are trained. Under DDP only `compile` alone is compiled, in one process nothing."""
    pairs = [pair for pair in PAIRS if frozenset(pair) not in REFUSED]
    if parallelism == "one":
        return [(), *(pair for pair in pairs if "compile" not in pair)]
    return [pair for pair in pairs if parallelism == "fsdp2" or "compile" not in pair or set(pair) == {"compile"}]


def recipe_of(pair: tuple[str, ...], parallelism: str) -> dict:
    """The recipe with both features, as YAML would give it. The family is set first, since it replaces the model."""
    distance = "l1" if set(pair) & set(MASKED_FAMILY) else "l2"
    recipe = {
        "window": {"frames": FRAMES, "size_px": SIZE_PX},
        "data": {"batch_size": WINDOWS},
        "augment": {"hflip_prob": 0.0},
        "model": CAUSAL,
        "objectives": {"forecast": {"kind": "forecast", "distance": distance}, "spread": {"kind": "vicreg"}},
        "optim": {"lr": 1e-3, "warmup_steps": 1},
        "train": {"max_steps": 100, "parallel": parallelism},
        "decoder": {"max_steps": 0},
    }
    for name in sorted(set(pair), key=lambda name: (name not in MASKED_FAMILY, name == "dropped tokens")):
        for section, values in FEATURES[name].items():
            before = {} if name in MASKED_FAMILY else recipe.get(section, {})
            recipe[section] = {**before, **values}
    return recipe


def accelerator_for(precision: str) -> Accelerator:
    AcceleratorState._reset_state()  # its precision cannot be changed; the process group stays
    return Accelerator(cpu=True, mixed_precision="bf16" if precision == "bf16" else "no", dynamo_backend="no")


def micro_batches(index: int, recipe: Recipe, accelerator: Accelerator) -> list[Batch]:
    """This rank's micro-batches of a step. Windows are divided among micro-batches first, then among ranks, as in training."""
    source = torch.Generator().manual_seed(index)
    frames = torch.randint(0, 256, (WINDOWS, FRAMES, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8, generator=source)
    draws = torch.rand(WINDOWS, UNIFORMS_PER_SAMPLE, generator=source)
    actions = torch.randn(WINDOWS, FRAMES - 1, 2, generator=source)
    has_actions = getattr(recipe.model, "condition", None) is not None
    mine = [
        part.tensor_split(accelerator.num_processes)[accelerator.process_index]
        for part in torch.arange(WINDOWS).tensor_split(recipe.train.grad_accum_steps)
    ]
    return [
        # equal masks in all steps: torch.compile would begin again for other numbers of tokens
        Batch(frames[rows], draws[rows], rows, step_seed=0, actions=actions[rows] if has_actions else None)
        for rows in mine
    ]


def make_setup(recipe: Recipe, seed: int) -> TrainingSetup:
    torch.manual_seed(seed)
    learner = build_learner(recipe)
    with torch.no_grad():
        for parameter in learner.parameters():  # as if trained: initially some are 0, which would hide their gradients
            parameter += 0.05 * torch.randn_like(parameter)
    return distribute(learner, recipe, None, accelerator_for(recipe.train.precision), None)


def resumed(setup: TrainingSetup) -> TrainingSetup:
    """Another setup with other weights, into which the state of this one was loaded from the files of all ranks."""
    (folder,) = broadcast_object_list([Path(tempfile.mkdtemp())])
    checkpoint = write_sharded(setup, folder)
    other = make_setup(setup.recipe, seed=9)
    checkpoints.restore_checkpoint(other.learner, other.optimizers, checkpoint)
    return other


def write_sharded(setup: TrainingSetup, folder: Path) -> checkpoints.Checkpoint:
    ranks = setup.accelerator
    files = checkpoints.own_files(setup.learner, setup.optimizers, ranks.process_index, ranks.num_processes)
    digests = gather_object([checkpoints.write_files(folder, files)])
    sha256 = {name: digest for part in digests for name, digest in part.items()}
    state = {"step": 1, "recipe": setup.recipe.model_dump(mode="json"), "sha256": sha256}
    if ranks.is_main_process:
        checkpoints.write_state(folder, state)
    ranks.wait_for_everyone()
    return checkpoints.open_checkpoint(folder)


def write_whole(setup: TrainingSetup, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    files = checkpoints.whole_files(checkpoints.gather_tensors(setup.learner, setup.optimizers))
    if setup.accelerator.is_main_process:
        checkpoints.write_files(folder, files)


def reshard(folder: Path, ranks: int) -> None:
    """Write a checkpoint after one step, and read the one that one process wrote."""
    recipe = Recipe.model_validate(recipe_of(("EMA teacher", "Muon"), "fsdp2"))
    setup = make_setup(recipe, seed=ranks)
    step(setup, 0, micro_batches(0, recipe, setup.accelerator))
    setup.model.update_teacher(0.5)
    (folder / f"of-{ranks}").mkdir(exist_ok=True)
    write_sharded(setup, folder / f"of-{ranks}")
    write_whole(setup, folder / f"of-{ranks}" / "whole")
    reader = make_setup(recipe, seed=9)
    checkpoints.restore_checkpoint(reader.learner, reader.optimizers, checkpoints.open_checkpoint(folder / "of-1"))
    write_whole(reader, folder / f"read-by-{ranks}")


def muon_difference(ranks: int) -> float:
    """Largest difference of weights after three steps of ShardedMuon to those of torch's Muon, for the same gradients.

    Both multiply in bfloat16, which ours does only where the device has instructions for it.
    """
    from unittest import mock

    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    from worldmodel.training import orthogonalise
    from worldmodel.training.sharded_muon import ShardedMuon

    mesh, source = init_device_mesh("cpu", (ranks,)), torch.Generator().manual_seed(0)
    shapes = ((5, 7), (8, 4), (1, 6), (16, 3), (48, 130))  # an odd number of matrices, uneven rows, a rank without rows
    whole = [torch.nn.Parameter(torch.randn(shape, generator=source)) for shape in shapes]
    sharded = [torch.nn.Parameter(distribute_tensor(p.detach().clone(), mesh, [Shard(0)])) for p in whole]
    optimizers = [kind(some, lr=0.1, weight_decay=0.1) for kind, some in ((torch.optim.Muon, whole), (ShardedMuon, sharded))]
    for _ in range(3):
        for one, other in zip(whole, sharded, strict=True):
            one.grad = torch.randn(one.shape, generator=source)
            other.grad = distribute_tensor(one.grad.clone(), mesh, [Shard(0)])
        with mock.patch.object(orthogonalise, "multiplies_bfloat16", return_value=True):
            for optimizer in optimizers:
                optimizer.step()
    return max((one - other.full_tensor()).abs().max().item() for one, other in zip(whole, sharded, strict=True))


def train(recipe: Recipe) -> list[float]:
    """Loss and gradient norm of each step."""
    setup, numbers = make_setup(recipe, seed=0), []
    for index in range(STEPS):
        batches = micro_batches(index, recipe, setup.accelerator)
        if setup.accelerator.num_processes > 1 and recipe.train.parallel == "ddp" and not recipe.train.compile:
            with setup.accelerator.autocast():
                warm_up_ddp(setup.learner, batches[0])
        loss, norm = step(setup, index, batches)
        setup.model.update_teacher(0.5)
        numbers += [loss.total.item(), norm.item()]
        if index == 0 and recipe.checkpoint.format == "sharded":
            setup = resumed(setup)
    return numbers


def gathered_in_bf16(which: str) -> list[float]:
    """Train in bf16 with FSDP2. which: what is gathered in bfloat16, "matrices" as in training, "nothing", or "norms"."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    as_in_training = parallel.shard

    def shard(learner: Learner, bf16: bool) -> None:
        if which == "norms":
            half = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
            for layer in [layer for layer in learner.modules() if isinstance(layer, torch.nn.LayerNorm)]:
                fully_shard(layer, mp_policy=half)
        as_in_training(learner, which == "matrices")

    with mock.patch.object(parallel, "shard", shard):
        return train(Recipe.model_validate(recipe_of(("bf16", "masked tokens"), "fsdp2")))


def health_in_bf16(pair: tuple[str, ...]) -> list[float]:
    """Numbers of a health check of all windows, in the precision that training takes for it: float32 in one process."""
    recipe = Recipe.model_validate(recipe_of(pair, "fsdp2"))
    setup = make_setup(recipe, seed=0)
    (held_out,) = micro_batches(0, recipe, SimpleNamespace(num_processes=1, process_index=0))
    with setup.precision_of_health_checks():
        health = run_health_check(setup.model, held_out, 1, 10, recipe.health, setup.accelerator.device)
    return [health.metrics.std_mean, health.metrics.effective_rank, health.skill]


def main(folder: Path, parallels: list[str], only: str) -> None:
    torch.set_num_threads(1)
    torch.compile = functools.partial(torch.compile, backend="eager")  # graphs are captured, but not translated: that is slow
    found, ranks = {}, accelerator_for("fp32").num_processes
    chosen = [(kind, pair) for kind in parallels for pair in cells(kind) if re.search(only, label(pair))]
    for name, pair in chosen:
        recipe = Recipe.model_validate(recipe_of(pair, "fsdp2" if name == "fsdp2" else "ddp"))
        began = time.process_time()
        try:
            found[f"{name}/{label(pair)}"] = train(recipe)
        except Exception as error:
            raise RuntimeError(f"{name}/{label(pair)}") from error
        print(f"{name}/{label(pair)}: {time.process_time() - began:.2f} s", flush=True)
    found |= {f"health/{label(pair)}": health_in_bf16(pair) for pair in (("bf16",), ("bf16", "masked tokens"))}
    reshard(folder, ranks)
    if ranks > 1:
        found["muon"] = muon_difference(ranks)
        found |= {f"gathered/{which}": gathered_in_bf16(which) for which in ("nothing", "matrices", "norms")}
    if int(os.environ.get("RANK", "0")) == 0:
        (folder / f"{ranks}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    folder, parallels, only = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3] if len(sys.argv) > 3 else ""
    faulthandler.dump_traceback_later(LIMIT_S, exit=True)  # works in C code, too; torchrun then ends the other ranks
    main(folder, parallels, only)
    if dist.is_initialized():
        dist.barrier()
    os._exit(0)  # gloo sometimes aborts or hangs while it shuts down; all results are written by now
