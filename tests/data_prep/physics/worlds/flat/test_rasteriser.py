"""What the rasteriser draws, against areas worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_prep.physics.motion import passing, resting
from data_prep.physics.rendered_video import OCCLUDER_ID
from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds.flat.rasteriser import render
from data_prep.physics.worlds.flat.scenes import Background, FlatEntity, FlatScene

VIDEO = VideoFormat(64, 6, 12.0)
GREY = Background("plain", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0, 0)
HALF_M = 0.4
PX_PER_M = 16


def entity(shape="disc", path=None, **options) -> FlatEntity:
    return FlatEntity("one", shape, (HALF_M, HALF_M), (1.0, 1.0, 1.0), path or resting(0.013, 1.507), **options)


def panel() -> FlatEntity:
    return FlatEntity(
        "panel", "box", (0.9, 0.9), (0.2, 0.4, 0.6), resting(0.0, 1.5), "stripes", is_object=False, is_occluder=True
    )


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("disc", np.pi * HALF_M**2),
        ("square", (2 * 0.9 * HALF_M) ** 2),
        ("triangle", 3 * np.sqrt(3) / 4 * (1.2 * HALF_M) ** 2),
        ("pentagon", 5 / 2 * np.sin(2 * np.pi / 5) * (1.09 * HALF_M) ** 2),
        ("star", 5 * np.sin(np.pi / 5) * 0.45 * (1.15 * HALF_M) ** 2),
        ("cross", 4 * HALF_M**2 * (2 * 0.4 - 0.4**2)),
    ],
)
def test_a_shape_covers_its_area_at_any_fraction_of_a_pixel(shape, area):
    rendered = render(FlatScene((entity(shape),), GREY), VIDEO)
    covered_px = (rendered.frames[0].astype(float).mean(2) - 128).sum() / 127
    assert covered_px == pytest.approx(area * PX_PER_M**2, rel=0.02)


def test_a_hidden_body_changes_no_bit():
    path = passing(-1, 0.3, 0.25, 1.5)
    hidden, empty = (render(FlatScene(entities, GREY), VIDEO) for entities in ((entity(path=path), panel()), (panel(),)))
    assert np.array_equal(hidden.frames, empty.frames)
    assert not hidden.visible_px.any()
    assert (hidden.unoccluded_px > 120).all()
    assert set(np.unique(hidden.segmentation)) == {0, OCCLUDER_ID}


def test_a_body_in_front_of_the_panel_is_seen_and_labelled():
    shown = render(FlatScene((panel(), entity()), GREY), VIDEO)
    assert np.array_equal(shown.visible_px, shown.unoccluded_px)
    assert (shown.segmentation == 1).sum(axis=(1, 2)) == pytest.approx(np.pi * (HALF_M * PX_PER_M) ** 2, rel=0.06)


def test_position_and_width_in_pixels_follow_the_path():
    truth = render(FlatScene((entity(path=passing(-1, 1.2, 0.0, 0.4)),), GREY), VIDEO)
    assert truth.centre_px[:, 0, 0] == pytest.approx(32 + 1.2 * PX_PER_M * np.arange(6) / 12)
    assert truth.centre_px[0, 0, 1] == pytest.approx(64 * 0.875 - 0.4 * PX_PER_M)
    assert truth.width_px == pytest.approx(2 * HALF_M * PX_PER_M)


def test_the_rolling_of_a_disc_is_visible():
    rolling = entity(path=passing(-1, 1.5, 0.25, 1.5), pattern="halves")
    still = replace(rolling, path=resting(float(render(FlatScene((rolling,), GREY), VIDEO).position_m[5, 0, 0]), 1.5))
    one, other = (render(FlatScene((it,), GREY), VIDEO).frames[5].astype(int) for it in (rolling, still))
    assert (np.abs(one - other) > 20).any(2).sum() > 25


def test_a_scene_without_objects_has_a_ground_truth_of_the_same_length():
    truth = render(FlatScene((), GREY), VIDEO).ground_truth()
    assert truth["present"].shape == (6, 0)
    assert truth["segmentation"].shape == (6, 64, 64)
