"""Strength of augmentation as one number: 0 is none, 1 that of SimCLR (Chen et al. 2020, appendix
A).

| part   | parameter                                      | 0 | 1           |
| ------ | ---------------------------------------------- | - | ----------- |
| crop   | smallest area of a crop, relative to the frame | 1 | 0.08        |
|        | largest aspect ratio of a crop                 | 1 | 4/3         |
| flip   | probability of a horizontal flip               | 0 | 0.5         |
| colour | brightness, contrast and saturation, factor 1± | 0 | 0.8         |
|        | hue, ± fraction of the colour circle           | 0 | 0.2         |
| blur   | largest standard deviation, of the frame size  | 0 | 2/224       |

Each parameter is interpolated linearly between the two. There are two differences from SimCLR. SimCLR
leaves the colours of a fifth of the pictures unchanged, makes another fifth grey and blurs half of
them; here every window is changed. All frames of a window, context and future, get the same
augmentation here; no two views are trained to have equal latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worldmodel.data.augmentation.augment import AugmentConfig

NONE: Mapping[str, float] = {"crop_area_min": 1, "crop_aspect_max": 1, "hflip_prob": 0}  # defaults of other fields are 0
PARTS: Mapping[str, Mapping[str, float]] = {
    "crop": {"crop_area_min": 0.08, "crop_aspect_max": 4 / 3},
    "flip": {"hflip_prob": 0.5},
    "colour": {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2},
    "blur": {"blur_px": 2 / 224},  # of a frame of one pixel
}
"""Parameters at strength 1."""


def augment_at(strength: float, parts: Sequence[str], size_px: int) -> AugmentConfig:
    """The augmentation with these parts at a strength from 0 to 1; the other parts are left out."""
    fields = dict(NONE)
    for part in parts:
        for name, at_one in PARTS[part].items():
            none, full = NONE.get(name, 0), at_one * size_px if part == "blur" else at_one
            fields[name] = none + strength * (full - none)
    return AugmentConfig(**fields)
