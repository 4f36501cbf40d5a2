"""Actions as the condition of the causal family: what a forecast sees of them, imagined futures, and their normalisation."""

import pytest
import torch

from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.blocks.rotary import rotary_angles, rotary_table
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.condition import ActionInput, ActionStatistics, ConditionConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.rollouts.continuations import sample_continuation

FRAMES, HORIZONS = 8, 3
KINDS = ("added", "adaln_zero")
STATISTICS = ActionStatistics(actions_per_step=2, action_mean=(1.0, -1.0), action_std=(2.0, 0.5), action_names=("x", "y"))


def small(depth: int = 2, tubelet_size: int = 1, kind: str = "added", recurrences: int = 0) -> CausalWorldModel:
    """A model with random weights that takes 2 actions of 2 numbers per frame."""
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=8, heads=2, latent_dim=6, head_width=8, tubelet_size=tubelet_size),
        predictor=PredictorConfig(width=16, depth=depth, heads=2, horizons=HORIZONS, recurrences=recurrences),
        rollout_steps=2,
        rollout_context=1,
        condition=ConditionConfig(kind=kind, statistics=STATISTICS),
    )
    model = build_model(config, WindowConfig(frames=FRAMES, fps=6, size_px=16))
    for layer in model.predictor.zero_layers():  # as if trained
        torch.nn.init.normal_(layer.weight, std=0.3)
    return model.double()


