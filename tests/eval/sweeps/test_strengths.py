"""One number for how strong augmentation is: nothing at 0, SimCLR's at 1, in a straight line between."""

import pytest
import torch

from eval.errors import EvalError
from eval.sweeps.strengths import USUAL, augment_at, parts_of, strengths_of
from worldmodel.data.augment import DRAWS, augment
from worldmodel.models.pixels import to_float

ALL = list(USUAL)


def test_strength_zero_leaves_every_pixel_as_it_is():
    frames = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    assert torch.equal(augment(frames, torch.rand(2, DRAWS), 16, augment_at(0, ALL, 16)), to_float(frames))


def test_strength_one_is_what_simclr_takes_of_pictures_of_224_px():
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
        }
    )


def test_half_way_worked_by_hand_and_parts_that_are_not_asked_left_out():
    half = augment_at(0.5, ["crop", "blur"], 56)
    assert (half.crop_area_min, half.crop_aspect_max, half.blur_px) == pytest.approx((0.54, 7 / 6, 0.25))
    assert half.hflip_prob == 0
    assert not half.colours


def test_strengths_are_sorted_and_what_is_none_is_refused():
    assert strengths_of("1,0,.25") == [0, 0.25, 1]
    for wrong in ("0.5", "0,2", "0,nan", "0,much"):
        with pytest.raises(EvalError, match="--strengths"):
            strengths_of(wrong)
    with pytest.raises(EvalError, match="zoom is none of crop, flip, colour, blur"):
        parts_of("crop,zoom")
