"""The masked family: masked tokens do not leak, and the scale of targets cannot shrink."""

import pytest
import torch

from eval.voe.surprise.forecasting import ALL_FORECASTERS, FORECASTERS, predict_windows
from eval.voe.surprise.windows import Window
from worldmodel.data.augmentation.augment import AugmentConfig
from worldmodel.data.loader import Batch
from worldmodel.data.token_masks.stacked import draw_batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.health.monitor import forecasts_within
from worldmodel.models import build_model
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table, rotate
from worldmodel.models.mask_predictor import MaskPredictorConfig
from worldmodel.models.masked import MaskedConfig, MaskedWorldModel, PixelTarget
from worldmodel.models.masks import MaskConfig, sample_views
from worldmodel.models.targets import EmaTarget, SharedTarget
from worldmodel.models.tubelets import denormalise_tubelets, normalise_tubelets
from worldmodel.models.video_encoder import VideoEncoderConfig, gather_tokens
from worldmodel.objectives import build_objective
from worldmodel.objectives.barlow import BarlowTwinsConfig
from worldmodel.objectives.forecast import ForecastConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.training.learner import Learner, global_statistics

FRAMES, SIZE, F, PATCH = 8, 32, 2, 8
STEPS, TOKENS = FRAMES // F, (SIZE // PATCH) ** 2
BLOCKS, FUTURE = MaskConfig(blocks=2, area=0.3), MaskConfig(blocks=0, visible_time_fraction=(0.25, 0.75))
TARGETS = (EmaTarget(), SharedTarget(), PixelTarget())


def small(**fields: object) -> MaskedWorldModel:
    torch.manual_seed(0)
    config = MaskedConfig(
        encoder=VideoEncoderConfig(patch_px=PATCH, tubelet_size=F, width=24, depth=2, heads=2),
        predictor=MaskPredictorConfig(width=24, depth=2, heads=2),
        **{"masks": (BLOCKS, FUTURE), **fields},
    )
    model = build_model(config, WindowConfig(frames=FRAMES, fps=4, size_px=SIZE))
    with torch.no_grad():
        for parameter in model.parameters():  # as if trained: initially mask tokens are 0, and teacher and encoder are equal
            parameter += 0.1 * torch.randn_like(parameter)
    return model.double()


