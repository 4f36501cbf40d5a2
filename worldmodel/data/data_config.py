"""The configuration of the data of a run."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from worldmodel.config import Config
from worldmodel.video.backends import Backend
from worldmodel.video.planes import PixelFormat


class DataConfig(Config):
    """Where windows come from and how they are read."""

    manifest: str | tuple[str, ...] = "data/demo/train.parquet"
    """Parquet files made by `python -m data_prep`"""
    make: tuple[str, ...] | None = None
    """arguments of `python -m data_prep` that make the manifest if it is missing"""
    weights: tuple[NonNegativeFloat, ...] | None = None
    """fraction of the samples from each manifest; null = one pool, in which an epoch contains every window once"""
    batch_size: PositiveInt = 64
    """windows per training step, over all processes and micro-batches"""
    decode_px: PositiveInt | None = None
    """short side of decoded frames; null = the window's size, or an eighth more if augmentation crops"""
    workers: NonNegativeInt = 2
    """processes that decode, per training process"""
    prefetch: PositiveInt = 4
    """micro-batches that each worker reads ahead"""
    worker_timeout_s: NonNegativeFloat = 300.0
    """a micro-batch that takes longer ends the run; 0 = no limit"""
    max_failed_fraction: float = Field(0.1, ge=0, le=1)
    """fraction of reads that may fail before the run stops"""
    storage_wait_s: NonNegativeFloat = 600.0
    """how long the run waits for a missing folder, or for storage that does not answer"""
    backend: Backend = "pyav"
    """video decoder; decord is not available on macOS and ARM"""
    pixel_format: PixelFormat = "rgb24"
    """what workers hand out: resized RGB, or yuv420p: planes at the size of the file, converted and resized on the device"""

    @property
    def manifests(self) -> tuple[str, ...]:
        return (self.manifest,) if isinstance(self.manifest, str) else self.manifest

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.pixel_format != "rgb24" and self.backend != "pyav":
            raise ValueError(f"pixel_format {self.pixel_format} needs backend pyav; {self.backend} decodes to RGB")
        if not self.manifests:
            raise ValueError("manifest is an empty list; name at least one Parquet file")
        if self.weights is not None:
            if len(self.weights) != len(self.manifests):
                raise ValueError(f"{len(self.weights)} weights for {len(self.manifests)} manifests; give one weight for each")
            if min(self.weights) <= 0:
                raise ValueError("weights must be above 0; leave a manifest out instead")
        return self
