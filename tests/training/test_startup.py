"""What a training imports before its first checkpoint, and optimizers that do not need the rest."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from worldmodel.training import eager_optimizers, orthogonalise

SLOW_IMPORTS = ("torch._dynamo", "torch.distributed.tensor", "torch.distributed.checkpoint", "scipy", "matplotlib", "pandas")


def test_training_steps_import_neither_the_compiler_of_torch_nor_its_distributed_tensors(trainer, tmp_path: Path):
    overrides = [f"run={tmp_path}/run", "optim.kind=muon", "health.every=2", "checkpoint.every=2"]
    program = (
        "import sys\n"
        "from worldmodel import train\n"
        "def save(*_arguments):\n"
        f"    print('imported:', *(name for name in {SLOW_IMPORTS!r} if name in sys.modules), flush=True)\n"
        "    raise KeyboardInterrupt\n"
        "train.CheckpointSaver.save = save\n"
        f"train.main({[str(trainer.recipe), *overrides]!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "\nimported:\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "options"), [("AdamW", {"fused": True}), ("Muon", {})])
def test_the_optimizers_take_the_steps_of_torch_bit_for_bit(name: str, options: dict[str, bool], monkeypatch):
    monkeypatch.setattr(orthogonalise, "multiplies_bfloat16", lambda _: True)  # torch's Muon does not ask
    if not hasattr(torch.optim, name):
        pytest.skip("Muon needs torch 2.9")
    weights, states = [], []
    for kind in (getattr(torch.optim, name), getattr(eager_optimizers, name)):
        torch.manual_seed(0)
        layer = nn.Linear(6, 4, bias=False)
        optimizer = kind(layer.parameters(), lr=0.1, weight_decay=0.1, **options)
        for _ in range(5):
            layer(torch.randn(3, 6)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            assert layer.weight.grad is None
        weights.append(layer.weight.detach())
        states.append(optimizer.state_dict())
    assert torch.equal(*weights)
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for key, value in states[0]["state"][0].items():
        assert torch.equal(value, states[1]["state"][0][key])
