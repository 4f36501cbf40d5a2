from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from worldmodel.render import (
    error_map,
    error_scale,
    fit_pca,
    horizon_curve,
    pca_frames,
    save_figure,
    save_png,
    side_by_side,
    strip,
)
from worldmodel.render.panels import strip_frames
from worldmodel.render.style import MUTED, PREDICTION, hex_colour

TIMES = np.arange(12) / 10


def video(frames: int = 12, size: int = 16, seed: int = 0) -> np.ndarray:
    """Each frame of one grey of its own: frame i is 10 + 20 i."""
    greys = 10 + 20 * np.arange(frames, dtype=np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (frames, size, size, 3)).copy()


def latents(frames: int = 12, tokens: int = 16, features: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, tokens, features))


def greys_along(picture: np.ndarray, y: int) -> dict[int, tuple[int, int]]:
    """The greys of the test video that a row of pixels crosses, in order, with the columns [first, last] of each."""
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
def test_a_strip_shows_the_first_the_last_and_both_sides_of_the_end_of_the_context(count, context, columns, expected):
    assert strip_frames(count, context, columns) == expected


def test_the_end_of_the_context_is_marked_at_the_right_column():
    """The grey line covers the context and the blue one the prediction; between them is a wider gap."""
    picture = strip({"truth": video()}, TIMES, context_frames=4, columns=12)
    frame_at = list(greys_along(picture, picture.shape[0] // 2).values())
    assert len(frame_at) == 12
    last_context, first_predicted = frame_at[3][1], frame_at[4][0]
    gaps = [after[0] - before[1] for before, after in pairwise(frame_at)]
    assert gaps.index(max(gaps)) == 3
    blue, grey = has(picture, PREDICTION), has(picture, MUTED)
    line_y = np.flatnonzero(blue.sum(1) > 1000)[0]
    assert np.flatnonzero(blue[line_y])[[0, -1]].tolist() == [first_predicted, frame_at[11][1]]
    assert np.flatnonzero(grey[line_y])[[0, -1]].tolist() == [frame_at[0][0], last_context]


def test_rows_that_begin_after_the_context_are_aligned_with_the_prediction():
    picture = strip({"truth": video(), "prediction": video()[4:]}, TIMES, context_frames=4, columns=12)
    height = picture.shape[0]
    assert list(greys_along(picture, height // 3)) == list(range(10, 250, 20))
    assert list(greys_along(picture, 2 * height // 3)) == list(range(90, 250, 20))


def test_small_frames_are_enlarged_in_whole_pixels():
    one = video()
    one[:, ::2] = 255
    picture = strip({"truth": one}, TIMES, context_frames=4)
    column = picture[:, np.flatnonzero((picture == 10).all(-1).any(0))[0], 0]
    runs = np.diff(np.flatnonzero(np.diff(np.r_[False, column == 10, False].astype(int))))[::2]
    assert set(runs) == {10}  # 16 px drawn as 160


# --- videos ----------------------------------------------------------------------------------------------------------
def test_panels_are_synchronised_and_blank_until_their_first_frame():
    frames = side_by_side({"truth": video(), "prediction": video()[4:]}, TIMES, context_frames=4)
    y = frames.shape[1] // 2
    for i, frame in enumerate(frames):
        assert list(greys_along(frame, y)) == [10 + 20 * i]
        shown = (frame[y, :, 0] == 10 + 20 * i).sum()
        assert shown == (2 * 256 if i >= 4 else 256)


def test_the_time_line_is_blue_from_the_first_predicted_frame():
    frames = side_by_side({"truth": video()}, TIMES, context_frames=4)
    blue = [has(frame, PREDICTION).sum() for frame in frames]
    assert blue[:4] == [0, 0, 0, 0]
    assert all(before < after for before, after in pairwise(blue[3:]))


@pytest.mark.parametrize("size", [16, 63, 64, 224, 300])
def test_panels_are_legible_and_sides_even(size):
    frames = side_by_side({"a video with a long caption": video(size=size)}, TIMES, context_frames=4)
    assert frames.dtype == np.uint8
    assert frames.shape[1] >= 256
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0


# --- latents ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tokens", [1, 16])
def test_equal_latents_look_the_same_at_any_time(tokens):
    """The axes are fixed: reordered steps give the same frames reordered, and so does a part of a video."""
    moving = latents(tokens=tokens)
    basis = fit_pca(moving)
    if tokens == 1:  # the path shows earlier steps, but the dot only the current one
        one, other = (pca_frames(moving[order], basis)[-1] for order in ([0, 5], [3, 5]))
        blue_one, blue_other = has(one, PREDICTION), has(other, PREDICTION)
        assert (blue_one & blue_other).sum() > 50
    else:
        whole = pca_frames(moving, basis)
        assert (pca_frames(moving[::-1], basis) == whole[::-1]).all()
        assert (pca_frames(moving[7:9], basis) == whole[7:9]).all()


def test_colours_are_drawn_at_the_position_of_their_token():
    """The first component runs from the left to the right: red grows along a row, and is the same down a column."""
    grid = np.zeros((3, 4, 4, 5))
    grid[..., 2] = np.arange(4)
    red = pca_frames(grid.reshape(3, 16, 5), fit_pca(grid.reshape(3, 16, 5)), size_px=64)[..., 0]
    assert (np.diff(red[0, 0, ::16].astype(int)) > 0).all()
    assert (red == red[:, :1]).all()


def test_equal_videos_get_equal_bases():
    one, other = fit_pca(latents()), fit_pca(latents()[::-1])
    np.testing.assert_allclose(one.axes, other.axes, atol=1e-9)
    np.testing.assert_allclose(one.low, other.low, atol=1e-9)


def test_latents_with_few_features_and_constant_latents_can_be_drawn():
    for still in (np.ones((12, 16, 8)), np.ones((12, 1, 8)), latents(features=1), latents(tokens=1, features=2)):
        assert pca_frames(still, fit_pca(still)).dtype == np.uint8


def test_the_true_path_is_drawn_beside_the_predicted_one():
    """The dot of a correct forecast covers the true dot; of a wrong forecast both are visible."""
    true = latents(tokens=1)
    basis = fit_pca(true)
    right = pca_frames(true, basis, truth=true)[0]
    wrong = pca_frames(true + 3 * basis.axes[:, 0] / 2, basis, truth=true)[0]
    assert has(right, MUTED).sum() + 50 < has(wrong, MUTED).sum()


def test_an_error_is_drawn_at_the_position_of_its_token():
    errors = np.zeros((12, 16))
    errors[:, 6] = 2.0  # row 1, column 2 of four
    heat = error_map(errors, video(), scale=2.0, size_px=64).astype(int)
    colourful = (heat.max(-1) - heat.min(-1)) > 30
    ys, xs = np.nonzero(colourful[3])
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (16, 31, 32, 47)


@pytest.mark.parametrize("tokens", [1, 16])
def test_the_scale_of_errors_is_fixed_over_the_video(tokens):
    errors = np.full((12, tokens), 0.5)
    alone = error_map(errors, video(), scale=2.0)[5]
    errors[9] = 100.0
    assert (error_map(errors, video(), scale=2.0)[5] == alone).all()


def test_bars_grow_with_the_error():
    errors = np.array([[0.5], [1.0], [2.0]])
    last = error_map(errors, video(3), scale=2.0)[-1]
    dark = has(last, PREDICTION).any(1).sum()
    assert dark == has(error_map(errors[::-1], video(3), scale=2.0)[0], PREDICTION).any(1).sum()
    assert 3.5 < dark / has(error_map(errors, video(3), scale=2.0)[0], PREDICTION).any(1).sum() < 4.1


def test_the_error_scale_ignores_the_most_extreme_hundredth():
    errors = np.ones((100, 16))
    errors[0, 0] = 1e6
    assert error_scale(errors) == 1


# --- curves and files ------------------------------------------------------------------------------------------------
def test_a_horizon_curve_draws_the_given_values():
    horizons = [0.1, 0.5, 1.0]
    curves = {"forecast": [1, 2, 3], "copy": [2, 4, 6], "mean": [5, 5, 5]}
    (axes,) = horizon_curve(horizons, curves, quantity="squared latent error", caption="n = 3").axes
    drawn = {line.get_label(): line for line in axes.lines}
    for label, values in curves.items():
        assert drawn[label].get_xdata().tolist() == horizons
        assert drawn[label].get_ydata().tolist() == values
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("horizon (s)", "squared latent error")
    assert axes.get_ylim()[0] == 0  # the axis starts at 0, so that small differences do not look large
    assert len({(line.get_color(), str(line.get_linestyle())) for line in drawn.values()}) == len(drawn)


def test_files_are_written_atomically(tmp_path):
    picture = video()[0]
    save_png(picture, tmp_path / "new" / "a.png")
    assert (np.asarray(Image.open(tmp_path / "new" / "a.png")) == picture).all()
    figure = horizon_curve([1, 2], {"forecast": [1, 2]}, quantity="error")
    for kind, begins in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        save_figure(figure, tmp_path / f"curve.{kind}")
        assert (tmp_path / f"curve.{kind}").read_bytes().startswith(begins)
    with pytest.raises(TypeError):
        save_png(picture.astype(float), tmp_path / "b.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["curve.pdf", "curve.png", "curve.svg", "new"]


def test_colours_equal_those_that_matplotlib_writes():
    assert hex_colour(PREDICTION) == "#0072b2"


def test_errors_say_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match=r"prediction has 5 frames; expected 12, or 8 after the context"):
        strip({"truth": video(), "prediction": video(5)}, TIMES, context_frames=4)
    with pytest.raises(ValueError, match=r"truth: expected uint8 \[T, H, W, 3\], got float64"):
        side_by_side({"truth": video() / 255}, TIMES, context_frames=4)
    with pytest.raises(ValueError, match="context_frames is 12; expected 1 to 11"):
        strip({"truth": video()}, TIMES, context_frames=12)
    with pytest.raises(ValueError, match="6 tokens are not a square grid"):
        pca_frames(latents(tokens=6), fit_pca(latents(tokens=6)))
    with pytest.raises(ValueError, match=r"\.png, \.pdf or \.svg"):
        save_figure(horizon_curve([1], {"a": [1]}, quantity="error"), tmp_path / "a.jpg")
