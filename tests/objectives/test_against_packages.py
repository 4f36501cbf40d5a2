"""The same numbers as packages that ship these objectives; each test is skipped where its package is not installed.

`pip install pytorch-metric-learning`, and `pip install --no-deps lightly stable-worldmodel`: of these two single files are
read, since the whole packages need torchvision and more.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from worldmodel.models.latents import Latents
from worldmodel.objectives.barlow import BarlowTwinsConfig
from worldmodel.objectives.info_nce import InfoNCEConfig
from worldmodel.objectives.random_directions import random_directions
from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.objectives.straightening import StraighteningConfig
from worldmodel.objectives.temporal_similarity import TemporalSimilarityConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.objectives.visreg import VISRegConfig

CLIPS, STEPS, FEATURES, CHANCE = 12, 5, 6, 3


def file_of(package: str, path: str) -> ModuleType:
    """One file of an installed package, run without the package around it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    spec = importlib.util.spec_from_file_location(f"{package}_{Path(path).stem}", Path(found.origin).parent / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def latents() -> torch.Tensor:
    """[B, T, 1, D], neither normal nor centred."""
    return 0.3 + torch.rand(CLIPS, STEPS, 1, FEATURES, generator=torch.Generator().manual_seed(0)) * torch.arange(
        1, FEATURES + 1
    )


@pytest.fixture
def rows(of_rows, latents) -> Latents:
    noise = torch.randn(latents.flatten(0, 2).shape, generator=torch.Generator().manual_seed(1))
    clips = torch.arange(CLIPS).repeat_interleave(STEPS).tolist()
    return of_rows(latents.flatten(0, 2) + 0.3 * noise, latents.flatten(0, 2), clips, list(range(STEPS)) * CLIPS)


def test_vicreg_is_that_of_pytorch_metric_learning(of_context, loss, latents):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    theirs = losses.VICRegLoss(invariance_lambda=0, variance_mu=25, covariance_v=1, eps=1e-4)
    flat = latents.flatten(0, 2)
    expected = theirs(flat, ref_emb=flat)  # of both sides: the variance as their mean, the covariance as their sum
    ours = VICRegConfig(std_weight=25, cov_weight=2 * (FEATURES - 1))  # and the sum over pairs / D, where ours is the mean
    assert loss(ours, of_context(latents))[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_info_nce_is_that_of_pytorch_metric_learning(loss, rows):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    theirs = losses.NTXentLoss(temperature=0.2)
    first = rows.time == 0
    predicted, target = rows.predicted[first], rows.target[first]
    number = torch.arange(CLIPS)
    expected = theirs(
        predicted, number, ref_emb=target, ref_labels=number.clone()
    )  # the same object would mean: no pair with itself
    at_first = {name: getattr(rows, name)[first] for name in ("clip", "time", "token", "horizon", "is_rollout")}
    one_moment = Latents(rows.context, rows.context_mask, predicted, target, **at_first)
    found, _ = loss(InfoNCEConfig(temperature=0.2, other_times=False), one_moment)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_barlow_is_that_of_lightly(loss, rows):
    theirs = file_of("lightly", "loss/barlow_twins_loss.py").BarlowTwinsLoss(lambda_param=0.005)
    expected = theirs(rows.predicted, rows.target) / FEATURES
    found, _ = loss(BarlowTwinsConfig(weight=1.0, redundancy_weight=0.005 * (FEATURES - 1)), rows)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("per_timestep", [False, True])
def test_sigreg_is_that_of_stable_worldmodel_divided_by_the_number_of_samples(
    of_context, loss, latents, monkeypatch, per_timestep: bool
):
    module = file_of("stable_worldmodel", "wm/loss.py")
    theirs = module.SIGReg(knots=17, num_proj=64)
    drawn = random_directions(CHANCE, 64, latents)
    monkeypatch.setattr(module.torch, "randn", lambda *_, **__: drawn.clone())  # the same directions
    by_moment = latents[:, :, 0].transpose(0, 1)
    samples = by_moment if per_timestep else by_moment.reshape(1, -1, FEATURES)
    expected = theirs(samples) / samples.shape[1]
    monkeypatch.undo()
    found, _ = loss(SIGRegConfig(weight=1.0, directions=64, per_timestep=per_timestep), of_context(latents, step_seed=CHANCE))
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_straightening_and_similarity_are_those_of_stable_worldmodel(of_context, loss, latents):
    module = file_of("stable_worldmodel", "wm/loss.py")
    path = latents[:, :, 0]
    turn = 1 + module.TemporalStraighteningLoss()(path)  # theirs leaves out the 1
    assert loss(StraighteningConfig(weight=1.0), of_context(latents))[0].item() == pytest.approx(turn.item(), rel=1e-5)
    change = module.PLDMLoss()(path)["temp_align_loss"]
    assert loss(TemporalSimilarityConfig(), of_context(latents))[0].item() == pytest.approx(change.item(), rel=1e-5)


def test_visreg_is_that_of_lightly(of_context, loss, latents, monkeypatch):
    file_of("lightly", "loss/barlow_twins_loss.py")  # skips where it is not installed
    around = ModuleType("lightly.loss")  # it needs torchvision, but this file only needs a name from it
    around.lejepa_loss = None
    monkeypatch.setitem(sys.modules, "lightly.loss", around)
    module = file_of("lightly", "loss/visreg_loss.py")
    drawn = random_directions(CHANCE, 64, latents)
    monkeypatch.setattr(module.torch, "randn", lambda *_, **__: drawn.clone())  # the same directions
    flat = latents.flatten(0, 2)
    expected = {
        "scale": module.visreg_scale_loss(flat).item(),
        "shape": module.visreg_shape_loss(flat, num_slices=64, eps=1e-8).item(),
        "center": module.visreg_center_loss(flat).item(),
    }
    monkeypatch.undo()
    ours = VISRegConfig(scale_weight=1.0, shape_weight=1.0, center_weight=1.0, directions=64)
    assert loss(ours, of_context(latents, step_seed=CHANCE))[1] == pytest.approx(expected, rel=1e-4)
