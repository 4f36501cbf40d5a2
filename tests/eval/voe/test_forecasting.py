"""Surprise compares forecasts from the context alone with targets, with the fewest encoder calls."""

import numpy as np
import pytest
import torch

from eval.voe.surprise.forecasting import ALL_FORECASTERS, FORECASTERS, frame_digests, frame_ids, predict_windows
from eval.voe.surprise.pixel_baselines import (
    frame_gram,
    motion_change,
    motion_energy,
    path_statistics,
    pixel_copy,
    pixel_extrapolation,
    visible_copy,
)
from eval.voe.surprise.whitening import ErrorKey, ErrorMoments, Whitening, load_moments, save_moments
from eval.voe.surprise.windows import Window, WindowPlan, parse_frames
from worldmodel.data.window_config import WindowConfig
from worldmodel.models import build_model
from worldmodel.models.causal import CausalConfig
from worldmodel.models.causal_predictor import PredictorConfig
from worldmodel.models.encoder import EncoderConfig
from worldmodel.models.targets import EmaTarget, SharedTarget


def world_model(f: int = 1, side: int = 1, target: EmaTarget | None = None):
    torch.manual_seed(0)
    config = CausalConfig(
        target=target or SharedTarget(),
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16, latent_grid=side, tubelet_size=f),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=4),
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=12, fps=12, size_px=16))
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    if target is not None:
        torch.nn.init.normal_(model.teacher.patch.weight, std=0.3)
    return model.eval()


class Apart:
    """A model without a statement on which frames its latents depend."""

    def __init__(self, model):
        self.model = model
        for name in ("fps", "tubelet_size", "max_context", "max_span", "max_horizon", "size_px", "target_scope"):
            setattr(self, name, getattr(model, name))

    def normalise(self, frames):
        return self.model.normalise(frames)

    def encode(self, frames):
        return self.model.encode(frames)

    def forecast(self, context, steps):
        return self.model.forecast(context, steps)


