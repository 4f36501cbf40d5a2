"""Plausibility among calibration videos: fractions computed by hand, and no bias from the fit of the whitening."""

import numpy as np
import pytest
import torch

from eval.plausibility.reference_distribution import CalibrationVideo, ReferenceDistribution
from eval.plausibility.sliding_windows import WindowSurprise
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from eval.voe.surprise.windows import WindowPlan

PLAN = WindowPlan(fps=10, frames=4, stride=2, contexts=(2,), horizon=2, tubelet_size=1, max_context=4)


def surprise_of_video(surprise, copy_error=1.0, motion=1.0, frames: int = 4, **scorers) -> WindowSurprise:
    """A video of `frames` frames. A number is the value of all windows; an array has one value per window."""
    windows = max(0, frames - 4) // 2 + 1

    def filled(value):
        array = np.broadcast_to(np.asarray(value, float).reshape(-1, 1, 1), (windows, 1, 2)).copy()
        array[:, 0, frames - 2 :] = np.nan
        return array

    by_name = {"latent distance": surprise, **scorers}
    moves = np.broadcast_to(np.asarray(motion, float).reshape(-1, 1), (windows, min(frames, 4) - 1))
    window_counts = np.zeros(4 + 2 * (windows - 1) if frames >= 4 else frames)
    return WindowSurprise(
        {name: filled(value) for name, value in by_name.items()},
        {name: filled(copy_error) for name in by_name},
        moves,
        {},
        window_counts,
    )


def calibrated(videos) -> ReferenceDistribution:
    return ReferenceDistribution(
        [CalibrationVideo(f"{index}.mp4", index % 2, video) for index, video in enumerate(videos)], PLAN
    )


def test_plausibility_is_the_fraction_of_calibration_videos_that_surprise_at_least_as_much():
    distribution = calibrated([surprise_of_video(value) for value in (1, 2, 3, 4)])
    assert [
        distribution.rank(surprise_of_video(value)).mean("plausibility", "latent distance") for value in (0.5, 2, 2.5, 9)
    ] == [
        1,
        0.75,
        0.5,
        0,
    ]


def test_a_video_is_compared_with_videos_of_similar_motion():
    """60 calibration videos whose surprise equals their motion. The 30 nearest to a video of motion 45 are 30 to 59."""
    distribution = calibrated([surprise_of_video(value, motion=value) for value in range(60)])
    rank = distribution.rank(surprise_of_video(44.5, motion=45))
    assert sorted(rank.pool.motion[rank.segments[0].neighbours].tolist()) == list(range(30, 60))
    assert rank.mean("plausibility", "latent distance") == 0.5
    still = distribution.rank(surprise_of_video(44.5, motion=0)).segments[0]
    assert sorted(distribution.pool(4).motion[still.neighbours].tolist()) == list(range(30))
    assert still.plausibility["latent distance"] == 0


def test_a_video_without_motion_is_plausible_but_not_relative_to_the_copy_baseline():
    distribution = calibrated([surprise_of_video(1, copy_error=value) for value in (1, 2, 3, 4)])
    rest = distribution.rank(surprise_of_video(0.01, copy_error=0.001))
    assert rest.mean("plausibility", "latent distance") == 1
    assert rest.mean("copy_adjusted", "latent distance") == 0
    better = distribution.rank(surprise_of_video(1, copy_error=2.5))  # relative to the copy baseline, better than two of four
    assert better.mean("copy_adjusted", "latent distance") == 0.5


def test_calibration_videos_are_cut_to_the_length_of_the_video():
    """Two videos of 12 frames (windows from 0, 2, 4, 6, 8) hold six segments of 4 frames, four of 6 and two of 10."""
    distribution = calibrated([surprise_of_video(range(5), frames=12), surprise_of_video(range(10, 15), frames=12)])
    assert distribution.pool(4).surprise["latent distance"].tolist() == [0, 2, 4, 10, 12, 14]
    assert distribution.pool(6).surprise["latent distance"].tolist() == [0.5, 3.5, 10.5, 13.5]
    assert distribution.pool(10).surprise["latent distance"].tolist() == [1.5, 11.5]
    assert distribution.pool(12).video.tolist() == [0, 1]


def test_a_video_longer_than_calibration_videos_is_ranked_in_segments_that_cover_it():
    distribution = calibrated([surprise_of_video(value) for value in (1, 2, 3, 4)])
    rank = distribution.rank(surprise_of_video([0, 0, 9, 9, 2.5], frames=12))
    assert rank.frames == 4
    assert [segment.first for segment in rank.segments] == [0, 4, 8]
    assert [segment.plausibility["latent distance"] for segment in rank.segments] == [1, 0, 0.5]
    assert rank.mean("plausibility", "latent distance") == 0.5
    assert rank.least_plausible("latent distance").first == 4


