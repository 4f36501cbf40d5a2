"""What models hand to objectives: latents and pairs of forecast and target, whatever the model family."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Extent:
    """What a model makes of one window, in numbers, as its config knows them before there is a model."""

    steps: int  # latent steps that the encoder which is trained is shown at most
    places: int
    features: int  # of a latent
    target_features: int  # of a forecast and of what came: others where these are no latents
    targets_alike: int  # moments of a clip at most that are predicted of the same place from equally far
    horizons: int | None  # 1..K that forecasts reach; None where they are not sorted so


@dataclass(frozen=True)
class Latents:
    """Latents of one batch and the forecasts made from them.

    Shapes: B clips, T latent steps, N places, D features; R rows, one per (clip, time, place, horizon) that was forecast.
    Rows rather than a dense array, so that several horizons and ragged masks fit alike. Where a clip is seen in V views
    (masks), `context` holds V*B of them: row v*B + b is view v of clip b.
    """

    context: Tensor  # [B, T, N, D] what the encoder that is trained says of each moment, with gradient
    context_mask: Tensor  # [B, T, N] bool, True where `context` holds something
    predicted: Tensor  # [R, D]
    target: Tensor  # [R, D]
    sample: Tensor  # [R] int64: clip of the batch
    time: Tensor  # [R] int64: latent step of the target
    place: Tensor  # [R] int64
    horizon: Tensor  # [R] int64: latent steps between the last one seen and the target; 0 = filled in, not forecast
    imagined: Tensor  # [R] bool: made by feeding predictions back, not directly from what was seen
    chance: int = 0  # a random number of the update, the same on all ranks and micro-batches
    # [B] int64: which window each clip is, no two of an update alike; None: this is the whole update
    ids: Tensor | None = field(default=None, kw_only=True)
