"""Every pair of features trains on two processes as on one, with DDP and with FSDP2, or the recipe refuses it.

Also: checkpoints that another number of ranks wrote are read exactly, and sharded Muon takes the steps of torch's.
"""

import json
import sys
from pathlib import Path

import composition
import launch
import pytest
import torch
from composition import FEATURES, REFUSED, cells, label, recipe_of, uncompiled
from safetensors.torch import load_file

from worldmodel.checkpoint import load_model, open_checkpoint
from worldmodel.config import ConfigError, parse_config
from worldmodel.recipe import Recipe
from worldmodel.training.row_shards import row_range

PAGE = Path(__file__).parents[2] / "docs" / "composition.md"
FILES = ("model", "ema", "optimizer")
# relative difference to one process: sums in another order. Muon multiplies in bfloat16, where a rounded gradient may differ.
TOLERANCE, WITH_BF16 = 2e-6, {"Muon": 1e-3, "bf16": 2e-2}


@pytest.mark.parametrize("pair", sorted(map(sorted, REFUSED)), ids=" + ".join)
def test_a_pair_that_is_impossible_is_refused_by_the_recipe(pair: list[str]):
    with pytest.raises(ConfigError, match=r"rollout_steps|condition"):
        parse_config(Recipe, recipe_of(tuple(pair), "ddp"), source="recipe")


def test_the_page_has_a_row_for_each_feature():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in FEATURES if f"| {name} |" not in text] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process wrote, then what two did."""
    found = tmp_path_factory.mktemp("composition")
    for ranks, parallels in ((1, "one"), (2, "ddp,fsdp2")):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
        done = launch.run([sys.executable, *launcher, composition.__file__, found, parallels])
        assert done.returncode == 0, done.stderr[-3000:]
    return found


@pytest.mark.slow
def test_every_pair_of_features_trains_on_two_processes_as_on_one(folder: Path):
    whole, found = (json.loads((folder / f"{ranks}.json").read_text()) for ranks in (1, 2))
    wrong = {}
    for parallelism, pair in [(kind, pair) for kind in ("ddp", "fsdp2") for pair in cells(kind)]:
        tolerance = max((WITH_BF16[name] for name in pair if name in WITH_BF16), default=TOLERANCE)
        expected, given = whole[f"one/{label(uncompiled(pair))}"], found[f"{parallelism}/{label(pair)}"]
        difference = max(abs(a - b) / abs(a) for a, b in zip(expected, given, strict=True))
        if not difference < tolerance:
            wrong[f"{parallelism}/{label(pair)}"] = f"{difference:.1e}"
    assert not wrong


@pytest.mark.slow
def test_a_health_check_in_bf16_with_fsdp2_has_the_numbers_of_float32_in_one_process(folder: Path):
    whole, found = (json.loads((folder / f"{ranks}.json").read_text()) for ranks in (1, 2))
    names = [name for name in found if name.startswith("health/")]
    assert len(names) == 2
    for name in names:
        assert found[name] == pytest.approx(whole[name], rel=WITH_BF16["bf16"])


@pytest.mark.slow
def test_gathering_matrices_in_bf16_changes_no_bit_and_gathering_norms_does(folder: Path):
    """The weights of a norm are about 1, where bfloat16 does not have the changes of single steps."""
    found = json.loads((folder / "2.json").read_text())
    assert found["gathered/matrices"] == found["gathered/nothing"]
    assert found["gathered/norms"] != found["gathered/nothing"]


@pytest.mark.slow
def test_muon_on_shards_takes_the_steps_of_torch_bit_for_bit(folder: Path):
    assert json.loads((folder / "2.json").read_text())["muon"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_of_one_process_is_read_by_others_bit_for_bit(folder: Path, ranks: int):
    assert_equal(folder / f"read-by-{ranks}", folder / "of-1" / "whole")


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_is_read_by_one_and_by_four_bit_for_bit(folder: Path):
    opened = open_checkpoint(folder / "of-2")
    for name in FILES:
        expected = load_file(folder / "of-2" / "whole" / f"{name}.safetensors")
        assert expected
        found = opened.tensors(name)
        assert found.keys() == expected.keys()
        with opened.open(name) as files:
            for key, value in expected.items():
                assert torch.equal(found[key], value), key
                rows = [row_range(len(value), rank, 4) for rank in range(4)] if value.dim() else []
                parts = [files.read(key, (b, *[0] * (value.dim() - 1)), (e - b, *value.shape[1:])) for b, e in rows]
                assert not rows or torch.equal(torch.cat(parts), value), key
    model, _ = load_model(folder / "of-2")
    weights = load_file(folder / "of-2" / "whole" / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items() if name in weights)
    assert opened.state["format"] == 4


def assert_equal(one: Path, other: Path) -> None:
    for name in FILES:
        found, expected = (load_file(folder / f"{name}.safetensors") for folder in (one, other))
        assert found.keys() == expected.keys()
        assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
