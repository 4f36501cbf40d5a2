"""Precision and number of threads of a training process."""

import os

import pytest
import torch

from worldmodel.process.devices import multiplies_bfloat16
from worldmodel.ranks.launch import resolve_precision, start_accelerator, threads_per_process
from worldmodel.recipe import Recipe


@pytest.fixture(autouse=True)
def forgotten_processor():
    """What this processor can do is looked up once per process."""
    multiplies_bfloat16.cache_clear()
    yield
    multiplies_bfloat16.cache_clear()


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
    found = resolve_precision(recipe)
    assert found.train.precision == becomes
    assert found.seed == 3


def test_an_explicit_precision_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert resolve_precision(Recipe()).train.precision == "fp32"


def test_threads_of_the_recipe_come_before_those_of_the_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", found.append)
    for threads in (3, None):
        start_accelerator(Recipe.model_validate({"train": {"threads": threads}}))
    assert found == [3, threads_per_process(os.environ)]


def test_cores_that_a_launcher_leaves_idle_are_divided_among_its_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worldmodel.ranks.launch.usable_cores", lambda physical=False, processes=1: max(1, 8 // processes))
    alone = {"ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}
    assert threads_per_process(alone) == 8
    assert threads_per_process({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "3"}) == 2
    assert threads_per_process({"TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "LOCAL_WORLD_SIZE": "16"}) == 1
    assert threads_per_process({**alone, "OMP_NUM_THREADS": "4"}) is None  # set by the user
    assert threads_per_process({"OMP_NUM_THREADS": "1"}) is None  # without a launcher, the user has set it
