"""InfoNCE against values worked by hand; which targets are negatives of which."""

import math

import pytest
import torch

from worldmodel.objectives.info_nce import InfoNCEConfig, group_rows

IN_BATCH = {"other_times": False}
IN_TIME = {"other_clips": False}


def test_two_clips_worked_by_hand(of_rows, loss):
    # cosines: forecast 0 with target 0: 0.6, with target 1: 0.8; forecast 1 with target 1: 1, with target 0: 0
    predicted = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    target = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    _, terms = loss(InfoNCEConfig(temperature=0.5, weight=2.0, **IN_BATCH), of_rows(predicted, target, [0, 1]))
    expected = (math.log(1 + math.exp((0.8 - 0.6) / 0.5)) + math.log(1 + math.exp((0 - 1) / 0.5))) / 2
    assert terms["nce"] == pytest.approx(2 * expected, rel=1e-6)


def test_collapse_pays_log_of_the_number_of_candidates(of_rows, loss):
    ones = torch.ones(5, 3)
    assert loss(InfoNCEConfig(**IN_BATCH), of_rows(ones, ones, [0, 1, 2, 3, 4]))[1]["nce"] == pytest.approx(math.log(5))


def test_static_latents_satisfy_other_clips_but_not_other_times(of_rows, loss):
    still = torch.eye(8)[:4].repeat_interleave(3, 0)  # clip by clip, three time steps
    clips, times = [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3, [0, 1, 2] * 4
    rows = of_rows(still, still, clips, times)
    assert loss(InfoNCEConfig(**IN_BATCH), rows)[1]["nce"] < 1e-3
    assert loss(InfoNCEConfig(**IN_TIME), rows)[1]["nce"] == pytest.approx(math.log(3))


def test_latents_that_encode_only_their_position_or_only_the_time_pay_the_full_loss(of_rows, loss):
    clips, both = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]
    of_place = torch.eye(2).repeat(3, 1)
    assert loss(InfoNCEConfig(**IN_BATCH), of_rows(of_place, of_place, clips, token=both))[1]["nce"] == pytest.approx(
        math.log(3)
    )
    assert loss(InfoNCEConfig(**IN_BATCH), of_rows(of_place, of_place, clips, time=both))[1]["nce"] == pytest.approx(
        math.log(3)
    )


def test_rows_without_a_negative_do_not_count(of_rows, loss):
    predicted, target = torch.randn(3, 4), torch.randn(3, 4)
    _, two = loss(InfoNCEConfig(**IN_BATCH), of_rows(predicted[:2], target[:2], [0, 1], time=[0, 0]))
    _, three = loss(InfoNCEConfig(**IN_BATCH), of_rows(predicted, target, [0, 1, 1], time=[0, 0, 1]))
    assert three == pytest.approx(two)


def test_a_target_that_is_forecast_twice_is_not_its_own_negative(of_rows, loss):
    predicted, target = torch.randn(2, 4), torch.randn(2, 4)
    twice = of_rows(predicted.repeat(2, 1), target.repeat(2, 1), [0, 1, 0, 1])
    cosine = torch.nn.functional.cosine_similarity(predicted[:, None], target[None], dim=2) / 0.1
    # the other clip's target is among the candidates twice, one's own once
    expected = sum(math.log(1 + 2 * math.exp(cosine[i, 1 - i] - cosine[i, i])) for i in range(2)) / 2
    assert loss(InfoNCEConfig(**IN_BATCH), twice)[1]["nce"] == pytest.approx(expected, rel=1e-5)


def test_groups_of_unequal_size_are_padded():
    groups = group_rows(torch.tensor([5, 9, 5, 5]), torch.tensor([1, 1, 1, 2]))
    table = groups.table(*groups.sizes().tolist())
    assert sorted(sorted(row) for row in table.tolist()) == [[-1, 1], [-1, 3], [0, 2]]


def test_a_config_without_negatives_is_refused():
    with pytest.raises(ValueError, match="no negatives"):
        InfoNCEConfig(other_clips=False, other_times=False)
