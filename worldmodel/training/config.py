"""Configuration of the training loop, of checkpoints, and of the decoder that is trained after the model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from worldmodel.config import Config
from worldmodel.models.decoder import DecoderConfig


class TrainConfig(Config):
    """The training loop."""

    max_steps: PositiveInt = 2000
    """training steps (optimizer steps), each on data.batch_size windows"""
    grad_accum_steps: PositiveInt = 1
    """number of micro-batches per step; the loss stays that of the whole batch"""
    exact_accumulation: bool = True
    """false: statistics of each micro-batch alone, over all ranks; saves one forward pass per
    micro-batch, and changes the value of every loss but the forecast"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """auto: bf16 where the device computes in bf16, else fp32"""
    compile: bool = False
    """torch.compile of encoder and predictor"""
    parallel: Literal["ddp", "fsdp2"] = "ddp"
    """fsdp2: weights and optimizer state are sharded over ranks (torch fully_shard)"""
    rank_timeout_s: NonNegativeFloat = 60.0
    """all ranks end when one of them sends no heartbeat for this time; 0 = wait for ever"""
    threads: PositiveInt | None = None
    """threads that compute, per process on CPUs; null = OMP_NUM_THREADS, or all cores where only a launcher set it. Give 1
    where a training step is small and data workers need the other cores"""
    log_every: PositiveInt = 10
    """steps between two rows of metrics.jsonl"""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """used in addition to metrics.jsonl, which is always written"""


class CheckpointConfig(Config):
    """When checkpoints are saved, and how many of them are kept."""

    every: PositiveInt = 500
    """steps between two checkpoints; a multiple of health.every, so that the best one is known"""
    keep: PositiveInt = 2
    """number of last checkpoints that are kept, in addition to the best one"""
    format: Literal["single", "sharded"] = "single"
    """single: the main process gathers and writes whole tensors; sharded: each process writes what it holds"""
    asynchronous: bool = False
    """true: files are written while training goes on, from a copy in CPU memory"""


class DecoderTrainingConfig(Config):
    """The small decoder that draws latents. It is trained after the model, which is frozen then."""

    net: DecoderConfig = DecoderConfig()
    max_steps: NonNegativeInt = 600
    """training steps of the decoder; 0 = none: the first rollout then trains one"""
    windows: PositiveInt = 192
    """windows of the training split, decoded once and held in memory"""
    batch_size: PositiveInt = 64
    """latent time steps per training step"""
    lr: float = Field(3e-3, gt=0)
    """initial learning rate of AdamW; decreases linearly to 0"""
