"""The causal family: no leak of the future, forecasts, rollouts, and what is refused."""

import pytest
import torch

from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.blocks.layers import block_causal_mask
from worldmodel.models.blocks.rotary import rotary_angles, rotary_table, rotate
from worldmodel.models.causal import CausalConfig, CausalWorldModel
from worldmodel.models.causal_predictor import CausalPredictor, PredictorConfig
from worldmodel.models.encoder import EncoderConfig, FrameEncoder
from worldmodel.models.targets import EmaTarget, SharedTarget
from worldmodel.models.world_model import SharedContext

FRAMES = 12


def small(
    tubelet_size: int = 1,
    side: int = 1,
    token: int = 1,
    recurrences: int = 0,
    depth: int = 1,
    predictor_depth: int = 2,
    **fields: object,
) -> CausalWorldModel:
    """A model with random weights whose forecasts are not copies."""
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(
            patch_px=8,
            width=24,
            depth=depth,
            heads=2,
            latent_dim=12,
            head_width=16,
            latent_grid=side,
            tubelet_size=tubelet_size,
        ),
        predictor=PredictorConfig(
            width=24, depth=predictor_depth, heads=2, horizons=3, patch_merge=token, recurrences=recurrences
        ),
        rollout_steps=2,
        rollout_context=2,
        **fields,
    )
    model = build_model(config, WindowConfig(frames=FRAMES, fps=6, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    return model.double()


def clip(batch: int = 2, frames: int = FRAMES) -> torch.Tensor:
    return torch.randn(batch, frames, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


FAMILIES = [
    (1, 1, 1, 0),
    (1, 2, 1, 0),
    (2, 1, 1, 0),
    (2, 2, 1, 0),
    (1, 2, 2, 0),
    (1, 2, 1, 1),
    (2, 2, 1, 2),
]  # frames per latent; sides of the latent grid and of a predictor token; recurrent blocks


@pytest.mark.parametrize(("f", "side", "token", "recurrences"), FAMILIES)
def test_no_latent_and_no_forecast_sees_the_future(f: int, side: int, token: int, recurrences: int):
    model, before = small(f, side, token, recurrences), clip()
    for changed in range(f, FRAMES, f):
        after = before.clone()
        after[:, changed:] += 1
        step = changed // f
        assert torch.equal(model.encode(before)[:, :step], model.encode(after)[:, :step])
        assert not torch.equal(model.encode(before)[:, step:], model.encode(after)[:, step:])
        assert torch.equal(model.forecast_all(before)[:, :step], model.forecast_all(after)[:, :step])


@pytest.mark.parametrize(("f", "side", "token", "recurrences"), FAMILIES)
def test_the_training_path_does_not_see_the_future_either(f: int, side: int, token: int, recurrences: int):
    model, before = small(f, side, token, recurrences), clip()
    after = before.clone()
    after[:, FRAMES - f :] += 1  # the last latent step
    a, b = (model(frames, torch.arange(2), step_seed=0) for frames in (before, after))
    assert torch.equal(a.predicted, b.predicted)  # no forecast is made from the last step
    last = a.time == FRAMES // f - 1
    assert torch.equal(a.target[~last], b.target[~last])
    assert not torch.equal(a.target[last], b.target[last])


@pytest.mark.parametrize(("f", "side", "token", "recurrences"), FAMILIES)
def test_forecast_from_a_context_equals_the_row_of_the_whole_window(f: int, side: int, token: int, recurrences: int):
    model, frames = small(f, side, token, recurrences), clip()
    everything = model.forecast_all(frames)
    for context_frames in range(f, FRAMES, f):
        torch.testing.assert_close(
            model.forecast(frames[:, :context_frames], 3), everything[:, context_frames // f - 1], rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize(("f", "side", "token", "recurrences"), FAMILIES)
@pytest.mark.parametrize("target", [SharedTarget(), EmaTarget()])
def test_windows_that_share_latents_are_forecast_as_if_each_were_encoded_alone(
    f: int, side: int, token: int, recurrences: int, target: object
):
    model, frames = small(f, side, token, recurrences, target=target), clip()
    context, targets = model.encode_context_and_target(frames)
    torch.testing.assert_close(targets, model.encode(frames))
    start, context_steps = f, [1, 3, 4]  # a window that begins one latent step into the clip
    shared = model.forecast_from_latents(context[:, start // f : start // f + 4], context_steps, 3)
    for row, steps in enumerate(context_steps):
        alone = model.forecast(frames[:, start : start + steps * f], 3)
        torch.testing.assert_close(shared[:, row], alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("f", "side", "token", "recurrences"), FAMILIES)
@pytest.mark.parametrize("context_steps", [[1, 3, 5], [4, 6], [5, 6], [1, 2]])
def test_contexts_that_begin_alike_are_forecast_as_if_each_were_computed_alone(
    f: int, side: int, token: int, recurrences: int, context_steps: list[int]
):
    model = small(f, side, token, recurrences)
    latents = torch.randn(3, 6, side**2, 12, dtype=torch.float64)
    latents[2, :4] = latents[0, :4]
    shared = SharedContext(latents[:2, :4], torch.tensor([0, 1, 0]))
    found = model.forecast_from_latents(latents[:, 4:], context_steps, 3, shared)
    torch.testing.assert_close(found, model.forecast_from_latents(latents, context_steps, 3), rtol=1e-10, atol=1e-12)


def plain_window(model: CausalWorldModel, frames: torch.Tensor, contexts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Forecasts and targets of a training step, in the order of the rows: each forecast from a context that is given anew."""
    latents, count = model.encoder(frames), model.config.rollout_steps
    steps, predictor, predicted, targets = latents.shape[1], model.predictor, [], []
    for k in range(1, model.max_horizon + 1):
        each = [predictor(latents[:, : t + 1])[:, t, k - 1] for t in range(steps - k)]
        predicted.append(torch.stack(each, dim=1).flatten(0, 2))
        targets.append(latents[:, k:].flatten(0, 2))
    for context in contexts:
        extended = latents[:, :context]
        for step in range(context, context + count):
            extended = torch.cat((extended, predictor(extended)[:, -1:, 0]), dim=1)
            predicted.append(extended[:, -1].flatten(0, 1))
            targets.append(latents[:, step].flatten(0, 1))
    return torch.cat(predicted), torch.cat(targets)


@pytest.mark.parametrize("side", [1, 2, 8])  # with 8, a step has so many tokens that each step attends without a mask
@pytest.mark.parametrize("recurrences", [0, 2])
@pytest.mark.parametrize(("checkpointing", "contexts"), [(False, [3]), (True, [3]), (False, [3, 4])])
def test_losses_and_gradients_of_a_training_step_equal_the_plain_computation(
    side: int, recurrences: int, checkpointing: bool, contexts: list[int]
):
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=2 if side == 8 else 8, width=8, heads=1, latent_dim=6, head_width=8, latent_grid=side),
        predictor=PredictorConfig(width=12, depth=2, heads=2, horizons=3, recurrences=recurrences),
        rollout_steps=3,
        rollout_context=2,
        rollouts=len(contexts),
        activation_checkpointing=checkpointing,
    )
    model = build_model(config, WindowConfig(frames=7, fps=6, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    frames = torch.randn(2, 7, 3, 16, 16)
    weight = 0.5 + torch.rand(6)  # the errors of features count differently; no weight is negative, so that no sum cancels

    def loss_and_gradient(predicted: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = ((predicted - target).square() * weight).mean()
        parts = torch.autograd.grad(loss, list(model.parameters()))
        return loss.detach(), torch.cat([part.flatten() for part in parts])

    latents = model(frames, torch.arange(2), step_seed=1)
    loss, gradient = loss_and_gradient(latents.predicted, latents.target)
    plain_loss, plain_gradient = loss_and_gradient(*plain_window(model, frames, contexts))
    torch.testing.assert_close(loss, plain_loss, rtol=1e-6, atol=0)
    assert (gradient - plain_gradient).norm() <= 1e-6 * plain_gradient.norm()


@pytest.mark.parametrize("recurrences", [0, 1, 2])
def test_a_rollout_from_kept_steps_equals_one_that_computes_every_step_anew(recurrences: int):
    model, frames = small(side=2, recurrences=recurrences), clip()
    found, extended = model.rollout(frames[:, :5], FRAMES), model.encode(frames[:, :5])
    for step in range(FRAMES):  # the context slides from the eighth step on
        extended = torch.cat((extended, model.predictor.from_last_step(extended[:, -FRAMES:], 1)), dim=1)
        torch.testing.assert_close(found[:, step], extended[:, -1], rtol=1e-10, atol=1e-12)


def test_the_first_rollout_step_is_the_direct_forecast_and_the_second_follows_from_the_first():
    model, frames = small(), clip()
    rollout = model.rollout(frames[:, :5], 2)
    torch.testing.assert_close(rollout[:, :1], model.forecast(frames[:, :5], 1))
    fed = torch.cat((model.encode(frames[:, :5]), rollout[:, :1]), dim=1)
    torch.testing.assert_close(rollout[:, 1:], model.predictor.from_last_step(fed, 1))


def test_a_rollout_slides_its_context_without_limit():
    model, frames = small(), clip()
    assert model.rollout(frames, 3 * FRAMES).shape == (2, 3 * FRAMES, 1, 12)


@pytest.mark.parametrize(
    ("contexts", "predictor_depth", "recurrences"), [([3], 2, 0), ([3, 6, 9], 2, 0), ([3, 6, 9], 0, 0), ([3, 6, 9], 2, 1)]
)
def test_rows_of_training_pair_each_forecast_with_its_own_target(contexts: list[int], predictor_depth: int, recurrences: int):
    model = small(side=2, predictor_depth=predictor_depth, recurrences=recurrences, rollouts=len(contexts))
    frames = clip()
    latents = model(frames, torch.arange(2), step_seed=1)
    target, forecasts = model.encode(frames), model.forecast_all(frames)
    rollouts = {context: model.rollout(frames[:, :context], 2) for context in contexts}
    for row in torch.randperm(len(latents.time))[:200].tolist():
        b, t, n, k = (int(x[row]) for x in (latents.clip, latents.time, latents.token, latents.horizon))
        assert torch.equal(latents.target[row].detach(), target[b, t, n])
        rolled = bool(latents.is_rollout[row])
        expected = rollouts[t - k + 1][b, k - 1, n] if rolled else forecasts[b, t - k, k - 1, n]
        torch.testing.assert_close(latents.predicted[row].detach(), expected, rtol=1e-10, atol=1e-12)
    direct = sum(FRAMES - k for k in (1, 2, 3)) * 2 * 4
    assert len(latents.time) == direct + len(contexts) * 2 * 2 * 4  # a rollout: 2 steps x 2 clips x 4 tokens
    times = sorted(set(latents.time[latents.is_rollout].tolist()))
    assert times == [time for context in contexts for time in (context, context + 1)]


def test_the_rotary_base_changes_what_is_seen_of_other_places_and_steps_only():
    """A single token at one step attends to itself, whatever its angles are."""

    def forecast(base: float, side: int, frames: int) -> torch.Tensor:
        model = small(side=side)
        config = model.predictor.config.model_copy(update={"rotary_base": base})
        model.predictor.config = config
        return model.forecast(clip(frames=frames), 3)

    assert torch.equal(forecast(100, side=1, frames=1), forecast(10_000, side=1, frames=1))
    for side, frames in ((2, 1), (1, 4)):
        assert not torch.allclose(forecast(100, side, frames), forecast(10_000, side, frames))


def test_an_untrained_predictor_copies_the_last_latent():
    model = build_model(CausalConfig(), WindowConfig())
    frames = torch.randn(1, 24, 3, 64, 64)
    last = model.encode(frames[:, 3:4]).expand(-1, 2, -1, -1)
    torch.testing.assert_close(model.forecast(frames[:, :4], 2), last)


def test_without_norm_a_forecast_depends_on_the_length_of_a_token():
    torch.manual_seed(0)
    config = PredictorConfig(width=24, depth=0, heads=2, horizons=1)
    for norm in (True, False):
        predictor = CausalPredictor(config.model_copy(update={"norm": norm}), 12, 1)
        assert torch.equal(predictor.from_last_step(torch.ones(1, 1, 1, 12), 1), torch.ones(1, 1, 1, 12))  # untrained: a copy
        torch.nn.init.normal_(predictor.head[-1].weight)
        near, far = (predictor(torch.full((1, 1, 1, 12), length)).detach() - length for length in (1.0, 2.0))
        assert torch.allclose(near, far, atol=1e-2 * float(near.abs().max())) == norm


def test_more_hidden_layers_of_the_head_keep_the_copy_and_the_rollout():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=24, heads=2, latent_dim=12, head_width=16),
        predictor=PredictorConfig(width=24, depth=0, heads=2, horizons=2, head_layers=3),
        rollout_steps=2,
    )
    predictor = build_model(config, WindowConfig(frames=FRAMES, fps=6, size_px=16)).predictor
    assert [tuple(layer.linear.weight.shape) for layer in predictor.head[2:-1]] == [(48, 48), (48, 48)]
    latents = torch.randn(2, 3, 1, 12)
    assert torch.equal(predictor.from_last_step(latents, 1), latents[:, -1:])  # untrained
    torch.nn.init.normal_(predictor.head[-1].weight, std=0.3)
    first = predictor.from_last_step(latents, 1)
    second = predictor.from_last_step(torch.cat((latents, first), 1), 1)
    torch.testing.assert_close(predictor.roll_out(latents, 2, FRAMES), torch.cat((first, second), 1))


@pytest.mark.parametrize(
    ("frames", "steps", "message"), [(3, 1, "multiple of 2"), (0, 1, "multiple of 2"), (14, 1, "longer than"), (4, 4, "1 to 3")]
)
def test_a_context_or_horizon_beyond_the_model_is_refused(frames: int, steps: int, message: str):
    with pytest.raises(ValueError, match=message):
        small(tubelet_size=2).forecast(clip(frames=frames), steps)


def test_targets_receive_gradient_unless_stopped():
    for target, flows in ((SharedTarget(), True), (SharedTarget(stop_gradient=True), False), (EmaTarget(), False)):
        assert small(target=target)(clip(), torch.arange(2), 0).target.requires_grad == flows


def test_the_ema_teacher_follows_the_encoder_and_has_no_gradient():
    model = small(target=EmaTarget(momentum=0.75, momentum_end=0.75))
    with torch.no_grad():
        model.encoder.position += 1
    before = model.teacher.position.clone()
    model.update_teacher(progress=0.5)
    torch.testing.assert_close(model.teacher.position, before + 0.25)
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_rotations_keep_length_and_depend_on_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    at = lambda x, position: rotate(x, rotary_table(rotary_angles(torch.tensor([position]), 8)).double())  # noqa: E731
    near = (at(q, [2.0]) * at(k, [5.0])).sum()
    far = (at(q, [12.0]) * at(k, [15.0])).sum()
    torch.testing.assert_close(near, far, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(at(q, [7.0]).norm(), q.norm())


def test_rotation_worked_by_hand():
    quarter = torch.full((1, 2), torch.pi / 2)
    assert torch.allclose(rotate(torch.tensor([[[[1.0, 2.0]]]]), rotary_table(quarter)), torch.tensor([-2.0, 1.0]), atol=1e-6)


def test_block_causal_mask_worked_by_hand():
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert torch.equal(block_causal_mask(2, 2, torch.device("cpu")), torch.tensor(expected, dtype=torch.bool))


def test_activation_checkpointing_changes_memory_not_the_gradient():
    grads = []
    for checkpointing in (False, True):
        model = small(activation_checkpointing=checkpointing)
        model(clip(), torch.arange(2), 0).predicted.square().sum().backward()
        grads.append(model.encoder.patch.weight.grad)
    torch.testing.assert_close(*grads)


def test_linear_features_are_additive_in_pixels_and_the_others_are_not():
    torch.manual_seed(0)
    encoder = FrameEncoder(EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, linear_dim=2, head_width=16), 16).double()
    a, b = clip(1), clip(1).flip(1)
    sum_of_both, both = encoder(a) + encoder(b), encoder(a + b) + encoder(torch.zeros_like(a))
    torch.testing.assert_close(sum_of_both[..., 4:], both[..., 4:], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(sum_of_both[..., :4], both[..., :4], atol=1e-3)


def test_with_depth_0_a_token_depends_on_its_own_patches_only():
    model, before = small(side=2, depth=0), clip()
    after = before.clone()
    after[..., :8, :8] += 1  # the first token of four
    a, b = model.encode(before), model.encode(after)
    assert torch.equal(a[:, :, 1:], b[:, :, 1:])
    assert not torch.equal(a[:, :, :1], b[:, :, :1])