def videos(count: int = 3, frames: int = 14) -> torch.Tensor:
    return torch.randint(0, 256, (count, frames, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


PLAN = WindowPlan(fps=12, frames=10, stride=2, contexts=(2, 4, 6), horizon=3, tubelet_size=1, max_context=12)


@pytest.mark.parametrize(("f", "side"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_sharing_latents_changes_no_number(f: int, side: int):
    model, plan = world_model(f, side), WindowPlan(12, 10, 1, (2, 4, 6), 3, f, 12)
    windows = [*plan.sliding(14), *filter(None, (plan.ending_at(cut, 14) for cut in range(3, 13)))]
    shared = {o.window: o for o in predict_windows(model, videos(), windows, ALL_FORECASTERS)}
    apart = {o.window: o for o in predict_windows(Apart(model), videos(), windows, ALL_FORECASTERS)}
    assert shared.keys() == apart.keys() == set(windows)
    for window, one in shared.items():
        torch.testing.assert_close(one.target, apart[window].target, rtol=1e-5, atol=1e-5)
        for name in FORECASTERS:
            torch.testing.assert_close(one.forecasts[name], apart[window].forecasts[name], rtol=1e-5, atol=1e-5)


def quadruplet(cut: int = 6) -> torch.Tensor:
    """Two beginnings and two ends with the same hidden frame in between: (a, u), (b, v), (a, v), (b, u)."""
    a, b = videos(2)
    b[cut - 1] = a[cut - 1]  # hidden: a frame that both beginnings end with
    return torch.stack([torch.cat((one[:cut], other[cut:])) for one, other in ((a, a), (b, b), (a, b), (b, a))])


@pytest.mark.parametrize("scope", ["window", "suffix"])
@pytest.mark.parametrize("family", ["frame_wise", "teacher", "apart", "whole_window"])
def test_equal_frames_of_spliced_videos_are_encoded_once_with_equal_results(family: str, scope):
    """With a teacher, context latents and target latents differ."""
    model = WholeWindow() if family == "whole_window" else world_model(2, 2, EmaTarget() if family == "teacher" else None)
    frames = quadruplet()
    same = frame_ids([frame_digests(video) for video in frames.numpy()])
    assert len(np.unique(same)) == 2 * 14 - 1
    windows = [*(PUBLISHED.sliding(14) if family == "whole_window" else WindowPlan(12, 10, 1, (2, 4), 4, 2, 12).sliding(14))]
    windows.append(Window("locked", 0, 6, 2))
    wrapped = Apart(model) if family == "apart" else model
    distinct = same * same.size + np.arange(same.size).reshape(same.shape)  # in the same order, and no two of them equal
    deduplicated, separate = (
        list(predict_windows(wrapped, frames, windows, ALL_FORECASTERS, scope, ids)) for ids in (same, distinct)
    )
    for one, other in zip(deduplicated, separate, strict=True):
        assert one.window == other.window
        torch.testing.assert_close(one.target, other.target, rtol=1e-5, atol=1e-5)
        for name in FORECASTERS:
            torch.testing.assert_close(one.forecasts[name], other.forecasts[name], rtol=1e-5, atol=1e-5)
            if one.window.kind == "locked":  # one context, two videos: equal to the last bit
                assert torch.equal(one.forecasts[name][0], one.forecasts[name][2])


def test_a_quadruplet_costs_two_videos():
    model, frames = world_model(), quadruplet()
    encoded, forecast = Counted(model.encoder), Counted(model.predictor.blocks)
    same = frame_ids([frame_digests(video) for video in frames.numpy()])
    list(
        predict_windows(
            model, frames, [Window("locked", 0, 6, 4)], {"locked": ("model", "masked context"), "sliding": ()}, ids=same
        )
    )
    assert (encoded.calls, encoded.frames) == (1, 2 * 14 - 1)
    assert (forecast.calls, forecast.frames) == (2, 2 * 6 + 1)  # two contexts of six; one last picture


def test_a_common_beginning_of_contexts_is_computed_once():
    model, frames = world_model(), videos(4)
    frames[:, :6] = frames[0, :6]
    windows = [Window("sliding", 0, 4, 4), Window("sliding", 0, 8, 4)]
    separate = list(predict_windows(model, frames, windows, ids=np.arange(4 * 14).reshape(4, 14)))
    forecast = Counted(model.predictor.blocks)
    shared = list(predict_windows(model, frames, windows))
    assert (forecast.calls, forecast.frames) == (2, 6 + 4 * 2)  # six common steps, then two of each video
    for one, other in zip(shared, separate, strict=True):
        torch.testing.assert_close(one.forecasts["model"], other.forecasts["model"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["frame_wise", "whole_window"])
def test_the_shuffled_context_does_not_know_the_order_of_the_context(family: str):
    """Two contexts of the same latent steps that end alike, here one backwards, give one forecast to the last bit."""
    model = WholeWindow() if family == "whole_window" else world_model(2, 2)
    (frames,) = videos(1, 12).unflatten(1, (6, 2))
    order = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 2, 1, 0, 4, 5], [2, 0, 3, 1, 4, 5]])
    both = frames[order].flatten(1, 2)
    window = Window("locked", 0, 10, 1)
    (found,) = predict_windows(model, both, [window], ALL_FORECASTERS)
    for other in (1, 2):
        assert torch.equal(found.forecasts["shuffled context"][0], found.forecasts["shuffled context"][other])
        if family == "frame_wise":  # the whole window's test model takes a mean over the context
            assert not torch.allclose(found.forecasts["model"][0], found.forecasts["model"][other])
    (alone,) = predict_windows(model, both[:1], [window], ALL_FORECASTERS)  # the order does not depend on the batch
    torch.testing.assert_close(alone.forecasts["shuffled context"], found.forecasts["shuffled context"][:1])


def test_a_window_is_forecast_for_the_videos_that_have_it():
    model, frames = world_model(), videos(3)
    window = Window("locked", 0, 6, 4)
    (whole,) = predict_windows(model, frames, [window], ALL_FORECASTERS)
    (part,) = predict_windows(model, frames, [window], ALL_FORECASTERS, members={window: [2, 0]})
    assert part.videos == [2, 0]
    torch.testing.assert_close(part.target, whole.target[[2, 0]])
    for name in FORECASTERS:
        torch.testing.assert_close(part.forecasts[name], whole.forecasts[name][[2, 0]], rtol=1e-5, atol=1e-6)


def test_no_forecast_changes_when_the_future_does():
    model, before = world_model(), videos()
    for window in PLAN.sliding(14):
        after = before.clone()
        after[:, window.cut :] = 255 - after[:, window.cut :]
        one, other = (next(iter(predict_windows(model, frames, [window], ALL_FORECASTERS))) for frames in (before, after))
        for name in FORECASTERS:
            torch.testing.assert_close(one.forecasts[name], other.forecasts[name])
        assert not torch.allclose(one.target, other.target)


# --- against the released protocol: windows of 16 frames every 2, five contexts, context and window encoded for each ---------
PUBLISHED = WindowPlan(fps=7.5, frames=16, stride=2, contexts=(2, 4, 6, 8, 10), horizon=14, tubelet_size=2, max_context=16)


class Counted:
    """Counts the calls of a model's encoders, and the frames that they encode."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.calls = self.frames = 0
        encoder.register_forward_pre_hook(self._count)

    def _count(self, encoder, given) -> None:
        self.calls += 1
        self.frames += given[0].shape[0] * given[0].shape[1]


class WholeWindow(torch.nn.Module):
    """A family whose latents see all frames they are encoded with, as in the released code: two frames and four tokens per
    latent step, attention over everything; targets are layer-normed, distances L1. The predictor uses the context's mean."""

    fps, tubelet_size, max_context, max_horizon, size_px, target_scope = 7.5, 2, 16, 7, 16, "window"
    max_span = None

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder = torch.nn.Sequential(Tubelets(), torch.nn.Linear(384, 8), Mixing())
        self.predictor = torch.nn.Linear(8, 7 * 4 * 8)

    def normalise(self, frames):
        return frames.permute(0, 1, 4, 2, 3).float() / 255

    @torch.no_grad()
    def encode(self, frames):
        return torch.nn.functional.layer_norm(self.encoder(frames), (8,))

    @torch.no_grad()
    def forecast(self, context, steps):
        return self.predictor(self.encoder(context).mean((1, 2))).view(-1, 7, 4, 8)[:, :steps]

    def distance(self, forecast, target):
        return (forecast - target).abs().mean(-1)


class Tubelets(torch.nn.Module):
    def forward(self, frames):  # [B, T, 3, 16, 16] -> [B, T/2, 4, 2 x 3 x 8 x 8]
        cells = frames.unflatten(1, (-1, 2)).unflatten(4, (2, 8)).unflatten(6, (2, 8))  # b t 2 c i 8 j 8
        return cells.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(2, 3)


class Mixing(torch.nn.Module):
    def forward(self, latents):  # every latent attends to every other of the window
        rows = latents.flatten(1, 2)
        return (rows + torch.softmax(rows @ rows.transpose(1, 2), -1) @ rows).view_as(latents)


def released(model, frames: torch.Tensor, plan: WindowPlan) -> dict[Window, torch.Tensor]:
    """S_{w,C}: mean over future tokens and features of |P(E(x_<=C)) - LN(T(x))|, by window and context, as the released code
    computes it: for each context length the whole window is encoded, the future gathered, the context encoded alone."""
    pixels, f, found = model.normalise(frames), plan.tubelet_size, {}
    for start in range(0, frames.shape[1] - plan.frames + 1, plan.stride):
        for context in plan.contexts:
            window = pixels[:, start : start + plan.frames]
            steps = (plan.frames - context) // f
            target = model.encode(window)[:, context // f :]
            forecast = model.forecast(window[:, :context], steps)
            found[Window("sliding", start, context, steps)] = model.distance(forecast, target).flatten(1).mean(1)
    return found


def shared(model, frames: torch.Tensor, plan: WindowPlan) -> dict[Window, torch.Tensor]:
    wrapped = predict_windows(model, frames, plan.sliding(frames.shape[1]))
    return {o.window: model.distance(o.forecasts["model"], o.target).flatten(1).mean(1) for o in wrapped}


def frame_wise():
    torch.manual_seed(0)
    config = CausalConfig(
        encoder=EncoderConfig(patch_px=8, width=16, heads=2, latent_dim=6, head_width=16, latent_grid=2, tubelet_size=2),
        predictor=PredictorConfig(width=24, depth=1, heads=2, horizons=7),
        distance="l1",
        normalise_latents=True,
        rollout_steps=0,
    )
    model = build_model(config, WindowConfig(frames=16, fps=7.5, size_px=16)).eval()
    torch.nn.init.normal_(model.predictor.head[-1].weight, std=0.3)
    return model


@pytest.mark.parametrize(("make", "calls", "frames"), [(frame_wise, 3, 3), (WholeWindow, 1.6, 2)])
def test_the_numbers_of_the_released_protocol_need_fewer_encoder_calls(make, calls: float, frames: float):
    """49 frames are 17 windows, 85 of them with their contexts: the released code calls encoders 170 times. Where a target sees
    the whole window it is called 17 x (5 + 1) times; frame-wise once for the video."""
    model, video = make(), videos(2, 49)
    counted = Counted(model.encoder)
    wanted = released(model, video, PUBLISHED)
    before = counted.calls, counted.frames
    counted.calls = counted.frames = 0
    found = shared(model, video, PUBLISHED)
    assert found.keys() == wanted.keys()
    assert len(found) == 85
    for window, surprise in wanted.items():
        torch.testing.assert_close(found[window], surprise, rtol=1e-5, atol=1e-5)
    assert before[0] == 170
    assert counted.calls == {frame_wise: 1, WholeWindow: 17 * 6}[make]
    assert before[0] >= calls * counted.calls
    assert before[1] >= frames * counted.frames  # and these calls encode fewer frames


def test_a_target_that_sees_only_the_suffix_costs_one_more_call_per_context():
    model, video = WholeWindow(), videos(2, 16)
    counted = Counted(model.encoder)
    list(predict_windows(model, video, PUBLISHED.sliding(16), scope="suffix"))
    assert counted.calls == 5 + 5


def test_pixel_baselines_are_squared_errors():
    frames = videos(1, 10)[0].numpy()
    wide, gram, window = frames.astype(float), frame_gram(frames), Window("sliding", 1, 3, 2)
    np.testing.assert_array_equal(pixel_copy(gram, window, 1), [((wide[t] - wide[3]) ** 2).sum() for t in (4, 5)])
    line = [((wide[3 + k] - (wide[3] + k * (wide[3] - wide[2]))) ** 2).sum() for k in (1, 2)]
    np.testing.assert_array_equal(pixel_extrapolation(gram, window, 1), line)
    np.testing.assert_array_equal(motion_energy(gram), [((wide[t] - wide[t - 1]) ** 2).sum() for t in range(1, 10)])


def test_a_straight_path_has_no_turn_and_no_linear_prediction_error():
    path = np.arange(6.0)[:, None] * np.array([[3.0, 4.0]])
    found = path_statistics(path)
    np.testing.assert_allclose(found["step length"], 5)
    np.testing.assert_allclose(found["turning angle"], 0, atol=1e-6)
    np.testing.assert_allclose(found["acceleration"], 0, atol=1e-12)
    np.testing.assert_allclose(found["linear prediction"], 0, atol=1e-9)


def test_locked_windows_end_in_two_hidden_frames():
    # hidden frames 10..13 at the video's 24 frames/s; read at 12 frames/s these are frames 5 and 6
    windows = WindowPlan(12, 10, 2, (4,), 3, 1, 12).locked((12, 15), 24.0, 12)
    assert [window.cut for window in windows] == [7]
    assert windows[0].start == 0


def test_the_last_latent_of_a_locked_context_covers_hidden_frames_only():
    # hidden frames 10..17; latents of four frames
    windows = WindowPlan(12, 24, 2, (4,), 3, 4, 24).locked((12, 19), 12.0, 30)
    assert [window.cut for window in windows] == [14, 15, 16, 17, 18]
    assert WindowPlan(12, 24, 2, (4,), 3, 4, 24).locked((12, 14), 12.0, 30) == []  # only frames 10..12 are hidden


def test_visible_copy_and_motion_change_look_behind_the_blank():
    def scores(levels: list[int], window: Window) -> list[list[float]]:
        gram = frame_gram(np.array(levels, np.uint8)[:, None, None, None])
        return [list(baseline(gram, window, 1)) for baseline in (visible_copy, motion_change)]

    window = Window("locked", 0, 5, 2)
    assert scores([10, 20, 9, 9, 9, 30, 45], window) == [[100.0, 625.0], [125.0, 125.0]]
    assert scores([10, 20, 9, 9, 9, 20, 20], window) == [[0.0, 0.0], [100.0, 100.0]]  # a frozen outcome
    inside = Window("locked", 1, 3, 4)  # the blank goes on after the context, whose first frame is not in the window
    assert scores([10, 20, 9, 9, 9, 9, 30, 45], inside) == [[121.0, 121.0, 100.0, 625.0], [225.0] * 4]
    assert scores([9, 9, 9, 9, 9, 11, 14], window) == [[4.0, 25.0], [9.0, 9.0]]  # nothing was visible before


def test_windows_of_a_model_whose_context_and_forecast_share_a_window_fit_into_it():
    plan = WindowPlan(6, 16, 2, (2, 6, 10), 7, 2, 14, 16)
    (window,) = {plan.ending_at(20, 60)}
    assert (window.start, window.context, window.steps) == (12, 8, 4)  # half is context, half is forecast
    assert (plan.ending_at(58, 60).context, plan.ending_at(58, 60).steps) == (14, 1)
    assert {(w.context, w.steps) for w in plan.sliding(60)} == {(2, 7), (6, 5), (10, 3)}  # the rest, as published


def test_seconds_and_frames():
    assert (parse_frames("0.5s", 12), parse_frames("8", 12)) == (6, 8)
    with pytest.raises(ValueError, match="neither"):
        parse_frames("half", 12)


def test_whitened_surprise_is_one_on_calibration_videos_and_high_along_rare_directions(tmp_path):
    key = ErrorKey("sliding", "model")
    rng = torch.Generator().manual_seed(0)
    mix = torch.tensor([[3.0, 0.0], [2.4, 1.0]])  # errors lie along one direction
    errors = torch.randn(400, 1, 1, 2, generator=rng) @ mix.T
    moments = ErrorMoments.empty(1, 1, 2)
    moments.add([errors[:200]])
    rest = moments.empty_like()
    rest.add([errors[200:]])
    moments.merge(rest)
    save_moments(tmp_path / "m.npz", {key: moments})
    fit = Whitening.fit(load_moments(tmp_path / "m.npz")[key])
    assert fit.videos == 400
    assert float(fit.surprise(errors).mean()) == pytest.approx(1, abs=0.05)
    common, rare = torch.tensor([[[[3.0, 2.4]]]]), torch.tensor([[[[1.2, -1.2]]]])
    assert float(fit.surprise(rare)) > 3 * float(fit.surprise(common))  # though it is half as long
    assert float(fit.diagonal_surprise(rare)) < float(fit.diagonal_surprise(common))


def test_tokens_share_a_covariance_unless_each_has_its_own():
    rng = torch.Generator().manual_seed(0)
    errors = torch.randn(300, 1, 2, 3, generator=rng) * torch.tensor([0.1, 2.0])[:, None]  # a quiet token, an active one
    shared, apart = ErrorMoments.empty(1, 1, 3), ErrorMoments.empty(1, 2, 3)
    shared.add([errors])
    apart.add([errors])
    together, separate = (Whitening.fit(moments).surprise(errors).mean((0, 1)) for moments in (shared, apart))
    torch.testing.assert_close(separate, torch.ones(2), atol=0.1, rtol=0)
    torch.testing.assert_close(together, torch.tensor([0.01, 4.0]) / 2.005, atol=0.1, rtol=0.1)


def test_too_few_videos_cannot_whiten():
    with pytest.raises(ValueError, match="too few"):
        Whitening.fit(ErrorMoments.empty(2, 1, 3))


def test_many_features_are_whitened_along_fewer_directions():
    errors = torch.randn(300, 1, 1, 600, generator=torch.Generator().manual_seed(0))
    moments = ErrorMoments.empty(1, 1, 600)
    moments.add([errors])
    assert moments.gram.shape == (1, 1, 256, 256)
    fit = Whitening.fit(moments)
    assert float(fit.surprise(errors).mean()) == pytest.approx(1, abs=0.1)
    assert float(fit.surprise(2 * errors).mean()) == pytest.approx(4, abs=0.4)


def test_errors_of_tokens_that_share_a_covariance_are_summed():
    errors = torch.randn(6, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    apart = ErrorMoments.empty(2, 3, 4)
    apart.add([errors, errors[:, :1]])
    shared = ErrorMoments.empty(2, 1, 4)
    shared.add([errors, errors[:, :1]])
    np.testing.assert_allclose(shared.count, 3 * apart.count)
    np.testing.assert_allclose(shared.total[:, 0], apart.total.sum(1))
    np.testing.assert_allclose(shared.gram[:, 0], apart.gram.sum(1))
    assert Whitening.fit(shared).surprise(errors).shape == (6, 2, 3)
