"""Strength of augmentation: none at 0, SimCLR's at 1, linear between."""

import pytest
import torch

from eval.sweeps.augmentation.strengths import PARTS, augment_at
from worldmodel.data.augmentation.augment import UNIFORMS_PER_SAMPLE, augment
from worldmodel.models.pixels import to_float

ALL = list(PARTS)


def test_strength_zero_changes_no_pixel():
    frames = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    augmented = augment(frames, torch.rand(2, UNIFORMS_PER_SAMPLE), 16, augment_at(0, ALL, 16))
    assert torch.equal(augmented.pixels, to_float(frames))


def test_strength_one_is_that_of_simclr_at_224_px():
    assert augment_at(1, ALL, 224).model_dump() == pytest.approx(
        {
            "crop_area_min": 0.08,
            "crop_aspect_max": 4 / 3,
            "hflip_prob": 0.5,
            "brightness": 0.8,
            "contrast": 0.8,
            "saturation": 0.8,
            "hue": 0.2,
            "blur_px": 2.0,
            "occluder_prob": 0.0,
            "occluder_whole": 0.25,
        }
    )


def test_strength_one_half_by_hand_and_other_parts_are_left_out():
    half = augment_at(0.5, ["crop", "blur"], 56)
    assert (half.crop_area_min, half.crop_aspect_max, half.blur_px) == pytest.approx((0.54, 7 / 6, 0.25))
    assert half.hflip_prob == 0
    assert not half.colours
