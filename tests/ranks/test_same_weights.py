"""All ranks start from the same weights, although hosts may have folders of their own."""

from pathlib import Path

import gloo_ranks
import pytest

from worldmodel.ranks.same_weights import weights_digest

RESTORE = """
import os
from pathlib import Path
import torch
from worldmodel.checkpoint import CheckpointError, save_checkpoint
from worldmodel.recipe import Recipe
from worldmodel.runs.restore_run import restore
from worldmodel.training.setup import build_learner, distribute
from worldmodel.training.teacher import load_teacher, with_teacher

model = {
    "kind": "causal", "rollout_steps": 1,
    "encoder": {"patch_px": 8, "width": 16, "depth": 1, "heads": 2, "latent_dim": 8, "head_width": 16},
    "predictor": {"width": 16, "depth": 1, "heads": 2, "horizons": 2},
}
content = {"data": {"batch_size": 4}, "window": {"frames": 8, "fps": 8, "size_px": 16}, "model": model}

def save(run, seed):
    torch.manual_seed(seed)
    recipe = Recipe.model_validate(content)
    tensors = {name.removeprefix("model."): value for name, value in build_learner(recipe).state_dict().items()}
    save_checkpoint(run, {"model": tensors}, {"step": 1, "recipe": recipe.model_dump(mode="json")})

def main(accelerator, folder):
    own, found = Path(folder) / f"disk{accelerator.process_index}", {}
    save(own / "equal", 1)
    save(own / "unequal", accelerator.process_index)
    for parallel in ("ddp", "fsdp2"):
        for name in ("equal", "unequal"):
            teacher = {"model": {**model, "target": {"kind": "frozen", "run": str(own / name)}}}
            for kind, settings in (("init_from", {"init_from": str(own / name)}), ("teacher", teacher)):
                recipe = Recipe.model_validate({**content, **settings, "train": {"parallel": parallel}})
                recipe = with_teacher(recipe, None)
                learner = build_learner(recipe)
                load_teacher(learner.model, recipe)
                setup = distribute(learner, recipe, None, accelerator, None)
                try:
                    restore(setup, None)
                    found[f"{kind} {parallel} {name}"] = "restored"
                except CheckpointError as error:
                    found[f"{kind} {parallel} {name}"] = str(error)
    return found
"""


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    return gloo_ranks.run(RESTORE, str(tmp_path_factory.mktemp("disks")))


@pytest.mark.parametrize(
    ("start", "field"),
    [("init_from ddp", "init_from"), ("init_from fsdp2", "init_from"), ("teacher fsdp2", "model.target.run")],
)
def test_ranks_whose_disks_hold_different_weights_are_refused(restored: list[dict[str, str]], start: str, field: str):
    first, second = (rank[f"{start} unequal"] for rank in restored)
    assert first == second
    assert first.startswith(f"{field}: rank 1 (host ")
    assert "disk1/unequal" in first.partition(" than rank 0 (host ")[0]
    assert "disk0/unequal" in first.partition(" than rank 0 (host ")[2]


def test_equal_copies_on_several_disks_are_accepted(restored: list[dict[str, str]]):
    for start in ("init_from ddp", "init_from fsdp2", "teacher ddp", "teacher fsdp2"):
        assert [rank[f"{start} equal"] for rank in restored] == ["restored"] * 2
    assert restored[1]["teacher ddp unequal"] == "restored", "DDP copies the teacher of rank 0"


def test_published_weights_are_compared_by_their_content(tmp_path: Path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    a, b, c = (weights_digest(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c
