"""Value and gradient of an update are the same on any number of ranks and micro-batches: 1e-10 in float64, 1e-5 in float32."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).parent / "ranks" / "gradient.py"
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def gradient(folder: Path, dtype: str, ranks: int, micros: int, parallel: str = "ddp") -> dict[str, torch.Tensor]:
    out = folder / f"{dtype}-{ranks}-{micros}-{parallel}.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    done = subprocess.run(
        [*command, SCRIPT, out, dtype, str(micros), parallel], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """One process, one batch."""
    folder = tmp_path_factory.mktemp("whole")
    return {dtype: gradient(folder, dtype, 1, 1, "none") for dtype in TOLERANCE}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        difference = (found[name] - value).norm() / value.norm()
        assert difference < tolerance, f"{name}: {difference:.1e}"


def test_the_gradient_is_not_zero(whole: dict[str, dict[str, torch.Tensor]]):
    assert all(value.norm() > 0 for value in whole["float64"].values())


@pytest.mark.parametrize(
    ("dtype", "ranks", "micros", "parallel"),
    [
        ("float64", 1, 4, "none"),
        ("float64", 2, 1, "ddp"),
        ("float64", 2, 3, "ddp"),  # 4 windows in 3 micro-batches: uneven
        ("float64", 3, 1, "ddp"),  # 8 windows on 3 ranks: uneven
        ("float32", 2, 2, "ddp"),
        ("float64", 2, 2, "fsdp2"),
    ],
)
def test_ranks_and_accumulation_give_the_gradient_of_one_batch(
    tmp_path: Path, whole: dict[str, dict[str, torch.Tensor]], dtype: str, ranks: int, micros: int, parallel: str
):
    assert_same(gradient(tmp_path, dtype, ranks, micros, parallel), whole[dtype], TOLERANCE[dtype])
