from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from worldmodel.render import (
    error_map,
    error_reach,
    fit_pca,
    horizon_curve,
    pca_frames,
    save_figure,
    save_png,
    side_by_side,
    strip,
    training_curves,
)
from worldmodel.render.ink import GOOD, IMAGINED, MUTED, hexadecimal
from worldmodel.render.panels import moments

TIMES = np.arange(12) / 10


def film(frames: int = 12, size: int = 16, seed: int = 0) -> np.ndarray:
    """Each frame of one grey of its own: frame i is 10 + 20 i."""
    greys = 10 + 20 * np.arange(frames, dtype=np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (frames, size, size, 3)).copy()


def latents(frames: int = 12, places: int = 16, features: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, places, features))


def greys_along(picture: np.ndarray, y: int) -> dict[int, tuple[int, int]]:
    """The greys of the test film that a row of pixels crosses, in order, with the columns [first, last] of each."""
    columns = {grey: np.flatnonzero((picture[y] == grey).all(-1)) for grey in range(10, 250, 20)}
    return {grey: (x.min(), x.max()) for grey, x in columns.items() if len(x) > 99}


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(colour)).all(-1)


# --- strips ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("count", "context", "columns", "expected"),
    [
        (12, 4, 12, (list(range(4)), list(range(4, 12)))),
        (12, 4, 6, ([0, 3], [4, 6, 9, 11])),
        (24, 1, 5, ([0], [1, 8, 16, 23])),
        (10, 9, 4, ([0, 4, 8], [9])),
        (3, 2, 10, ([0, 1], [2])),
    ],
)
def test_a_strip_shows_the_first_the_last_and_both_sides_of_the_border(count, context, columns, expected):
    assert moments(count, context, columns) == expected


