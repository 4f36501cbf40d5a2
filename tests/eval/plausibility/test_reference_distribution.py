"""A film among lawful ones: shares worked by hand, and a percentile that is not biased by the fit that whitens."""

import numpy as np
import pytest
import torch

from eval.plausibility.reference_distribution import LawfulFilm, Yardstick
from eval.plausibility.sliding_windows import Watched
from eval.voe.surprise.whitening import ErrorMoments, Whitening
from eval.voe.surprise.windows import WindowPlan

PLAN = WindowPlan(fps=10, frames=4, stride=2, contexts=(2,), horizon=2, tubelet_size=1, max_context=4)


def watched(surprise, copying=1.0, motion=1.0, frames: int = 4, **scorers) -> Watched:
    """A film of so many frames, each of whose windows has these numbers; arrays go window by window."""
    windows = max(0, frames - 4) // 2 + 1

    def filled(value):
        array = np.broadcast_to(np.asarray(value, float).reshape(-1, 1, 1), (windows, 1, 2)).copy()
        array[:, 0, frames - 2 :] = np.nan
        return array

    by_name = {"distance": surprise, **scorers}
    moves = np.broadcast_to(np.asarray(motion, float).reshape(-1, 1), (windows, min(frames, 4) - 1))
    judged = np.zeros(4 + 2 * (windows - 1) if frames >= 4 else frames)
    return Watched(
        {name: filled(value) for name, value in by_name.items()}, {name: filled(copying) for name in by_name}, moves, {}, judged
    )


def lawful(films) -> Yardstick:
    return Yardstick([LawfulFilm(f"{index}.mp4", index % 2, film) for index, film in enumerate(films)], PLAN)


def test_plausibility_is_the_share_of_lawful_films_that_surprise_at_least_as_much():
    yardstick = lawful([watched(value) for value in (1, 2, 3, 4)])
    assert [yardstick.place(watched(value)).mean("plausibility", "distance") for value in (0.5, 2, 2.5, 9)] == [1, 0.75, 0.5, 0]


def test_a_film_is_compared_with_films_that_move_as_much():
    """60 lawful films, the more they move the more they surprise: the 30 around a film of motion 45 are 30 to 59."""
    yardstick = lawful([watched(value, motion=value) for value in range(60)])
    standing = yardstick.place(watched(44.5, motion=45))
    assert sorted(standing.pool.motion[standing.parts[0].beside].tolist()) == list(range(30, 60))
    assert standing.mean("plausibility", "distance") == 0.5
    still = yardstick.place(watched(44.5, motion=0)).parts[0]
    assert sorted(yardstick.pool(4).motion[still.beside].tolist()) == list(range(30))
    assert still.plausibility["distance"] == 0


def test_a_film_in_which_nothing_moves_is_plausible_but_not_beside_copying():
    yardstick = lawful([watched(1, copying=value) for value in (1, 2, 3, 4)])
    rest = yardstick.place(watched(0.01, copying=0.001))
    assert rest.mean("plausibility", "distance") == 1
    assert rest.mean("copy_adjusted", "distance") == 0
    better = yardstick.place(watched(1, copying=2.5))  # relative to copying, better than two of four
    assert better.mean("copy_adjusted", "distance") == 0.5


def test_lawful_films_are_cut_to_the_length_of_a_film():
    """Two lawful films of 12 frames (windows from 0, 2, 4, 6, 8) hold six stretches of 4 frames and two of 6 and of 10."""
    yardstick = lawful([watched(range(5), frames=12), watched(range(10, 15), frames=12)])
    assert yardstick.pool(4).surprise["distance"].tolist() == [0, 2, 4, 10, 12, 14]
    assert yardstick.pool(6).surprise["distance"].tolist() == [0.5, 3.5, 10.5, 13.5]
    assert yardstick.pool(10).surprise["distance"].tolist() == [1.5, 11.5]
    assert yardstick.pool(12).film.tolist() == [0, 1]


def test_a_film_longer_than_lawful_ones_is_judged_in_stretches_that_cover_it():
    yardstick = lawful([watched(value) for value in (1, 2, 3, 4)])
    standing = yardstick.place(watched([0, 0, 9, 9, 2.5], frames=12))
    assert standing.frames == 4
    assert [part.first for part in standing.parts] == [0, 4, 8]
    assert [part.plausibility["distance"] for part in standing.parts] == [1, 0, 0.5]
    assert standing.mean("plausibility", "distance") == 0.5
    assert standing.least("distance").first == 4


