"""The V-JEPA family: predict what the masked parts of a clip are, in the latents of a teacher that sees all of it.

Bardes et al. 2024 (V-JEPA), Assran et al. 2025 (V-JEPA 2). With `target: {kind: pixels}` what is predicted is the masked
pixels themselves: a denoising autoencoder (VideoMAE), the baseline that a latent model must beat.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Generator, Tensor, nn

from worldmodel.config import Config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.latents import Extent, Latents
from worldmodel.models.layers import grid_positions, outputs_of
from worldmodel.models.mask_predictor import MaskPredictor, MaskPredictorConfig
from worldmodel.models.masks import MaskConfig, View, draw_views
from worldmodel.models.pixels import standardise, to_float, unstandardised
from worldmodel.models.targets import EmaTarget, FrozenTubelets, SharedTarget, follow, teacher_of
from worldmodel.models.tubelets import imagined_pixels, normalised_tubelets
from worldmodel.models.video_encoder import VideoEncoder, VideoEncoderConfig, take
from worldmodel.models.world_model import DistanceKind, check_context, check_forecast, check_size, latent_distance


class PixelTarget(Config):
    """Targets are the pixels of tubelets, each with its brightness and contrast taken out; nothing can collapse."""

    kind: Literal["pixels"] = "pixels"

    @property
    def against_collapse(self) -> str | None:
        return "targets that are pixels"


class MaskedConfig(Config):
    """Tubelet ViT + predictor with mask tokens."""

    kind: Literal["masked"] = "masked"
    encoder: VideoEncoderConfig = VideoEncoderConfig()
    predictor: MaskPredictorConfig = MaskPredictorConfig()
    # a view each, as published: many small blocks, and few large ones
    masks: tuple[MaskConfig, ...] = Field((MaskConfig(blocks=8, area=0.15), MaskConfig(blocks=2, area=0.7)), min_length=1)
    # what forecasts are compared with; kind: ema, shared, frozen or pixels
    target: Annotated[EmaTarget | SharedTarget | FrozenTubelets | PixelTarget, Field(discriminator="kind")] = EmaTarget()
    distance: DistanceKind = "l1"  # of forecast and target, the model's own measure of surprise: l2 squared, l1 absolute
    tiled_rotary: bool = False  # rotary frequencies laid out as in the released V-JEPA 2 weights; see layers.rotary_angles
    activation_checkpointing: bool = False  # compute activations again in the backward pass: less memory, a third more time

    @property
    def normalised(self) -> bool:
        """What came is layer-normalised: of one length."""
        return True

    def latent_grid(self, window: WindowConfig) -> int:
        return window.size_px // self.encoder.patch_px

    def latents_of(self, window: WindowConfig) -> Extent:
        """Training rows are not sorted by how far ahead they are: within blocks, all that is hidden is filled in."""
        c, steps = self.encoder, window.frames // self.encoder.tubelet_size
        seen = [mask.steps_seen(steps, 1) for mask in self.masks]
        filled_in = max(count if mask.blocks else 1 for mask, count in zip(self.masks, seen, strict=True))
        pixels = 3 * c.tubelet_size * c.patch_px**2
        target_features = pixels if isinstance(self.target, PixelTarget) else c.width
        return Extent(max(seen), self.latent_grid(window) ** 2, c.width, target_features, filled_in, None)

    def tokens(self, window: WindowConfig) -> int:
        """Tubelets of a window."""
        return window.frames // self.encoder.tubelet_size * self.latent_grid(window) ** 2

    def check(self, window: WindowConfig) -> list[str]:
        """What makes this model impossible for that window; one line each."""
        f, patch = self.encoder.tubelet_size, self.encoder.patch_px
        problems = []
        if window.frames % f or window.frames < 2 * f:
            problems.append(f"window.frames {window.frames} is not at least twice model.encoder.tubelet_size {f}, and whole")
        if window.size_px % patch:
            problems.append(f"window.size_px {window.size_px} is not divisible by model.encoder.patch_px {patch}")
        if isinstance(self.target, FrozenTubelets):
            problems += self.target.misfits(self.encoder, ("width", "patch_px", "tubelet_size"))
        if (tokens := self.predictor.mask_tokens) is not None and tokens < len(self.masks):
            problems.append(f"model.predictor.mask_tokens {tokens} is less than the {len(self.masks)} masks")
        for number, mask in enumerate(self.masks):
            said = mask.check(window.frames // f, self.latent_grid(window))
            problems += [f"model.masks.{number}: {line}" for line in said]
        return problems


class MaskedWorldModel(nn.Module):
    """Implements WorldModel and Layered of worldmodel.models.world_model.

    A forecast is what the predictor says of tokens after a context that was encoded alone. Targets of a teacher have seen
    the window they were encoded in, the future included ("window"); targets that are pixels have not ("past").
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
        self.max_context = window.frames - self.tubelet_size  # something must be left to forecast
        self.max_steps = window.frames // self.tubelet_size - 1
        self.of_pixels = isinstance(config.target, PixelTarget)
        self.target_scope = "past" if self.of_pixels else "window"
        mask_tokens = config.predictor.mask_tokens or len(config.masks)
        tiled, checkpointing = config.tiled_rotary, config.activation_checkpointing
        self.encoder = VideoEncoder(config.encoder, tiled, checkpointing)
        self.predictor = MaskPredictor(
            config.predictor, config.encoder.width, self.latent_shape[1], mask_tokens, tiled, checkpointing
        )
        self.teacher = teacher_of(self.encoder, config.target, lambda theirs: VideoEncoder(theirs, tiled))

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a latent step as `encode` and `forecast` give it."""
        extent = self.config.latents_of(self.window)
        return extent.places, extent.target_features

    @property
    def architecture(self) -> dict[str, Any]:
        return {"model": self.config.model_dump(mode="json"), "window": self.window.model_dump(mode="json")}

    def reborn(self) -> MaskedWorldModel:
        return MaskedWorldModel(self.config, self.window)

    # --- what evaluation may ask -------------------------------------------------------------------------------------
    def normalise(self, frames: Tensor) -> Tensor:
        return standardise(to_float(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Targets. A clip longer than the window is encoded in windows, counted from its end: the last one is whole.

        `target: pixels`: the normalised pixels of each tubelet; no network is asked.
        """
        check_size(self, frames)
        whole = self.window.frames
        first = [frames.shape[1] % whole] if frames.shape[1] % whole else []
        pieces = frames.split([*first, *[whole] * (frames.shape[1] // whole)], dim=1)
        return torch.cat([self._targets(piece) for piece in pieces], dim=1)

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int) -> Tensor:
        """Mask tokens stand where the future is; the encoder sees the context and nothing else."""
        check_forecast(self, context.shape[1], steps)
        check_size(self, context)
        return self._ahead(self.encoder(context), steps)

    @torch.no_grad()
    def imagine(self, context: Tensor, steps: int, generator: Generator | None = None) -> Tensor:
        """One step at a time, the context sliding; `generator` is not used, this family is deterministic.

        Predicted latents are taken for latents of visible tokens, given the mean and spread that the context's have (they were
        layer-normalised). Predicted pixels are painted and seen. Latents of a frozen teacher are none that this encoder gives:
        with one, all is forecast at once; ReachError where that ends beyond the window.
        """
        check_context(self, context.shape[1])
        check_size(self, context)
        if self.of_pixels:
            return imagined_pixels(self, context, steps, self.config.encoder.patch_px)
        if isinstance(self.config.target, FrozenTubelets):
            return self.forecast(context, steps)
        return self._imagine_latents(context, steps)

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Of a window that is seen whole, or of its beginning. Where targets are pixels, "output" is the encoder's."""
        check_size(self, frames)
        encoder, steps = self.teacher or self.encoder, frames.shape[1] // self.tubelet_size
        within = {"patches": encoder.patch, **{f"block {i}": block for i, block in enumerate(encoder.blocks.layers, 1)}}
        with outputs_of(within) as seen:
            output = encoder(frames) if self.of_pixels else self._targets(frames).flatten(1, 2)
        return {name: rearrange(tokens, "b (t n) d -> b t n d", t=steps) for name, tokens in {**seen, "output": output}.items()}

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, self.config.distance)

    # --- training ----------------------------------------------------------------------------------------------------
    def forward(self, frames: Tensor, ids: Tensor, chance: int) -> Latents:
        """Predictions of what each view masks, in a window [B, T, 3, H, W] (normalised pixels).

        Masks are a function of a sample's id ([B]) and of `chance`, a number of the update; see masks.py.
        """
        check_size(self, frames)
        steps = frames.shape[1] // self.tubelet_size
        views = draw_views(self.config.masks, ids.tolist(), chance, steps, self.config.latent_grid(self.window))
        views = [View(view.visible.to(frames.device), view.wanted.to(frames.device)) for view in views]
        visible, wanted = [view.visible for view in views], [view.wanted for view in views]
        context = self.encoder(frames, visible)
        predicted = self.predictor(context, visible, wanted, range(len(views)), self._positions(steps, frames.device))
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._targets_learn()):
            target = take(self._targets(frames).flatten(1, 2), torch.cat(wanted, 1))
        return _rows(views, context, predicted, target, (steps, self.latent_shape[0]), chance)

    def update_teacher(self, progress: float) -> None:
        """Move the slow copy towards the encoder; `progress` in [0, 1] through the run."""
        follow(self.teacher, self.encoder, self.config.target, progress)

    # --- inside ------------------------------------------------------------------------------------------------------
    def _targets(self, frames: Tensor) -> Tensor:
        """[B, T, 3, H, W] -> [B, T/f, N, D]."""
        f, patch_px = self.tubelet_size, self.config.encoder.patch_px
        if self.of_pixels:
            return normalised_tubelets(unstandardised(frames), f, patch_px)
        tokens = (self.teacher or self.encoder)(frames)
        # without weights: predictions cannot follow the teacher's scale down to nothing
        return rearrange(F.layer_norm(tokens, tokens.shape[-1:]), "b (t n) d -> b t n d", t=frames.shape[1] // f)

    def _targets_learn(self) -> bool:
        return isinstance(self.config.target, SharedTarget) and not self.config.target.stop_gradient

    def _ahead(self, latents: Tensor, steps: int) -> Tensor:
        """What comes after latents of whole steps: [B, t*N, W] -> [B, steps, N, D]."""
        batch, seen = latents.shape[:2]
        places = self.latent_shape[0]
        numbers = torch.arange(seen + steps * places, device=latents.device).expand(batch, -1)
        last_view = len(self.config.masks) - 1  # whose mask token is the future's; of the published ones it shows least
        positions = self._positions(seen // places + steps, latents.device)
        predicted = self.predictor(latents, [numbers[:, :seen]], [numbers[:, seen:]], [last_view], positions)
        return rearrange(predicted, "b (t n) d -> b t n d", t=steps)

    def _imagine_latents(self, context: Tensor, steps: int) -> Tensor:
        latents = self.encoder(context)
        spread, centre = (x.mean(1, keepdim=True) for x in (latents.std(-1, keepdim=True), latents.mean(-1, keepdim=True)))
        longest = self.max_steps * self.latent_shape[0]
        imagined = []
        for _ in range(steps):
            imagined.append(self._ahead(latents[:, -longest:], 1))
            latents = torch.cat((latents, imagined[-1][:, 0] * spread + centre), dim=1)
        return torch.cat(imagined, dim=1)

    def _positions(self, steps: int, device: torch.device) -> Tensor:
        return grid_positions(steps, self.config.latent_grid(self.window), device)


def _rows(views: list[View], context: Tensor, predicted: Tensor, target: Tensor, grid: tuple[int, int], chance: int) -> Latents:
    """Predictions [B, sum M, D] and what came as rows; the context [B, sum K, W] laid out on `grid` (steps, places).

    Views follow one another in the context: its row v*B + b is view v of clip b.
    """
    places = grid[1]
    wanted = torch.cat([view.wanted for view in views], dim=1)  # [B, sum M]
    last_seen = torch.cat([(view.visible[:, -1:] // places).expand(view.wanted.shape) for view in views], dim=1)
    clip = torch.arange(len(wanted), device=wanted.device)[:, None].expand(wanted.shape)
    time = wanted // places
    parts = context.split([view.visible.shape[1] for view in views], dim=1)
    laid, seen = zip(*(_laid_out(view.visible, part, grid) for view, part in zip(views, parts, strict=True)), strict=True)
    return Latents(
        context=torch.cat(laid),
        context_mask=torch.cat(seen),
        predicted=predicted.flatten(0, 1),
        target=target.flatten(0, 1),
        sample=clip.flatten(),
        time=time.flatten(),
        place=(wanted % places).flatten(),
        horizon=(time - last_seen).clamp(min=0).flatten(),
        imagined=torch.zeros(wanted.numel(), dtype=torch.bool, device=wanted.device),
        chance=chance,
    )


def _laid_out(numbers: Tensor, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Tokens [B, K, W] at their numbers [B, K], zeros elsewhere: [B, T, N, W], and where they are: bool [B, T, N]."""
    batch, _, width = tokens.shape
    laid = tokens.new_zeros(batch, grid[0] * grid[1], width).scatter(1, numbers[..., None].expand_as(tokens), tokens)
    there = torch.zeros(laid.shape[:2], dtype=torch.bool, device=laid.device).scatter(1, numbers, True)
    return laid.unflatten(1, grid), there.unflatten(1, grid)
