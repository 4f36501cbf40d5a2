"""How strong augmentation is, in one number: 0 is none, 1 what self-supervised learning of images usually takes.

| part   | what                                           | 0 | 1           |
| ------ | ---------------------------------------------- | - | ----------- |
| crop   | smallest share of the picture that is kept     | 1 | 0.08        |
|        | widest ratio of a crop's sides                 | 1 | 4/3         |
| flip   | share of windows mirrored                      | 0 | 0.5         |
| colour | brightness, contrast and saturation, factor 1± | 0 | 0.8         |
|        | hue, ± turns of the colour circle              | 0 | 0.2         |
| blur   | largest standard deviation, of the picture     | 0 | 2/224       |

Between the two each number goes in a straight line. At 1 they are SimCLR's (Chen et al. 2020, appendix A), which besides leaves
a fifth of the pictures their colours, takes them from another fifth, and blurs half; here every window gets its share. And here
all frames of a window, seen and to come, are augmented alike: no two views of one thing are asked to look the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.errors import EvalError
from worldmodel.data.augment import AugmentConfig

NONE: Mapping[str, float] = {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0}  # other fields are 0 by themselves
USUAL: Mapping[str, Mapping[str, float]] = {
    "crop": {"crop_area_min": 0.08, "crop_aspect_max": 4 / 3},
    "flip": {"hflip_prob": 0.5},
    "colour": {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2},
    "blur": {"blur_px": 2 / 224},  # of a picture of one pixel
}


def augment_at(strength: float, parts: Sequence[str], size_px: int) -> AugmentConfig:
    """Those parts at a strength from 0 to 1, the others left out."""
    fields = dict(NONE)
    for part in parts:
        for name, usual in USUAL[part].items():
            none, full = NONE.get(name, 0), usual * size_px if part == "blur" else usual
            fields[name] = none + strength * (full - none)
    return AugmentConfig(**fields)


def strengths_of(text: str) -> list[float]:
    """Weakest first. Raises EvalError for what is no strength, or fewer than two."""
    try:
        found = sorted({float(word) for word in text.split(",")})
    except ValueError:
        raise EvalError(f"--strengths {text}: write numbers from 0 to 1, such as 0,0.25,0.5,1") from None
    if len(found) < 2 or not all(0 <= strength <= 1 for strength in found):  # NaN is between nothing
        raise EvalError(f"--strengths {text}: at least two, each from 0 (none) to 1 (SimCLR's)")
    return found


def parts_of(text: str) -> list[str]:
    """Raises EvalError for what is no part of augmentation."""
    found = list(dict.fromkeys(text.split(",")))
    if unknown := [part for part in found if part not in USUAL]:
        raise EvalError(f"--parts {text}: {', '.join(unknown)} is none of {', '.join(USUAL)}")
    return found