def test_where_few_lawful_films_are_as_long_shorter_stretches_are_compared():
    """One lawful film is as long; 40 reach 8 frames, so that thirty and more can be had of that length, but not of 10."""
    yardstick = lawful([watched(1, frames=12), *(watched(value, frames=8) for value in range(40))])
    assert [yardstick.stretch(frames) for frames in (3, 4, 8, 10, 12, 99)] == [3, 4, 8, 8, 8, 8]
    assert lawful([watched(1), watched(2)]).stretch(10) == 4


def test_a_film_shorter_than_a_window_is_compared_with_as_much_of_others():
    films = [watched([value, 9], frames=6) for value in (1, 2, 3)]
    for film in films:
        film.surprise["distance"][:, :, 1] = 100  # the second step, which a film of three frames has not
    yardstick = lawful(films)
    assert yardstick.pool(3).surprise["distance"].tolist() == [1, 2, 3]
    assert yardstick.place(watched(1.5, frames=3)).mean("plausibility", "distance") == pytest.approx(2 / 3)


def test_lawful_films_too_short_to_compare_with_are_an_error():
    with pytest.raises(ValueError, match="no lawful film is as long"):
        lawful([watched(1, frames=3)]).place(watched(1, frames=4))


def test_no_film_is_compared_with_itself():
    yardstick = lawful([watched(value) for value in (1, 2, 3, 4)])
    standing = yardstick.place(watched(2), own={"1.mp4"})
    assert standing.mean("plausibility", "distance") == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no other lawful film"):
        lawful([watched(1)]).place(watched(1), own={"0.mp4"})


def test_each_half_is_compared_by_its_own_whitening():
    """Films 0 and 2 are of the first half, whitened to 1 and 3; 1 and 3 of the second, to 20 and 40."""
    yardstick = lawful([watched(1, whitened=value) for value in (1, 20, 3, 40)])
    assert yardstick.scorers == ["whitened", "distance"]
    found = yardstick.place(watched(1, **{"whitened 0": 2, "whitened 1": 30}))
    assert found.mean("plausibility", "whitened") == 0.5  # 3 of the first, 40 of the second
    own = yardstick.place(watched(1, **{"whitened 0": 1, "whitened 1": 1}), own={"0.mp4"})
    assert own.pool.film[own.parts[0].beside].tolist() == [2]  # the second half was whitened by a fit that has seen it


def test_the_levels_to_read_a_curve_by_are_of_all_lawful_moments():
    yardstick = lawful([watched(value) for value in (1, 2, 3)])
    assert yardstick.usual["distance"] == pytest.approx((2, 3))


def test_a_percentile_is_not_biased_by_the_fit():
    """Errors of lawful films and of other films are drawn alike. Whitened by themselves, 12 lawful films look less surprising
    than any new film; cross-fitted, new films stand in the middle."""
    dice = torch.Generator().manual_seed(0)

    def errors(count: int) -> torch.Tensor:  # [films, steps, N, D], one window
        return torch.randn(count, 2, 1, 12, generator=dice)

    def fit(some: torch.Tensor) -> Whitening:
        moments = ErrorMoments.empty(2, 1, 12)
        moments.add([some])
        return Whitening.fit(moments)

    def of(fits: Whitening, some: torch.Tensor) -> list[float]:
        return fits.surprise(some).mean((1, 2)).tolist()

    shares, naive = [], []
    for _ in range(40):
        halves, new = [errors(8), errors(8)], errors(4)
        fits = [fit(halves[1]), fit(halves[0])]
        films = [
            LawfulFilm(f"{fold} {index}", fold, watched(1, whitened=value))
            for fold in (0, 1)
            for index, value in enumerate(of(fits[fold], halves[fold]))
        ]
        for first, second in zip(of(fits[0], new), of(fits[1], new), strict=True):
            standing = Yardstick(films, PLAN).place(watched(1, **{"whitened 0": first, "whitened 1": second}))
            shares.append(standing.mean("plausibility", "whitened"))
        together = fit(torch.cat(halves))
        usual = np.array(of(together, torch.cat(halves)))
        naive += [float((usual >= value).mean()) for value in of(together, new)]
    assert np.mean(naive) < 0.4
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)
