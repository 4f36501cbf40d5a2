"""Dark borders are found on two opposite sides, and a dark scene has none."""

import numpy as np

from data_prep.curation.borders import find_borders, sharpen_borders
from data_prep.curation.recipe import BorderConfig


def borders(picture: np.ndarray) -> tuple[float, ...]:
    return find_borders(picture.astype(np.float32), BorderConfig())


def test_a_letterbox_has_its_widths():
    picture = np.full((100, 80), 200)
    picture[:10], picture[88:] = 5, 5
    assert borders(picture) == (0.1, 0.12, 0, 0)


def test_one_dark_side_belongs_to_the_scene():
    picture = np.full((100, 80), 200)
    picture[:, :20] = 5
    assert borders(picture) == (0, 0, 0, 0)


def test_a_dark_picture_with_a_small_light_has_none():
    picture = np.zeros((100, 80))
    picture[45:55, 35:45] = 200
    assert borders(picture) == (0, 0, 0, 0)
    assert borders(np.zeros((10, 10))) == (0, 0, 0, 0)


def test_borders_are_exact_to_the_pixel_of_the_file():
    """Small pictures of 64 rows know a border of 131 of 1080 rows to 17 rows only."""
    frame = np.full((1080, 1920), 5, np.float32)
    frame[131:949, :] = 180
    coarse = (8 / 64, 7 / 64, 0.0, 0.0)
    assert sharpen_borders([frame], coarse, (64, 114), BorderConfig()) == (131 / 1080, 131 / 1080, 0.0, 0.0)


def test_a_sample_that_is_dark_at_the_edge_does_not_widen_a_border():
    frame = np.full((1000, 1000), 5, np.float32)
    frame[300:700] = 180  # in other frames the picture reaches from row 100 to row 900
    coarse = (0.1, 0.1, 0.0, 0.0)
    assert sharpen_borders([frame], coarse, (100, 100), BorderConfig()) == coarse