def test_the_context_is_marked_off_at_the_right_column():
    """The grey rule covers the frames seen and the blue one those imagined; between them is a wider gap."""
    picture = strip({"truth": film()}, TIMES, context_frames=4, columns=12)
    frame_at = list(greys_along(picture, picture.shape[0] // 2).values())
    assert len(frame_at) == 12
    last_seen, first_imagined = frame_at[3][1], frame_at[4][0]
    gaps = [after[0] - before[1] for before, after in pairwise(frame_at)]
    assert gaps.index(max(gaps)) == 3
    blue, grey = has(picture, IMAGINED), has(picture, MUTED)
    rule_y = np.flatnonzero(blue.sum(1) > 1000)[0]
    assert np.flatnonzero(blue[rule_y])[[0, -1]].tolist() == [first_imagined, frame_at[11][1]]
    assert np.flatnonzero(grey[rule_y])[[0, -1]].tolist() == [frame_at[0][0], last_seen]


def test_rows_that_begin_after_the_context_stand_under_the_imagined_frames():
    picture = strip({"truth": film(), "imagined": film()[4:]}, TIMES, context_frames=4, columns=12)
    height = picture.shape[0]
    assert list(greys_along(picture, height // 3)) == list(range(10, 250, 20))
    assert list(greys_along(picture, 2 * height // 3)) == list(range(90, 250, 20))


def test_small_frames_are_enlarged_in_whole_pixels():
    one = film()
    one[:, ::2] = 255
    picture = strip({"truth": one}, TIMES, context_frames=4)
    column = picture[:, np.flatnonzero((picture == 10).all(-1).any(0))[0], 0]
    runs = np.diff(np.flatnonzero(np.diff(np.r_[False, column == 10, False].astype(int))))[::2]
    assert set(runs) == {10}  # 16 px drawn as 160


# --- films -----------------------------------------------------------------------------------------------------------
def test_panels_run_together_and_wait_for_the_imagined_part():
    frames = side_by_side({"truth": film(), "imagined": film()[4:]}, TIMES, context_frames=4)
    y = frames.shape[1] // 2
    for i, frame in enumerate(frames):
        assert list(greys_along(frame, y)) == [10 + 20 * i]
        shown = (frame[y, :, 0] == 10 + 20 * i).sum()
        assert shown == (2 * 256 if i >= 4 else 256)


def test_the_clock_is_blue_from_the_first_imagined_frame():
    frames = side_by_side({"truth": film()}, TIMES, context_frames=4)
    blue = [has(frame, IMAGINED).sum() for frame in frames]
    assert blue[:4] == [0, 0, 0, 0]
    assert all(before < after for before, after in pairwise(blue[3:]))


@pytest.mark.parametrize("size", [16, 63, 64, 224, 300])
def test_panels_are_legible_and_sides_even(size):
    frames = side_by_side({"a film with a long caption": film(size=size)}, TIMES, context_frames=4)
    assert frames.dtype == np.uint8
    assert frames.shape[1] >= 256
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0


# --- latents ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("places", [1, 16])
def test_the_same_latent_looks_the_same_at_any_time(places):
    """Fixed axes: moments in another order are the same pictures in another order; so are those of part of a film."""
    moving = latents(places=places)
    basis = fit_pca(moving)
    if places == 1:  # a path shows where it came from, but the spot is the present's alone
        one, other = (pca_frames(moving[order], basis)[-1] for order in ([0, 5], [3, 5]))
        blue_one, blue_other = has(one, IMAGINED), has(other, IMAGINED)
        assert (blue_one & blue_other).sum() > 50
    else:
        whole = pca_frames(moving, basis)
        assert (pca_frames(moving[::-1], basis) == whole[::-1]).all()
        assert (pca_frames(moving[7:9], basis) == whole[7:9]).all()


def test_colours_lie_where_the_places_do():
    """The first component runs from the left to the right: red grows along a row, and is the same down a column."""
    grid = np.zeros((3, 4, 4, 5))
    grid[..., 2] = np.arange(4)
    red = pca_frames(grid.reshape(3, 16, 5), fit_pca(grid.reshape(3, 16, 5)), size_px=64)[..., 0]
    assert (np.diff(red[0, 0, ::16].astype(int)) > 0).all()
    assert (red == red[:, :1]).all()


def test_equal_films_get_equal_bases():
    one, other = fit_pca(latents()), fit_pca(latents()[::-1])
    np.testing.assert_allclose(one.axes, other.axes, atol=1e-9)
    np.testing.assert_allclose(one.low, other.low, atol=1e-9)


def test_latents_of_one_or_two_features_and_latents_that_never_vary_can_be_drawn():
    for still in (np.ones((12, 16, 8)), np.ones((12, 1, 8)), latents(features=1), latents(places=1, features=2)):
        assert pca_frames(still, fit_pca(still)).dtype == np.uint8


def test_a_path_travels_with_the_truth():
    """Where the forecast is right its spot covers the true one; where it is wrong both are seen."""
    true = latents(places=1)
    basis = fit_pca(true)
    right = pca_frames(true, basis, truth=true)[0]
    wrong = pca_frames(true + 3 * basis.axes[:, 0] / 2, basis, truth=true)[0]
    assert has(right, MUTED).sum() + 50 < has(wrong, MUTED).sum()


def test_an_error_is_drawn_where_it_is():
    errors = np.zeros((12, 16))
    errors[:, 6] = 2.0  # row 1, column 2 of four
    heat = error_map(errors, film(), reach=2.0, size_px=64).astype(int)
    colourful = (heat.max(-1) - heat.min(-1)) > 30
    ys, xs = np.nonzero(colourful[3])
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (16, 31, 32, 47)


@pytest.mark.parametrize("places", [1, 16])
def test_the_scale_of_errors_is_fixed_over_the_film(places):
    errors = np.full((12, places), 0.5)
    alone = error_map(errors, film(), reach=2.0)[5]
    errors[9] = 100.0
    assert (error_map(errors, film(), reach=2.0)[5] == alone).all()


def test_bars_grow_with_the_error():
    errors = np.array([[0.5], [1.0], [2.0]])
    last = error_map(errors, film(3), reach=2.0)[-1]
    dark = has(last, IMAGINED).any(1).sum()
    assert dark == has(error_map(errors[::-1], film(3), reach=2.0)[0], IMAGINED).any(1).sum()
    assert 3.5 < dark / has(error_map(errors, film(3), reach=2.0)[0], IMAGINED).any(1).sum() < 4.1


def test_the_reach_of_errors_leaves_out_the_most_extreme():
    errors = np.ones((100, 16))
    errors[0, 0] = 1e6
    assert error_reach(errors) == 1


# --- curves and files ------------------------------------------------------------------------------------------------
def test_a_horizon_curve_shows_what_it_is_given():
    horizons = [0.1, 0.5, 1.0]
    curves = {"forecast": [1, 2, 3], "copy": [2, 4, 6], "mean": [5, 5, 5]}
    (axes,) = horizon_curve(horizons, curves, quantity="squared latent error", caption="n = 3").axes
    drawn = {line.get_label(): line for line in axes.lines}
    for label, values in curves.items():
        assert drawn[label].get_xdata().tolist() == horizons
        assert drawn[label].get_ydata().tolist() == values
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("horizon (s)", "squared latent error")
    assert axes.get_ylim()[0] == 0  # errors start at nothing, lest small differences look large
    assert len({(line.get_color(), str(line.get_linestyle())) for line in drawn.values()}) == len(drawn)


def test_training_curves_leave_gaps_where_a_number_is_missing():
    metrics = [{"step": u, "loss": 1 / u} for u in range(1, 20)] + [{"step": 20, "val/x": 1.0}]
    health = [
        {
            "step": u,
            "verdict": verdict,
            "effective_rank": rank,
            "std_mean": 1.0,
            "skill/0.1": skill,
            "skill_copy/0.1": 0.5,
            "skill_mean/0.1": 0.2,
        }
        for u, verdict, rank, skill in ((5, "warming_up", 3.0, None), (10, "healthy", None, 0.2), (20, "healthy", 9.0, 0.4))
    ]
    figure = training_curves(metrics, health)
    loss, skill, life, verdicts = figure.axes[:4]
    assert len(loss.lines[0].get_ydata()) == 19
    np.testing.assert_equal(skill.lines[0].get_ydata(), [np.nan, 0.2, 0.4])
    np.testing.assert_equal(life.lines[0].get_ydata(), [3.0, np.nan, 9.0])
    green = [p for p in verdicts.patches if p.get_facecolor()[:3] == tuple(c / 255 for c in GOOD)]
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in green] == [(5, 20)]


def test_curves_of_a_run_that_has_hardly_begun(tmp_path):
    save_figure(training_curves([], []), tmp_path / "a.png")
    save_figure(training_curves([{"step": 1, "loss": None}], []), tmp_path / "b.png")


def test_files_are_whole_or_not_there(tmp_path):
    picture = film()[0]
    save_png(picture, tmp_path / "new" / "a.png")
    assert (np.asarray(Image.open(tmp_path / "new" / "a.png")) == picture).all()
    figure = horizon_curve([1, 2], {"forecast": [1, 2]}, quantity="error")
    for kind, begins in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        save_figure(figure, tmp_path / f"curve.{kind}")
        assert (tmp_path / f"curve.{kind}").read_bytes().startswith(begins)
    with pytest.raises(TypeError):
        save_png(picture.astype(float), tmp_path / "b.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curve.pdf", "curve.png", "curve.svg", "new"]


def test_colours_have_names_for_matplotlib():
    assert hexadecimal(IMAGINED) == "#0072b2"


def test_errors_teach(tmp_path):
    with pytest.raises(ValueError, match=r"imagined has 5 frames; 12 times want 12, or 8 after the context"):
        strip({"truth": film(), "imagined": film(5)}, TIMES, context_frames=4)
    with pytest.raises(ValueError, match=r"truth: expected uint8 \[T, H, W, 3\], got float64"):
        side_by_side({"truth": film() / 255}, TIMES, context_frames=4)
    with pytest.raises(ValueError, match="12 of 12 frames as context leave"):
        strip({"truth": film()}, TIMES, context_frames=12)
    with pytest.raises(ValueError, match="6 places are no square grid"):
        pca_frames(latents(places=6), fit_pca(latents(places=6)))
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg"):
        save_figure(horizon_curve([1], {"a": [1]}, quantity="error"), tmp_path / "a.jpg")
