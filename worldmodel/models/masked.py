"""The V-JEPA family: predict the latents that a teacher, which sees the whole clip, computes for masked tokens.

Bardes et al. 2024 (V-JEPA), Assran et al. 2025 (V-JEPA 2). With `target: {kind: pixels}` the masked pixels themselves are
predicted: a masked autoencoder (VideoMAE), the baseline that a latent model must beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Generator, Tensor, nn

from worldmodel.config import Config
from worldmodel.data.token_masks.drawing import MaskRule, kept_count
from worldmodel.data.token_masks.stacked import BatchMasks, View, draw_batch
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.blocks.layers import capture_outputs
from worldmodel.models.blocks.lora import LoraConfig
from worldmodel.models.blocks.rotary import grid_positions
from worldmodel.models.latents import Latents, LatentSizes
from worldmodel.models.mask_predictor import MaskPredictor, MaskPredictorConfig
from worldmodel.models.masks import MaskConfig, mask_rule
from worldmodel.models.pixels import standardise_, to_float, unstandardise
from worldmodel.models.targets import EmaTarget, FrozenTubeletTarget, SharedTarget, build_teacher, update_ema_teacher
from worldmodel.models.tubelets import normalise_tubelets, rollout_pixels
from worldmodel.models.video_encoder import VideoEncoder, VideoEncoderConfig, gather_tokens
from worldmodel.models.world_model import DistanceKind, check_context, check_forecast, latent_distance


class PixelTarget(Config):
    """Targets are the normalised pixels of tubelets. They cannot collapse."""

    kind: Literal["pixels"] = "pixels"

    @property
    def anti_collapse_method(self) -> str | None:
        return "targets that are pixels"


class MaskedConfig(Config):
    """Tubelet ViT + predictor with mask tokens."""

    kind: Literal["masked"] = "masked"
    encoder: VideoEncoderConfig = VideoEncoderConfig()
    predictor: MaskPredictorConfig = MaskPredictorConfig()
    masks: tuple[MaskConfig, ...] = Field((MaskConfig(blocks=8, area=0.15), MaskConfig(blocks=2, area=0.7)), min_length=1)
    """one mask per view; default as published: one of many small blocks, one of few large blocks"""
    target: Annotated[EmaTarget | SharedTarget | FrozenTubeletTarget | PixelTarget, Field(discriminator="kind")] = EmaTarget()
    """what forecasts are compared with; kind: ema, shared, frozen or pixels"""
    distance: DistanceKind = "l1"
    """distance between forecast and target, also used as surprise: l2 = squared, l1 = absolute"""
    tokens_kept: float = Field(1.0, gt=0, le=1)
    """share of the tokens of a clip that a training step uses, drawn at random; others exist neither for the encoder nor for
    a teacher, except a frozen one, which sees whole clips. Evaluation uses all. Below 1 it is an algorithm with less work"""
    tiled_rotary: bool = False
    """rotary frequencies laid out as in the released V-JEPA 2 weights; see rotary.rotary_angles"""
    activation_checkpointing: bool = False
    """recompute activations in the backward pass: less memory, a third more time"""
    lora: LoraConfig | None = None
    """train low-rank adapters of the weights of init_from instead of the weights; null = train the weights"""

    @property
    def normalised(self) -> bool:
        """Whether targets have a fixed norm: always, since targets are layer-normalised."""
        return True

    @property
    def targets_see_whole_clips(self) -> bool:
        """Whether targets are those of all tokens of a window, also where tokens are dropped."""
        return isinstance(self.target, FrozenTubeletTarget | PixelTarget)

    def mask_rule(self, steps: int, grid: tuple[int, int]) -> MaskRule:
        """The rule of the masks of windows with so many latent steps of a grid of tokens."""
        for_teacher = self.tokens_kept < 1 and not self.targets_see_whole_clips
        return mask_rule(self.masks, steps, grid, self.tokens_kept, for_teacher)

    def latent_grid(self, window: WindowConfig) -> int:
        """Spatial tokens per side; the longer side where frames are not square."""
        return max(self.token_grid(window))

    def token_grid(self, window: WindowConfig) -> tuple[int, int]:
        """Rows and columns of spatial tokens."""
        height, width = window.frame_px
        return height // self.encoder.patch_px, width // self.encoder.patch_px

    def latent_sizes(self, window: WindowConfig) -> LatentSizes:
        """Without horizons: where blocks are masked, predictions are filled in at all time steps."""
        c, steps = self.encoder, window.frames // self.encoder.tubelet_size
        visible = [mask.visible_steps(steps, 1) for mask in self.masks]
        filled_in = max(count if mask.blocks else 1 for mask, count in zip(self.masks, visible, strict=True))
        pixels = 3 * c.tubelet_size * c.patch_px**2
        target_features = pixels if isinstance(self.target, PixelTarget) else c.width
        tokens = math.prod(self.token_grid(window))
        kept = self.tokens_kept
        return LatentSizes(max(visible), tokens, c.width, target_features, filled_in, None, tokens_kept=kept)

    def num_tubelets(self, window: WindowConfig) -> int:
        """Number of tubelets in a window."""
        return window.frames // self.encoder.tubelet_size * math.prod(self.token_grid(window))

    def check(self, window: WindowConfig) -> list[str]:
        """Return why this model does not work with that window, one line for each reason."""
        f, patch = self.encoder.tubelet_size, self.encoder.patch_px
        problems = []
        if window.frames % f or window.frames < 2 * f:
            problems.append(
                f"window.frames {window.frames} is not {2 * f} or a larger multiple of model.encoder.tubelet_size {f}"
            )
        for name, size in (("size_px", window.size_px), ("width_px", window.width_px or patch)):
            if size % patch:
                problems.append(f"window.{name} {size} is not divisible by model.encoder.patch_px {patch}")
        if isinstance(self.target, FrozenTubeletTarget):
            problems += self.target.mismatches(self.encoder, ("width", "patch_px", "tubelet_size"))
        if (tokens := self.predictor.mask_tokens) is not None and tokens < len(self.masks):
            problems.append(f"model.predictor.mask_tokens {tokens} is less than the {len(self.masks)} masks")
        kept, fewest = kept_count(self.tokens_kept, self.num_tubelets(window)), 2 * len(self.masks)
        if self.tokens_kept < 1 and kept < fewest:
            problems.append(
                f"model.tokens_kept {self.tokens_kept:g} keeps {kept} of the {self.num_tubelets(window)} tokens of a window; "
                f"{len(self.masks)} masks need at least {fewest}: raise it, or use fewer masks"
            )
        for number, mask in enumerate(self.masks):
            lines = mask.check(window.frames // f, self.token_grid(window))
            problems += [f"model.masks.{number}: {line}" for line in lines]
        return problems


class MaskedWorldModel(nn.Module):
    """Implements WorldModel and Layered of worldmodel.models.world_model.

    A forecast is the prediction of future tokens after a context that was encoded alone. Targets of a teacher depend
    on the whole window, the future included (target_scope "window"); pixel targets do not ("past").

    Frames of any height and width in whole patches are taken, since positions are rotary: N is then their number of patches.
    """

    target_scope: Literal["past", "window"]

    def __init__(self, config: MaskedConfig, window: WindowConfig) -> None:
        super().__init__()
        if problems := config.check(window):
            raise ValueError("; ".join(problems))
        self.config, self.window = config, window
        self.fps, self.size_px = window.fps, window.size_px
        self.tubelet_size = config.encoder.tubelet_size
        self.max_span: int | None = window.frames
        self.max_context = window.frames - self.tubelet_size  # at least one latent step must be left to forecast
        self.max_horizon = window.frames // self.tubelet_size - 1
        self.has_pixel_targets = isinstance(config.target, PixelTarget)
        self.target_scope = "past" if self.has_pixel_targets else "window"
        mask_tokens = config.predictor.mask_tokens or len(config.masks)
        tiled, checkpointing = config.tiled_rotary, config.activation_checkpointing
        self.encoder = VideoEncoder(config.encoder, tiled, checkpointing)
        self.predictor = MaskPredictor(
            config.predictor, config.encoder.width, self.latent_shape[1], mask_tokens, tiled, checkpointing
        )
        self.teacher = build_teacher(self.encoder, config.target, lambda encoder: VideoEncoder(encoder, tiled))
        self.target_cache: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor] | None = None  # in training, see TargetCache

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a latent step as `encode` and `forecast` return it."""
        sizes = self.config.latent_sizes(self.window)
        return sizes.tokens, sizes.target_features

    @property
    def architecture(self) -> dict[str, Any]:
        return {"model": self.config.model_dump(mode="json"), "window": self.window.model_dump(mode="json")}

    def reinitialised(self) -> MaskedWorldModel:
        return MaskedWorldModel(self.config, self.window)

    # --- evaluation --------------------------------------------------------------------------------------------------
    def normalise(self, frames: Tensor) -> Tensor:
        return standardise_(to_float(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode targets. A clip longer than the window is encoded in windows counted from its end, so the last is complete.

        With `target: pixels`: the normalised pixels of each tubelet, without the network.
        """
        self._grid(frames)
        length = self.window.frames
        first = [frames.shape[1] % length] if frames.shape[1] % length else []
        pieces = frames.split([*first, *[length] * (frames.shape[1] // length)], dim=1)
        return torch.cat([self._targets(piece) for piece in pieces], dim=1)

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int) -> Tensor:
        """Mask tokens are put at future positions; the encoder sees only the context."""
        check_forecast(self, context.shape[1], steps)
        grid = self._grid(context)
        return self._predict_ahead(self.encoder(context), steps, grid)

    @torch.no_grad()
    def rollout(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """One step at a time, with a sliding context. `generator` is not used: this family is deterministic.

        Predicted latents are used as latents of visible tokens. They are layer-normalised, so they first get the mean and
        deviation of the context's latents. Predicted pixels are turned into frames and encoded. Latents of a frozen teacher
        differ from those of the encoder and cannot be fed back: with one, all steps are forecast at once, and ReachError is
        raised where they end beyond the window.
        """
        check_context(self, context.shape[1])
        if self.has_pixel_targets:
            return rollout_pixels(self, context, steps, self.config.encoder.patch_px)
        if isinstance(self.config.target, FrozenTubeletTarget):
            return self.forecast(context, steps)
        return self._roll_out_latents(context, steps)

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Layers of the encoder for an unmasked window or its beginning. With pixel targets, "output" is the encoder's."""
        self._grid(frames)
        encoder, steps = self.teacher or self.encoder, frames.shape[1] // self.tubelet_size
        modules = {"patches": encoder.patch, **{f"block {i}": block for i, block in enumerate(encoder.blocks.layers, 1)}}
        with capture_outputs(modules) as outputs:
            last = encoder(frames) if self.has_pixel_targets else self._targets(frames).flatten(1, 2)
        return {
            name: rearrange(tokens, "b (t n) d -> b t n d", t=steps) for name, tokens in {**outputs, "output": last}.items()
        }

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, self.config.distance)

    # --- training ----------------------------------------------------------------------------------------------------
    def forward(self, frames: Tensor, window_ids: Tensor, step_seed: int, masks: BatchMasks | None = None) -> Latents:
        """Predict the tokens that each view masks, in a window [B, T, 3, H, W] (normalised pixels).

        Masks are a function of `window_ids` [B] and of `step_seed`, a random number of the training step; see
        data/token_masks/drawing.py. `masks`: those masks where they are drawn already; else they are drawn here.
        """
        grid, steps = self._grid(frames), frames.shape[1] // self.tubelet_size
        rule = self.config.mask_rule(steps, grid)
        drawn = draw_batch(rule, window_ids.tolist(), step_seed) if masks is None else masks
        if drawn.rule != rule:
            raise ValueError(f"masks were drawn by {drawn.rule}, but these frames and this model need {rule}")
        drawn = drawn.to(frames.device)
        views, kept = drawn.views, drawn.of_teacher
        visible, masked = [view.visible for view in views], [view.masked for view in views]
        context = self.encoder(frames, visible, embed_all=self.config.tokens_kept == 1)
        positions = grid_positions(steps, grid, frames.device)
        predicted = self.predictor(context, visible, masked, range(len(views)), positions)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._targets_have_gradient()):
            target = self._targets_at(frames, torch.cat(masked, 1), kept)
        return _to_latents(views, context, predicted, target, (steps, math.prod(grid)), step_seed)

    def update_teacher(self, progress: float) -> None:
        """Move the EMA teacher towards the encoder; `progress` in [0, 1] through the run."""
        update_ema_teacher(self.teacher, self.encoder, self.config.target, progress)

    # --- internals ---------------------------------------------------------------------------------------------------
    def _targets(self, frames: Tensor) -> Tensor:
        """[B, T, 3, H, W] -> [B, T/f, N, D]."""
        f, patch_px = self.tubelet_size, self.config.encoder.patch_px
        if self.has_pixel_targets:
            return normalise_tubelets(unstandardise(frames), f, patch_px)
        tokens = (self.teacher or self.encoder)(frames)
        # Layer norm without weights: otherwise the scale of teacher and predictions could shrink together.
        return rearrange(F.layer_norm(tokens, tokens.shape[-1:]), "b (t n) d -> b t n d", t=frames.shape[1] // f)

    def _targets_at(self, frames: Tensor, masked: Tensor, kept: Tensor | None) -> Tensor:
        """Targets of the tokens `masked` [B, M] in training: [B, M, D].

        kept: indices [B, K], in order, of the tokens that the teacher sees; they contain `masked`. None: the whole clip.
        """
        if kept is not None:
            tokens = (self.teacher or self.encoder)(frames, [kept], embed_all=False)
            return gather_tokens(F.layer_norm(tokens, tokens.shape[-1:]), torch.searchsorted(kept, masked))
        whole = self._targets(frames) if self.target_cache is None else self.target_cache(frames, self._targets)
        return gather_tokens(whole.flatten(1, 2), masked)

    def _targets_have_gradient(self) -> bool:
        return isinstance(self.config.target, SharedTarget) and not self.config.target.stop_gradient

    def _grid(self, frames: Tensor) -> tuple[int, int]:
        """Rows and columns of the tokens of frames [B, T, 3, H, W]. Raises ValueError unless they are whole patches."""
        (height, width), patch = frames.shape[-2:], self.config.encoder.patch_px
        if height % patch or width % patch or not height * width:
            raise ValueError(f"frames of {width} x {height} px cannot be cut into patches of {patch} x {patch} px; resize them")
        return height // patch, width // patch

    def _predict_ahead(self, latents: Tensor, steps: int, grid: tuple[int, int]) -> Tensor:
        """Predict the steps after the latents of complete steps: [B, t*N, W] -> [B, steps, N, D]."""
        batch, context = latents.shape[:2]
        tokens = math.prod(grid)
        indices = torch.arange(context + steps * tokens, device=latents.device).expand(batch, -1)
        # The future uses the mask token of the last view; of the published views, it has the smallest visible part.
        last_view = len(self.config.masks) - 1
        positions = grid_positions(context // tokens + steps, grid, latents.device)
        predicted = self.predictor(latents, [indices[:, :context]], [indices[:, context:]], [last_view], positions)
        return rearrange(predicted, "b (t n) d -> b t n d", t=steps)

    def _roll_out_latents(self, context: Tensor, steps: int) -> Tensor:
        grid, latents = self._grid(context), self.encoder(context)
        std, mean = (x.mean(1, keepdim=True) for x in (latents.std(-1, keepdim=True), latents.mean(-1, keepdim=True)))
        longest = self.max_horizon * math.prod(grid)
        predicted = []
        for _ in range(steps):
            predicted.append(self._predict_ahead(latents[:, -longest:], 1, grid))
            latents = torch.cat((latents, predicted[-1][:, 0] * std + mean), dim=1)
        return torch.cat(predicted, dim=1)


def _to_latents(
    views: list[View], context: Tensor, predicted: Tensor, target: Tensor, grid: tuple[int, int], step_seed: int
) -> Latents:
    """Turn predictions and targets [B, sum M, D] into rows, and the context [B, sum K, W] into `grid` (steps, tokens).

    The context holds one view after another: its row v*B + b is view v of clip b.
    """
    tokens = grid[1]
    masked = torch.cat([view.masked for view in views], dim=1)  # [B, sum M]
    last_visible = torch.cat([(view.visible[:, -1:] // tokens).expand(view.masked.shape) for view in views], dim=1)
    clip = torch.arange(len(masked), device=masked.device)[:, None].expand(masked.shape)
    time = masked // tokens
    parts = context.split([view.visible.shape[1] for view in views], dim=1)
    grids, masks = zip(*(_on_grid(view.visible, part, grid) for view, part in zip(views, parts, strict=True)), strict=True)
    return Latents(
        context=torch.cat(grids),
        context_mask=torch.cat(masks),
        predicted=predicted.flatten(0, 1),
        target=target.flatten(0, 1),
        clip=clip.flatten(),
        time=time.flatten(),
        token=(masked % tokens).flatten(),
        horizon=(time - last_visible).clamp(min=0).flatten(),
        is_rollout=torch.zeros(masked.numel(), dtype=torch.bool, device=masked.device),
        step_seed=step_seed,
    )


def _on_grid(indices: Tensor, latents: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Place latents [B, K, W] at their token indices [B, K] of an empty grid: [B, T, N, W], and its mask: bool [B, T, N]."""
    batch, _, width = latents.shape
    placed = latents.new_zeros(batch, grid[0] * grid[1], width).scatter(1, indices[..., None].expand_as(latents), latents)
    mask = torch.zeros(placed.shape[:2], dtype=torch.bool, device=placed.device).scatter(1, indices, True)
    return placed.unflatten(1, grid), mask.unflatten(1, grid)
