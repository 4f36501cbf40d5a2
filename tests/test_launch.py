"""`precision: auto` becomes what the machine has, and nothing else is touched."""

import pytest
import torch

from worldmodel.launch import with_precision
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