def clip(batch: int = 3, frames: int = FRAMES, size: int = SIZE) -> torch.Tensor:
    return torch.randn(batch, frames, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def views_of(model: MaskedWorldModel, batch: int, step_seed: int):
    return sample_views(model.config.masks, list(range(batch)), step_seed, STEPS, SIZE // PATCH)


def change_tokens(frames: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """Change the pixels of the tokens that bool [B, T*N] selects."""
    cells = changed.view(len(frames), STEPS, 1, SIZE // PATCH, SIZE // PATCH).repeat_interleave(F, 1)
    pixels = cells.repeat_interleave(PATCH, -1).repeat_interleave(PATCH, -2)
    return torch.where(pixels, -frames - 1, frames)


# --- nothing leaks ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("view", [0, 1])
def test_masked_tokens_do_not_influence_the_predictions_of_their_view_in_training(target, view: int):
    model, before, step_seed = small(target=target), clip(), 3
    views = views_of(model, 3, step_seed)
    shown = torch.zeros(3, STEPS * TOKENS, dtype=torch.bool).scatter(1, views[view].visible, True)
    after = change_tokens(before, ~shown)
    lengths = [v.masked.shape[1] for v in views]
    one, other = (model(x, torch.arange(3), step_seed).predicted.view(3, -1, model.latent_shape[1]) for x in (before, after))
    pairs = list(zip(one.split(lengths, 1), other.split(lengths, 1), strict=True))
    torch.testing.assert_close(*pairs[view], rtol=0, atol=1e-12)
    assert not torch.allclose(*pairs[1 - view])  # it does depend on some of the changed pixels


@pytest.mark.parametrize("target", TARGETS)
def test_no_forecast_changes_when_the_future_does(target):
    model = small(target=target).float()
    before = torch.randint(0, 256, (2, FRAMES, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    for context in (2, 4, 6):
        after = before.clone()
        after[:, context:] = 255 - after[:, context:]
        window = Window("sliding", 0, context, (FRAMES - context) // F)
        one, other = (next(iter(predict_windows(model, frames, [window], ALL_FORECASTERS))) for frames in (before, after))
        for name in FORECASTERS:
            assert torch.equal(one.forecasts[name], other.forecasts[name])
        assert not torch.allclose(one.target, other.target)


def test_encoding_the_whole_clip_and_slicing_would_leak():
    """A common mistake that makes scores too good. Therefore a context is encoded alone."""
    model, before = small(), clip()
    after = before.clone()
    after[:, 4:] += 1
    whole = [model.encoder(frames)[:, : 2 * TOKENS] for frames in (before, after)]
    alone = [model.encoder(frames[:, :4]) for frames in (before, after)]
    assert not torch.allclose(*whole)
    assert torch.equal(*alone)


@pytest.mark.parametrize("target", TARGETS)
def test_a_forecast_equals_the_prediction_of_training_for_a_view_of_the_past(target):
    model, frames = small(target=target, masks=(BLOCKS, FUTURE)), clip()
    for step_seed in range(6):
        latents = model(frames, torch.arange(3), step_seed)
        blocks, past = views_of(model, 3, step_seed)
        past_steps = past.visible.shape[1] // TOKENS
        rows = latents.predicted.view(3, -1, model.latent_shape[1])[:, blocks.masked.shape[1] :]
        forecast = model.forecast(frames[:, : past_steps * F], STEPS - past_steps)
        torch.testing.assert_close(rows, forecast.flatten(1, 2), rtol=1e-8, atol=1e-10)


def test_a_context_and_a_forecast_that_exceed_the_window_together_are_refused():
    with pytest.raises(ValueError, match="6 frames and 2 steps after it are 10 frames, but this model's window has 8"):
        small().forecast(clip(frames=6), 2)


# --- targets ---------------------------------------------------------------------------------------------------------
def test_targets_are_normalised_and_a_teacher_that_shrinks_changes_nothing():
    model, frames = small(), clip()
    before = model.encode(frames)
    torch.testing.assert_close(before.mean(-1), torch.zeros(3, STEPS, TOKENS).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(before.var(-1, unbiased=False), torch.ones(3, STEPS, TOKENS).double(), rtol=0, atol=1e-2)
    with torch.no_grad():
        model.teacher.norm.weight *= 100
        model.teacher.norm.bias *= 100
    torch.testing.assert_close(model.encode(frames), before, rtol=1e-3, atol=1e-3)


def test_only_shared_targets_receive_gradient():
    for target, flows in ((EmaTarget(), False), (SharedTarget(), True), (SharedTarget(stop_gradient=True), False)):
        assert small(target=target)(clip(), torch.arange(3), 0).target.requires_grad == flows


def test_the_ema_teacher_follows_the_encoder():
    model = small(target=EmaTarget(momentum=0.75, momentum_end=0.75))
    slow, fast = model.teacher.patch.weight.clone(), model.encoder.patch.weight
    model.update_teacher(0.5)
    torch.testing.assert_close(model.teacher.patch.weight, 0.75 * slow + 0.25 * fast)


def test_a_clip_longer_than_the_window_ends_with_a_complete_window():
    model, frames = small(), clip(frames=FRAMES + 4)
    encoded = model.encode(frames)
    torch.testing.assert_close(encoded[:, 2:], model.encode(frames[:, 4:]))
    torch.testing.assert_close(encoded[:, :2], model.encode(frames[:, :4]))


def test_normalised_tubelets_worked_by_hand():
    frames = torch.zeros(1, 2, 3, 1, 2)
    frames[0, :, 0, 0] = torch.tensor([[0.1, 0.3], [0.1, 0.5]])  # red of two pixels, over two frames
    red = normalise_tubelets(frames, 2, 1).view(2, 2, 3)[..., 0]  # two tokens, two values each
    torch.testing.assert_close(red, torch.tensor([[0.0, 0.0], [-1.0, 1.0]]) / 2**0.5, rtol=1e-4, atol=1e-4)


def test_pixel_targets_do_not_depend_on_brightness_contrast_or_other_frames():
    model, frames = small(target=PixelTarget()), clip()
    before = model.encode(frames)
    torch.testing.assert_close(model.encode(0.5 * frames + 1), before, rtol=1e-3, atol=1e-3)
    assert before.shape == (3, STEPS, TOKENS, 3 * F * PATCH**2)
    assert model.target_scope == "past"
    torch.testing.assert_close(model.encode(frames[:, 2:4]), before[:, 1:2])


def test_denormalising_inverts_normalising():
    frames = torch.rand(2, 2, 3, 16, 16)
    torch.testing.assert_close(denormalise_tubelets(normalise_tubelets(frames, 2, 8), frames, 8), frames, rtol=1e-4, atol=1e-5)


# --- rows, views, rollouts -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", TARGETS)
def test_rows_of_training_pair_each_prediction_with_its_own_target(target):
    model, frames, step_seed = small(target=target), clip(), 4
    latents, encoded = model(frames, torch.arange(3), step_seed), model.encode(frames)
    expected = encoded[latents.clip, latents.time, latents.token]
    torch.testing.assert_close(latents.target, expected)
    views = views_of(model, 3, step_seed)
    past_steps = views[1].visible.shape[1] // TOKENS
    future = latents.horizon > 0
    assert future.sum() == 3 * (STEPS - past_steps) * TOKENS  # only the view of the past forecasts
    assert torch.equal(latents.horizon[future], latents.time[future] - past_steps + 1)


def test_the_context_of_each_view_lies_where_its_tokens_were():
    model, frames, step_seed = small(), clip(), 4
    latents = model(frames, torch.arange(3), step_seed)
    for number, view in enumerate(views_of(model, 3, step_seed)):
        mine = slice(3 * number, 3 * number + 3)
        mask = latents.context_mask[mine].flatten(1)
        assert torch.equal(mask.nonzero()[:, 1].view(3, -1), view.visible)
        shown = gather_tokens(latents.context[mine].flatten(1, 2), view.visible)
        torch.testing.assert_close(shown, model.encoder(frames, [view.visible]), rtol=1e-8, atol=1e-10)
        assert not latents.context[mine].flatten(1, 2)[~mask].any()


DROPPED = ((EmaTarget(), 0.5), (SharedTarget(), 0.5))


@pytest.mark.parametrize(("target", "kept"), [*((target, 1.0) for target in TARGETS), *DROPPED])
def test_masks_do_not_change_with_ranks_or_micro_batches_nor_does_the_gradient(target, kept: float):
    spread = VICRegConfig(std_weight=3.0, cov_weight=5.0, margin=2.0)
    objectives = {"forecast": ForecastConfig(distance="l1"), "spread": spread, "views": BarlowTwinsConfig()}
    learner = Learner(
        small(target=target, tokens_kept=kept),
        {name: build_objective(c) for name, c in objectives.items()},
        AugmentConfig(hflip_prob=0.5),
    )
    learner.double()
    source = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (6, FRAMES, 36, 36, 3), dtype=torch.uint8, generator=source)
    draws, found = torch.rand(6, 10, generator=source), []
    for sizes in ([6], [1, 3, 2]):
        micro_batches = [Batch(frames[r], draws[r], 100 + r, step_seed=7) for r in torch.arange(6).split(sizes)]
        shared = global_statistics(learner, micro_batches)
        learner.zero_grad()
        for micro, whole in zip(micro_batches, shared, strict=True):
            loss = learner(micro, whole).total
            loss.backward()
        found.append([loss.detach(), *(p.grad for p in learner.parameters() if p.requires_grad)])
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-12)


def test_the_first_rollout_step_is_the_direct_forecast_and_the_second_follows_from_the_first():
    for target in TARGETS:
        model, frames = small(target=target), clip(frames=4)
        rolled_out = model.rollout(frames, 2)
        torch.testing.assert_close(rolled_out[:, :1], model.forecast(frames, 1))
        assert not torch.allclose(rolled_out[:, 1], model.forecast(frames, 2)[:, 1])
        assert model.rollout(frames, 3 * STEPS).isfinite().all()


def test_a_pixel_rollout_equals_forecasts_from_its_own_decoded_frames():
    model, frames = small(target=PixelTarget()), clip(frames=4)
    first = model.rollout(frames, 2)[:, :1]
    std, mean = (torch.tensor(x, dtype=torch.float64)[:, None, None] for x in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
    decoded = (denormalise_tubelets(first, frames[:, 2:] * std + mean, PATCH) - mean) / std
    torch.testing.assert_close(model.rollout(frames, 2)[:, 1:], model.forecast(torch.cat((frames, decoded), 1), 1))


def test_the_health_check_uses_the_forecasts_of_every_context():
    model, frames = small(), clip()
    table = forecasts_within(model, frames)
    assert table.shape == (3, STEPS, STEPS - 1, TOKENS, 24)
    torch.testing.assert_close(table[:, 1, :2], model.forecast(frames[:, :4], 2))


@pytest.mark.parametrize(
    ("frames", "steps", "message"), [(3, 1, "multiple of 2"), (0, 1, "multiple of 2"), (8, 1, "longer than"), (4, 4, "1 to 3")]
)
def test_a_context_or_horizon_beyond_the_model_is_refused(frames: int, steps: int, message: str):
    with pytest.raises(ValueError, match=message):
        small().forecast(clip(frames=frames), steps)


def test_activation_checkpointing_changes_memory_not_the_gradient():
    grads = []
    for checkpointing in (False, True):
        model = small(activation_checkpointing=checkpointing)
        model(clip(), torch.arange(3), 0).predicted.square().sum().backward()
        grads.append(model.encoder.patch.weight.grad)
    torch.testing.assert_close(*grads)


# --- positions -------------------------------------------------------------------------------------------------------
def test_positions_of_tokens_worked_by_hand():
    expected = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert grid_positions(2, 2, torch.device("cpu")).tolist() == expected


def test_rotary_angles_of_three_axes_worked_by_hand():
    position = torch.tensor([[2, 3, 5]])
    slow = 10_000**-0.5
    plain, tiled = rotary_angles(position, 14)[0], rotary_angles(position, 14, tiled=True)[0]
    turns = [(2, 2 * slow), (3, 3 * slow), (5, 5 * slow)]
    torch.testing.assert_close(plain, torch.tensor([x for a, b in turns for x in (a, a, b, b)] + [0, 0]))
    torch.testing.assert_close(tiled, torch.tensor([x for a, b in turns for x in (a, b, a, b)] + [0, 0]))


def test_the_released_variant_rotates_the_two_features_of_a_pair_by_different_angles():
    turned = rotate(torch.tensor([[[[1.0, 2.0]]]]), rotary_table(torch.tensor([[0.0, torch.pi / 2]])))
    assert torch.allclose(turned, torch.tensor([1.0, 1.0]), atol=1e-6)  # 1 cos 0 - 2 sin 0, 2 cos 90° + 1 sin 90°


# --- frames that are not square --------------------------------------------------------------------------------------
def wide(frames: torch.Tensor) -> torch.Tensor:
    """Frames twice as wide, whose left half is given."""
    return torch.cat((frames, frames.flip(-1)), dim=-1)


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_takes_rectangles_as_one_that_was_built_for_them(target):
    square = small(target=target)
    built = build_model(square.config, WindowConfig(frames=FRAMES, fps=4, size_px=SIZE, width_px=2 * SIZE)).double()
    built.load_state_dict(square.state_dict())
    frames = wide(clip())
    assert built.latent_shape[0] == 2 * TOKENS
    for one, other in (
        (square.encode(frames), built.encode(frames)),
        (square.forecast(frames[:, :4], 2), built.forecast(frames[:, :4], 2)),
        (square.rollout(frames[:, :4], 5), built.rollout(frames[:, :4], 5)),
        (square(frames, torch.arange(3), 5).predicted, built(frames, torch.arange(3), 5).predicted),
    ):
        assert torch.equal(one, other)
    assert square.encode(frames).shape[2] == 2 * TOKENS


def test_tokens_of_a_rectangle_have_the_positions_of_their_rows_and_columns():
    """With positions in columns only, a frame turned by 90 degrees would have the same latents, turned."""
    model, frames = small(), wide(clip())
    turned = model.encoder(frames.transpose(-1, -2)).unflatten(1, (STEPS, 8, 4))
    assert not torch.allclose(model.encoder(frames).unflatten(1, (STEPS, 4, 8)).transpose(2, 3), turned)
    rows = grid_positions(1, (2, 3), frames.device)
    assert rows.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2]]


def test_frames_that_are_not_whole_patches_are_refused():
    with pytest.raises(ValueError, match="frames of 36 x 32 px cannot be cut into patches of 8 x 8 px"):
        small().encode(torch.zeros(1, FRAMES, 3, 32, 36, dtype=torch.float64))


# --- dropped tokens --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", [EmaTarget(), SharedTarget()])
def test_dropped_tokens_influence_nothing(target):
    model, before, step_seed = small(target=target, tokens_kept=0.3), clip(), 3
    drawn = draw_batch(model.config.mask_rule(STEPS, (SIZE // PATCH,) * 2), [0, 1, 2], step_seed)
    used = torch.zeros(3, STEPS * TOKENS, dtype=torch.bool)
    for indices in (drawn.of_teacher, *(view.visible for view in drawn.views)):
        used.scatter_(1, indices, True)
    assert 0 < used.sum() < used.numel()
    one, other = (model(x, torch.arange(3), step_seed) for x in (before, change_tokens(before, ~used)))
    for name in ("context", "predicted", "target"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert len(one.predicted) == 3 * 2 * 9  # 19 of 64 tokens are kept, for two views


@pytest.mark.parametrize("target", [EmaTarget(), SharedTarget()])
def test_the_teacher_of_dropped_clips_sees_the_kept_tokens_alone(target):
    model, frames, step_seed = small(target=target, tokens_kept=0.5), clip(), 4
    latents = model(frames, torch.arange(3), step_seed)
    kept = draw_batch(model.config.mask_rule(STEPS, (SIZE // PATCH,) * 2), [0, 1, 2], step_seed).of_teacher
    tokens = (model.teacher or model.encoder)(frames, [kept])
    encoded = dict(zip(((c, i) for c in range(3) for i in kept[c].tolist()), tokens.flatten(0, 1), strict=True))
    expected = [
        encoded[c, t * TOKENS + n]
        for c, t, n in zip(*(x.tolist() for x in (latents.clip, latents.time, latents.token)), strict=True)
    ]
    torch.testing.assert_close(
        latents.target, torch.nn.functional.layer_norm(torch.stack(expected), (24,)), rtol=1e-8, atol=1e-10
    )


def test_few_patches_are_embedded_as_all_of_them_are():
    model, frames = small(), clip()
    shown = torch.tensor([[0, 5, 40], [1, 2, 3], [10, 20, 63]])
    torch.testing.assert_close(
        model.encoder(frames, [shown], embed_all=False), model.encoder(frames, [shown]), rtol=1e-9, atol=1e-12
    )


def test_too_few_kept_tokens_are_refused():
    window = WindowConfig(frames=FRAMES, fps=4, size_px=SIZE)
    config = small().config.model_copy(update={"tokens_kept": 0.05})
    assert "keeps 3 of the 64 tokens of a window; 2 masks need at least 4" in config.check(window)[0]
