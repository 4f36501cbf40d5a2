"""Dark borders are found on two opposite sides, and a dark scene has none."""

import numpy as np

from data_prep.curation.borders import find_borders
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
