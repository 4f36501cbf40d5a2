"""What a process finds on its machine: `precision: auto`, and the cores that launchers leave idle."""

import pytest
import torch

from worldmodel.process.launch import idle_threads, with_precision
from worldmodel.recipe import Recipe


@pytest.mark.parametrize(
    ("has", "becomes"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_is_bf16_only_where_the_processor_computes_in_it(monkeypatch: pytest.MonkeyPatch, has: dict, becomes: str):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    recipe = Recipe.model_validate({"train": {"precision": "auto"}, "seed": 3})
    found = with_precision(recipe)
    assert found.train.precision == becomes
    assert found.seed == 3


def test_a_precision_that_was_asked_for_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert with_precision(Recipe()).train.precision == "fp32"


def test_cores_that_a_launcher_left_idle_are_shared_among_its_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worldmodel.process.launch.usable_cores", lambda physical=False, processes=1: max(1, 8 // processes))
    alone = {"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}
    assert idle_threads(alone) == 8
    assert idle_threads({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "3"}) == 2
    assert idle_threads({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "16"}) == 1
    assert idle_threads({**alone, "OMP_NUM_THREADS": "4"}) is None  # somebody said so
    assert idle_threads({"OMP_NUM_THREADS": "1"}) is None  # no launcher: the user did