def test_where_few_calibration_videos_are_as_long_shorter_segments_are_compared():
    """One calibration video has 10 frames, 40 have 8: there are at least thirty segments of 8 frames, but not of 10."""
    distribution = calibrated([surprise_of_video(1, frames=12), *(surprise_of_video(value, frames=8) for value in range(40))])
    assert [distribution.segment_frames(frames) for frames in (3, 4, 8, 10, 12, 99)] == [3, 4, 8, 8, 8, 8]
    assert calibrated([surprise_of_video(1), surprise_of_video(2)]).segment_frames(10) == 4


def test_a_video_shorter_than_a_window_is_compared_with_equally_short_segments():
    videos = [surprise_of_video([value, 9], frames=6) for value in (1, 2, 3)]
    for video in videos:
        video.surprise["latent distance"][:, :, 1] = 100  # the second step, which a video of three frames does not have
    distribution = calibrated(videos)
    assert distribution.pool(3).surprise["latent distance"].tolist() == [1, 2, 3]
    assert distribution.rank(surprise_of_video(1.5, frames=3)).mean("plausibility", "latent distance") == pytest.approx(2 / 3)


def test_calibration_videos_that_are_too_short_are_an_error():
    with pytest.raises(ValueError, match="all calibration videos are shorter than this video"):
        calibrated([surprise_of_video(1, frames=3)]).rank(surprise_of_video(1, frames=4))


def test_no_video_is_compared_with_itself():
    distribution = calibrated([surprise_of_video(value) for value in (1, 2, 3, 4)])
    rank = distribution.rank(surprise_of_video(2), own={"1.mp4"})
    assert rank.mean("plausibility", "latent distance") == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no other calibration video"):
        calibrated([surprise_of_video(1)]).rank(surprise_of_video(1), own={"0.mp4"})


def test_each_fold_is_compared_by_its_own_whitening():
    """Videos 0 and 2 are in the first fold, with whitened surprise 1 and 3; 1 and 3 in the second, with 20 and 40."""
    distribution = calibrated([surprise_of_video(1, whitened=value) for value in (1, 20, 3, 40)])
    assert distribution.scorers == ["whitened", "latent distance"]
    found = distribution.rank(surprise_of_video(1, **{"whitened 0": 2, "whitened 1": 30}))
    assert found.mean("plausibility", "whitened") == 0.5  # 3 of the first fold, 40 of the second
    own = distribution.rank(surprise_of_video(1, **{"whitened 0": 1, "whitened 1": 1}), own={"0.mp4"})
    assert own.pool.video[own.segments[0].neighbours].tolist() == [
        2
    ]  # the whitening of the second fold was fitted on this video


def test_quantiles_are_over_all_times_of_all_calibration_videos():
    distribution = calibrated([surprise_of_video(value) for value in (1, 2, 3)])
    assert distribution.quantiles["latent distance"] == pytest.approx((2, 3))


def test_a_percentile_is_not_biased_by_the_fit():
    """Errors of calibration videos and of new videos have the same distribution. Whitened by their own errors, calibration
    videos are less surprising than new ones; with cross-fitting, new videos have a mean plausibility of one half."""
    rng = torch.Generator().manual_seed(0)

    def errors(count: int) -> torch.Tensor:  # [videos, steps, N, D], one window
        return torch.randn(count, 2, 1, 12, generator=rng)

    def fit_whitening(some: torch.Tensor) -> Whitening:
        moments = ErrorMoments.empty(2, 1, 12)
        moments.add([some])
        return Whitening.fit(moments)

    def surprises(fit: Whitening, some: torch.Tensor) -> list[float]:
        return fit.surprise(some).mean((1, 2)).tolist()

    fractions, naive = [], []
    for _ in range(40):
        folds, new = [errors(8), errors(8)], errors(4)
        fits = [fit_whitening(folds[1]), fit_whitening(folds[0])]
        videos = [
            CalibrationVideo(f"{fold} {index}", fold, surprise_of_video(1, whitened=value))
            for fold in (0, 1)
            for index, value in enumerate(surprises(fits[fold], folds[fold]))
        ]
        for first, second in zip(surprises(fits[0], new), surprises(fits[1], new), strict=True):
            rank = ReferenceDistribution(videos, PLAN).rank(surprise_of_video(1, **{"whitened 0": first, "whitened 1": second}))
            fractions.append(rank.mean("plausibility", "whitened"))
        together = fit_whitening(torch.cat(folds))
        calibration = np.array(surprises(together, torch.cat(folds)))
        naive += [float((calibration >= value).mean()) for value in surprises(together, new)]
    assert np.mean(naive) < 0.4
    assert np.mean(fractions) == pytest.approx(0.5, abs=0.05)