def clip(frames: int = FRAMES, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, frames, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def moves(count: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [0, 2])
def test_a_forecast_of_k_steps_sees_exactly_the_actions_up_to_it(depth: int, kind: str):
    model, frames, actions = small(depth, kind=kind), clip(4), moves(3 + HORIZONS)
    before = model.forecast(frames, HORIZONS, actions)
    for number in range(actions.shape[1]):  # number 3 leads from the last frame of the context to the next one
        changed = actions.clone()
        changed[:, number] += 1
        after = model.forecast(frames, HORIZONS, changed)
        same = [torch.equal(before[:, k], after[:, k]) for k in range(HORIZONS)]
        first_seen = max(number - 3, 0) if depth or number >= 3 else HORIZONS  # without blocks, the past is not seen
        assert same == [k < first_seen for k in range(HORIZONS)], number


@pytest.mark.parametrize("kind", KINDS)
def test_training_forecasts_do_not_see_the_future_of_frames_or_actions(kind: str):
    model, frames, actions = small(kind=kind), clip(), moves(FRAMES - 1)
    before = model.forecast_all(frames, actions)
    later_frames, later_actions = frames.clone(), actions.clone()
    later_frames[:, 5:], later_actions[:, 4 + HORIZONS - 1 :] = 0, 9
    after = model.forecast_all(later_frames, later_actions)
    assert torch.equal(before[:, :4], after[:, :4])
    assert torch.equal(before[:, 4, :2], after[:, 4, :2])
    assert not torch.equal(before[:, 4, 2], after[:, 4, 2])


@pytest.mark.parametrize("kind", KINDS)
def test_training_forecasts_are_those_of_evaluation(kind: str):
    model, frames, actions = small(kind=kind), clip(), moves(FRAMES - 1)
    latents = model(frames, torch.arange(2), 3, actions)
    direct = latents.predicted[(latents.horizon == 2) & ~latents.is_rollout & (latents.time == 5)]
    torch.testing.assert_close(direct, model.forecast(frames[:, :4], 2, actions[:, :5])[:, 1, 0])
    rolled = latents.predicted[latents.is_rollout & (latents.horizon == 2)]
    start = int(latents.time[latents.is_rollout][0])
    torch.testing.assert_close(rolled, model.rollout(frames[:, :start], 2, actions=actions[:, : start + 1])[:, 1, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("depth", "recurrences"), [(0, 0), (2, 0), (2, 2)])
@pytest.mark.parametrize("context", [1, 3, FRAMES])  # the last one slides at once
def test_each_imagined_sequence_is_a_rollout_of_its_actions(depth: int, recurrences: int, context: int, kind: str):
    model, frames, steps = small(depth, kind=kind, recurrences=recurrences), clip(context), FRAMES
    before, actions = moves(context - 1), torch.stack([moves(steps), 2 * moves(steps) + 1], dim=1)
    imagined = model.imagine(model.encode(frames), steps, actions, before if context > 1 else None)
    for number in range(2):
        rolled = model.rollout(frames, steps, actions=torch.cat((before, actions[:, number]), dim=1))
        torch.testing.assert_close(imagined[:, number], rolled)
    assert not torch.allclose(imagined[:, 0], imagined[:, 1])


def test_actions_of_tubelets_are_those_between_their_last_frames():
    actions = torch.arange(7.0)[None, :, None].expand(1, 7, 4)  # between 8 frames, which are 4 tubelets
    grouped = ActionInput(STATISTICS, 2).restore(ActionInput(STATISTICS, 2).between_frames(actions))
    assert grouped[0, :, ::4].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_actions_are_normalised_by_the_train_split():
    given = ActionInput(STATISTICS, 1)
    assert given.normalise(torch.tensor([1.0, -1.0, 3.0, 0.0])).tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match=r"actions of 3 numbers .* trained with 4: 2 x 2 \(x, y\)"):
        given.normalise(torch.zeros(3))


def test_without_a_condition_there_are_no_weights_for_actions():
    names = small().state_dict().keys()
    assert {name for name in names if "action" in name or "ahead" in name} == {
        "predictor.action.weight", "predictor.action.bias", "predictor.ahead.weight",
    }  # fmt: skip
    plain = build_model(CausalConfig(), WindowConfig())
    assert not [name for name in plain.state_dict() if "action" in name or "ahead" in name]
    with pytest.raises(ValueError, match=r"model\.condition is null"):
        plain.imagine(torch.zeros(1, 1, 1, 32), 2, torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("depth", [0, 2])
def test_a_new_predictor_with_adaln_zero_ignores_the_actions_until_its_condition_is_trained(depth: int):
    model, frames = small(depth, kind="adaln_zero"), clip(4)
    last, *of_condition = model.predictor.zero_layers()
    assert len(of_condition) == depth + 2  # the blocks, the output, and the actions further ahead
    for layer in of_condition:
        torch.nn.init.zeros_(layer.weight)
    given, others = moves(3 + HORIZONS), 5 * moves(3 + HORIZONS) - 1
    assert torch.equal(model.forecast(frames, HORIZONS, given), model.forecast(frames, HORIZONS, others))
    assert torch.equal(model.forecast(frames, HORIZONS, given), model.forecast(frames, HORIZONS))
    predicted = model(clip(), torch.arange(2), 3, moves(FRAMES - 1)).predicted
    gradients = torch.autograd.grad(predicted.sum(), of_condition[0].weight)
    assert gradients[0].abs().max() > 0  # it can be trained
    assert last.weight.abs().max() > 0


def test_adaln_zero_adds_nothing_in_a_new_block():
    torch.manual_seed(0)
    model = CausalWorldModel(small(kind="adaln_zero").config, WindowConfig(frames=FRAMES, fps=6, size_px=16))
    assert all(layer.weight.abs().max() == 0 for layer in model.predictor.zero_layers())
    tokens, rotary = torch.randn(2, 3, 16), rotary_table(rotary_angles(torch.arange(3)[:, None], 8))
    found, _ = model.predictor.blocks(tokens, rotary, 1, condition=torch.randn(2, 3, 16))
    assert torch.equal(found, tokens)


def test_continuations_under_actions_without_errors_equal_the_rollout():
    for tubelet_size in (1, 2):
        model, frames = small(tubelet_size=tubelet_size), clip(4)
        actions = moves(3 + 8 * tubelet_size)  # so many steps that the context slides
        tokens, features = model.latent_shape
        generator, nothing = torch.Generator().manual_seed(1), torch.zeros(5, tokens, features, dtype=torch.float64)
        found = sample_continuation(model, frames, 8, nothing, generator, actions)
        torch.testing.assert_close(found, model.rollout(frames, 8, actions=actions))
