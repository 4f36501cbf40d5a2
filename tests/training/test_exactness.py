"""Value and gradient of each objective do not depend on the number of ranks and micro-batches: within 1e-10 in float64."""

import sys
from pathlib import Path

import launch
import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).parents[1] / "ranks" / "gradient.py"
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
# Parameters that shift all latents equally change no difference between latents: their gradient is 0 up to the rounding error
# of the whole gradient. A parameter with less than this fraction of the whole norm has the tolerance times the fraction.
LEAST_FRACTION = {"float64": 1e-3, "float32": 1e-2}


def gradients(folder: Path, ranks: int, micros: int, parallel: str = "ddp") -> dict[str, torch.Tensor]:
    """By "<dtype>/<family>, <objective>/<parameter>"; one launch for all objectives, alone and together."""
    out = folder / f"{ranks}-{micros}-{parallel}.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
    done = launch.run([*command, SCRIPT, out, str(micros), parallel])
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """One process, one batch."""
    return gradients(tmp_path_factory.mktemp("whole"), 1, 1, "none")


def test_every_objective_reaches_the_encoder_and_those_of_forecasts_the_predictor(whole: dict[str, torch.Tensor]):
    reached = lambda part: {name.split("/")[1] for name, slope in whole.items() if name.endswith(part) and slope.any()}  # noqa: E731
    assert reached("encoder.patch.weight") == {name.split("/")[1] for name in whole}
    of_forecasts = ("all", "forecast", "barlow", "info_nce")
    assert reached("predictor.embed.weight") == {
        f"{family}, {entry}" for family in ("causal", "masked") for entry in of_forecasts
    }


@pytest.mark.parametrize(
    ("ranks", "micros", "parallel"),
    [
        (1, 4, "none"),
        (2, 1, "ddp"),
        (2, 3, "ddp"),  # 4 windows in 3 micro-batches: uneven
        (3, 1, "ddp"),  # 8 windows on 3 ranks: uneven
        (2, 2, "fsdp2"),
    ],
)
def test_ranks_and_accumulation_give_the_gradient_of_one_batch(
    tmp_path: Path, whole: dict[str, torch.Tensor], ranks: int, micros: int, parallel: str
):
    found = gradients(tmp_path, ranks, micros, parallel)
    assert found.keys() == whole.keys()
    size = {key: norm_of(values) for key, values in by_objective(whole).items()}
    wrong = {}
    for name, expected in whole.items():
        dtype, objective, _ = name.split("/")
        least = 0 if name.endswith("/loss") else LEAST_FRACTION[dtype] * size[dtype, objective]
        scale = max(expected.norm(), least)
        difference = ((found[name] - expected).norm() / scale).item()
        if not difference < TOLERANCE[dtype]:
            wrong[name] = f"{difference:.1e}"
    assert not wrong


def by_objective(values: dict[str, torch.Tensor]) -> dict[tuple[str, str], list[torch.Tensor]]:
    """Gradients by (dtype, objective)."""
    grouped: dict[tuple[str, str], list[torch.Tensor]] = {}
    for name, value in values.items():
        dtype, objective, parameter = name.split("/")
        if parameter != "loss":
            grouped.setdefault((dtype, objective), []).append(value)
    return grouped


def norm_of(values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([value.norm() for value in values]).norm()
