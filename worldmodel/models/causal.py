"""The default family: a latent per frame (or tubelet), and a causal transformer that forecasts future latents."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Generator, Tensor, nn

from worldmodel.config import Config
from worldmodel.data.window_config import WindowConfig
from worldmodel.models.blocks.layers import capture_outputs
from worldmodel.models.blocks.lora import LoraConfig
from worldmodel.models.causal_predictor import CausalPredictor, PredictorConfig
from worldmodel.models.condition import ActionInput, ConditionConfig
from worldmodel.models.encoder import EncoderConfig, FrameEncoder
from worldmodel.models.latents import Latents, LatentSizes
from worldmodel.models.masks import sample_tubes
from worldmodel.models.pixels import standardise_, to_float
from worldmodel.models.pretrained.frozen_encoder import FrozenEncoder, FrozenEncoderConfig
from worldmodel.models.targets import EmaTarget, FrozenFrameTarget, SharedTarget, build_teacher, update_ema_teacher
from worldmodel.models.world_model import DistanceKind, SharedContext, check_context, check_forecast, latent_distance
from worldmodel.process.devices import to_device


class CausalConfig(Config):
    """Per-frame encoder + block-causal predictor."""

    kind: Literal["causal"] = "causal"
    encoder: EncoderConfig = EncoderConfig()
    predictor: PredictorConfig = PredictorConfig()
    target: Annotated[SharedTarget | EmaTarget | FrozenFrameTarget, Field(discriminator="kind")] = SharedTarget()
    """what forecasts are compared with; kind: shared, ema or frozen"""
    normalise_latents: bool = False
    """LayerNorm without weights on every latent; with it, the scale cannot shrink"""
    distance: DistanceKind = "l2"
    """distance between forecast and target, also used as surprise: l2 = squared, l1 = absolute"""
    rollout_steps: NonNegativeInt = 4
    """latent steps of training rollouts, in which predictions are fed back; 0 = no rollouts"""
    rollout_context: PositiveInt = 4
    """least number of latent steps before a training rollout"""
    rollouts: PositiveInt = 1
    """training rollouts per clip, after different numbers of latent steps"""
    tokens_kept: float = Field(1.0, gt=0, le=1)
    """share of the spatial tokens of a clip that a training step uses, drawn at random, the same in all its time steps; the
    others do not exist. Evaluation uses all. Below 1 it is an algorithm with less work"""
    activation_checkpointing: bool = False
    """recompute activations in the backward pass: less memory, a third more time"""
    condition: ConditionConfig | None = None
    """the predictor takes actions, which are read from the manifest's signals; null = no actions"""
    frozen_encoder: FrozenEncoderConfig | None = None
    """latents of another model instead of those of a trained encoder; `encoder` is then filled in"""
    lora: LoraConfig | None = None
    """train low-rank adapters of the weights of init_from instead of the weights; null = train the weights"""

    @property
    def normalised(self) -> bool:
        """Whether targets have a fixed norm, so that latents differ in angle only."""
        return self.normalise_latents

    def latent_grid(self, _window: WindowConfig) -> int:
        """Spatial tokens per side."""
        return self.encoder.latent_grid

    def latent_sizes(self, window: WindowConfig) -> LatentSizes:
        steps, features = window.frames // self.encoder.tubelet_size, self.encoder.latent_dim
        sizes = LatentSizes(steps, self.encoder.latent_grid**2, features, features, steps - 1, self.predictor.horizons)
        return (
            sizes if self.condition is None else replace(sizes, action=self.condition.action_size * self.encoder.tubelet_size)
        )

    def num_tubelets(self, window: WindowConfig) -> int:
        """Number of tubelets (patches of a latent step) in a window."""
        return window.frames // self.encoder.tubelet_size * (window.size_px // self.encoder.patch_px) ** 2

    def check(self, window: WindowConfig) -> list[str]:
        """Return why this model does not work with that window, one line for each reason."""
        if self.frozen_encoder is not None and self.frozen_encoder.network is None:
            return []  # its sizes are not known yet
        f, patch, side = self.encoder.tubelet_size, self.encoder.patch_px, self.encoder.latent_grid
        problems = []
        if window.width_px not in (None, window.size_px):
            problems.append(
                f"window.width_px {window.width_px}: models of kind causal take square frames; remove it, or use kind masked"
            )
        if window.frames % f:
            problems.append(f"window.frames {window.frames} is not divisible by model.encoder.tubelet_size {f}")
        if window.size_px % patch:
            problems.append(f"window.size_px {window.size_px} is not divisible by model.encoder.patch_px {patch}")
        elif (window.size_px // patch) % side:
            grid = window.size_px // patch
            problems.append(f"model.encoder.latent_grid {side} does not divide the {grid} x {grid} patches")
        steps = window.frames // f
        if self.predictor.horizons >= steps:
            problems.append(
                f"model.predictor.horizons {self.predictor.horizons} exceeds the window: "
                f"{window.frames} frames are {steps} latent steps, so at most {steps - 1}"
            )
        if self.rollout_steps and self.rollout_context + self.rollout_steps > steps:
            problems.append(
                f"model.rollout_context {self.rollout_context} + rollout_steps {self.rollout_steps} "
                f"is more than the window's {steps} latent steps"
            )
        elif self.rollout_steps and self.rollouts > (most := steps - self.rollout_context - self.rollout_steps + 1):
            problems.append(
                f"model.rollouts {self.rollouts}: after rollout_context {self.rollout_context} or more of the window's {steps} "
                f"latent steps, at most {most} rollouts of {self.rollout_steps} steps begin at different moments"
            )
        merge = self.predictor.patch_merge
        if side % merge:
            problems.append(f"model.predictor.patch_merge {merge} does not divide model.encoder.latent_grid {side}")
        if self.tokens_kept < 1:
            problems += self._dropping_problems(side // merge)
        if self.frozen_encoder is not None and self.target.kind != "shared":
            problems.append("model.target: a frozen encoder has no teacher; remove it")
        if isinstance(self.target, FrozenFrameTarget):
            problems += self.target.mismatches(self.encoder, ("latent_dim", "latent_grid", "tubelet_size"))
            if not self.rollout_steps:
                problems.append(
                    "model.rollout_steps 0: latents of a frozen teacher differ from those of the encoder, so the predictor "
                    "must be trained on its own predictions before they can be fed back; set it to 1 or more"
                )
        head = self.predictor.width // self.predictor.heads
        axes = 1 if side == merge else 3
        if head % 2 or head < 2 * axes:
            problems.append(
                f"model.predictor: {self.predictor.heads} heads of {head} features; "
                f"rotary positions need an even number >= {2 * axes}"
            )
        return problems

    def _dropping_problems(self, merged_side: int) -> list[str]:
        """Why tokens cannot be dropped in training."""
        dropped, problems = f"model.tokens_kept {self.tokens_kept:g}", []
        if self.rollout_steps:
            problems.append(f"{dropped}: training rollouts need all tokens; set model.rollout_steps to 0")
        if self.frozen_encoder is not None:
            problems.append(f"{dropped}: a frozen encoder takes whole frames; remove it")
        if merged_side**2 * self.tokens_kept < 1:
            problems.append(f"{dropped} keeps none of the {merged_side**2} merged spatial tokens; raise it")
        return problems

    @model_validator(mode="after")
    def _check_rollout(self) -> CausalConfig:
        if self.rollout_steps > self.predictor.horizons and self.condition is None:
            raise ValueError(f"rollout_steps {self.rollout_steps} is more than predictor.horizons {self.predictor.horizons}")
        return self


class CausalWorldModel(nn.Module):
    """Implements WorldModel, FrameWise and Layered of worldmodel.models.world_model."""

    target_scope: Literal["past", "window"] = "past"
    max_span: int | None = None

    def __init__(self, config: CausalConfig, window: WindowConfig) -> None:
        super().__init__()
        if problems := config.check(window):
            raise ValueError("; ".join(problems))
        self.config, self.window = config, window
        self.fps = window.fps
        self.size_px = window.size_px
        self.tubelet_size = config.encoder.tubelet_size
        self.max_context = window.frames
        self.max_horizon = config.predictor.horizons
        side = config.encoder.latent_grid
        self.encoder: FrameEncoder | FrozenEncoder = (
            FrameEncoder(config.encoder, window.size_px, config.activation_checkpointing)
            if config.frozen_encoder is None
            else FrozenEncoder(config.frozen_encoder, window.size_px)
        )
        self.action_input = _action_input(config)
        self.predictor = CausalPredictor(
            config.predictor,
            config.encoder.latent_dim,
            side,
            config.activation_checkpointing,
            0 if self.action_input is None else self.action_input.size,
            "added" if config.condition is None else config.condition.kind,
        )
        self.teacher = build_teacher(self.encoder, config.target, lambda encoder: FrameEncoder(encoder, window.size_px))

    @property
    def latent_shape(self) -> tuple[int, int]:
        """(N, D) of a latent step."""
        return self.config.encoder.latent_grid**2, self.config.encoder.latent_dim

    @property
    def architecture(self) -> dict[str, Any]:
        return {"model": self.config.model_dump(mode="json"), "window": self.window.model_dump(mode="json")}

    def reinitialised(self) -> CausalWorldModel:
        return CausalWorldModel(self.config, self.window)

    # --- evaluation --------------------------------------------------------------------------------------------------
    def normalise(self, frames: Tensor) -> Tensor:
        return standardise_(to_float(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        return self._latent(self.teacher or self.encoder, frames)

    @torch.no_grad()
    def encode_context(self, frames: Tensor) -> Tensor:
        """Latents that the predictor takes: those of the trained encoder, also where the targets come from a teacher."""
        return self._latent(self.encoder, frames)

    @torch.no_grad()
    def forecast(self, context: Tensor, steps: int, actions: Tensor | None = None) -> Tensor:
        """actions: between the frames of the context and of the forecast, [B, C - 1 + steps * f, k * A]; None: the mean."""
        check_forecast(self, context.shape[1], steps)
        return self.predictor.from_last_step(self._latent(self.encoder, context), steps, self._between_steps(actions))

    @torch.no_grad()
    def rollout(self, context: Tensor, steps: int, generator: Generator | None = None, actions: Tensor | None = None) -> Tensor:
        """One step at a time. `generator` is not used: this family is deterministic. actions: as in `forecast`."""
        check_context(self, context.shape[1])
        longest, known = self.max_context // self.tubelet_size, self._between_steps(actions)
        return self.predictor.roll_out(self._latent(self.encoder, context), steps, longest, known)

    def imagine(self, context: Tensor, steps: int, actions: Tensor, before: Tensor | None = None) -> Tensor:
        """Roll out action sequences from context latents: [B, T, N, D], [B, S, at least steps, A] -> [B, S, steps, N, D].

        actions: of latent steps, f * k * A numbers each, in units of the environment. before: those between the steps of the
        context, [B, T - 1, A]; None: the mean. Differentiable with respect to actions. Raises ValueError for a model without
        actions, and for actions of another size.
        """
        if self.action_input is None:
            raise ValueError(
                "this model was trained without actions (model.condition is null), so it cannot imagine their effect"
            )
        known = None if before is None else self.action_input.normalise(before)
        longest = self.max_context // self.tubelet_size
        return self.predictor.imagine(context, self.action_input.normalise(actions[:, :, :steps]), known, longest)

    @torch.no_grad()
    def encode_context_and_target(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        latents = self._latent(self.encoder, frames)
        return latents, latents if self.teacher is None else self.encode(frames)

    @torch.no_grad()
    def forecast_from_latents(
        self,
        latents: Tensor,
        context_steps: Sequence[int],
        steps: int,
        shared: SharedContext | None = None,
        actions: Tensor | None = None,
    ) -> Tensor:
        """actions: between the frames of the context and of the forecast; without `shared` only. None: the mean."""
        total = latents.shape[1] + (0 if shared is None else shared.latents.shape[1])
        check_forecast(self, total * self.tubelet_size, steps)
        return self.predictor.from_steps(latents, context_steps, steps, shared, self._between_steps(actions))

    @torch.no_grad()
    def forecast_all(self, frames: Tensor, actions: Tensor | None = None) -> Tensor:
        """actions: those between the frames, [B, T - 1, k * A]; None: the mean."""
        return self.predictor(self._latent(self.encoder, frames), self._between_steps(actions))

    @torch.no_grad()
    def layers(self, frames: Tensor) -> dict[str, Tensor]:
        """Layers of the encoder, then of the predictor. A predictor token of step t has attended to steps 0..t."""
        encoder, batch = self.teacher or self.encoder, frames.shape[0]
        modules: dict[str, nn.Module] = {}
        if isinstance(encoder, FrameEncoder) and not encoder.config.profiles:  # of other encoders, only the output
            modules = {"patches": encoder.patch, **{f"block {i}": block for i, block in enumerate(encoder.blocks.layers, 1)}}
        with capture_outputs(modules) as encoded:
            output = self._latent(encoder, frames)
        blocks = {f"predictor block {i}": block for i, block in enumerate(self.predictor.blocks.layers, 1)}
        with capture_outputs(blocks) as predicted:
            self.predictor(output if self.teacher is None else self._latent(self.encoder, frames))
        return {
            **{name: rearrange(tokens, "(b t) n d -> b t n d", b=batch) for name, tokens in encoded.items()},
            "output": output,
            **{name: rearrange(tokens, "b (t n) d -> b t n d", t=output.shape[1]) for name, (tokens, _) in predicted.items()},
        }

    def distance(self, forecast: Tensor, target: Tensor) -> Tensor:
        return latent_distance(forecast, target, self.config.distance)

    # --- training ----------------------------------------------------------------------------------------------------
    def forward(self, frames: Tensor, window_ids: Tensor, step_seed: int, actions: Tensor | None = None) -> Latents:
        """Compute latents, and all forecasts whose targets lie within the window [B, T, 3, H, W] (normalised pixels).

        `step_seed`, a random number of the training step, chooses the number of latent steps before each rollout. It is the
        same for all samples. With `window_ids` [B] it chooses the tokens that exist, if the config drops some. actions: between
        the frames, [B, T - 1, k * A].
        """
        kept = self._sample_kept(window_ids, step_seed, frames.device)
        tokens = None if kept is None else self._merged(kept)
        latents = self._latent(self.encoder, frames, tokens)
        target = latents
        if self.teacher is not None:
            with torch.no_grad():
                target = self._latent(self.teacher, frames, tokens)
        elif isinstance(self.config.target, SharedTarget) and self.config.target.stop_gradient:
            target = latents.detach()

        count, contexts = self.config.rollout_steps, self.rollout_contexts(step_seed)
        known = self._between_steps(actions)
        forecasts, rollouts = self.predictor.forecast_window(latents, contexts, count, known, kept)
        targets = [target[:, k:] for k in range(1, self.max_horizon + 1)]
        targets += [target[:, step : step + 1] for context in contexts for step in range(context, context + count)]
        mask = torch.ones(latents.shape[:3], dtype=torch.bool, device=latents.device)
        predicted, target = (torch.cat([part.flatten(0, 2) for part in parts]) for parts in (forecasts + rollouts, targets))
        index = row_index(*latents.shape[:3], self.max_horizon, contexts, count, latents.device)
        if tokens is not None:
            index = index | {"token": tokens[index["clip"], index["token"]]}
            latents, mask = (self._on_grid(values, tokens) for values in (latents, mask[..., None]))
            mask = mask[..., 0]
        return Latents(latents, mask, predicted, target, **index, step_seed=step_seed, actions=known)

    def rollout_contexts(self, step_seed: int) -> tuple[int, ...]:
        """Numbers of latent steps before each rollout of a training step. The first is drawn; all lie equally far apart."""
        if not self.config.rollout_steps:
            return ()
        steps, count = self.max_context // self.tubelet_size, self.config.rollouts
        choices = range(self.config.rollout_context, steps - self.config.rollout_steps + 1)  # rollouts end within the window
        return tuple(choices[(step_seed + i * len(choices) // count) % len(choices)] for i in range(count))

    def update_teacher(self, progress: float) -> None:
        """Move the EMA teacher towards the encoder; `progress` in [0, 1] through the run."""
        update_ema_teacher(self.teacher, self.encoder, self.config.target, progress)

    # --- internals ---------------------------------------------------------------------------------------------------
    def _between_steps(self, actions: Tensor | None) -> Tensor | None:
        return None if actions is None or self.action_input is None else self.action_input.between_frames(actions)

    def _sample_kept(self, window_ids: Tensor, step_seed: int, device: torch.device) -> Tensor | None:
        """The merged tokens [B, M] of each clip that exist in this training step; None: all."""
        if self.config.tokens_kept == 1:
            return None
        tubes = sample_tubes(window_ids.tolist(), step_seed, self.predictor.side**2, self.config.tokens_kept)
        return to_device(tubes, device)

    def _merged(self, kept: Tensor) -> Tensor:
        """The spatial tokens of merged tokens, those of each one after another: [B, M] -> [B, M * patch_merge^2]."""
        merge, side = self.config.predictor.patch_merge, self.predictor.side
        inner = torch.arange(merge, device=kept.device)
        rows, columns = (kept // side)[..., None] * merge + inner, (kept % side)[..., None] * merge + inner
        return (rows[..., :, None] * side * merge + columns[..., None, :]).flatten(1)

    def _on_grid(self, values: Tensor, tokens: Tensor) -> Tensor:
        """Place values [B, T, K, D] of some spatial tokens [B, K] on a grid of zeros: [B, T, N, D]."""
        indices = tokens[:, None, :, None].expand_as(values)
        return values.new_zeros(*values.shape[:2], self.latent_shape[0], values.shape[-1]).scatter(2, indices, values)

    def _latent(self, encoder: nn.Module, frames: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: the spatial tokens [B, K] that exist; None: all."""
        latents = encoder(frames) if tokens is None else encoder(frames, tokens)
        return F.layer_norm(latents, latents.shape[-1:]) if self.config.normalise_latents else latents


def _action_input(config: CausalConfig) -> ActionInput | None:
    if config.condition is None:
        return None
    if config.condition.statistics is None:
        raise ValueError(
            "model.condition.statistics is missing; worldmodel.runs.action_statistics reads it from the data of a run"
        )
    return ActionInput(config.condition.statistics, config.encoder.tubelet_size)


@functools.lru_cache(maxsize=64)  # one entry per context of training rollouts: 25 with 64 frames, tubelets of 2 and 4 steps
def row_index(
    batch: int, steps: int, tokens: int, horizons: int, contexts: tuple[int, ...], rollout_steps: int, device: torch.device
) -> dict[str, Tensor]:
    """Compute the columns clip, time, token, horizon and is_rollout of Latents.

    Rows are ordered by horizon, then by clip, time and token. Direct forecasts of horizon k start from steps 0..steps-1-k;
    after them come those of the rollouts, one from the first c steps for each c in `contexts`. The columns of recent sizes
    are kept: every training step has the same ones.
    """
    parts = [(range(k, steps), k) for k in range(1, horizons + 1)]
    parts += [(range(c + h - 1, c + h), h) for c in contexts for h in range(1, rollout_steps + 1)]
    rows = torch.cat(
        [torch.cartesian_prod(*map(torch.tensor, (range(batch), times, range(tokens), [h]))) for times, h in parts]
    )
    clip, time, token, horizon = rows.T.contiguous().to(device)
    is_rollout = torch.arange(len(rows), device=device) >= len(rows) - len(contexts) * rollout_steps * batch * tokens
    return {"clip": clip, "time": time, "token": token, "horizon": horizon, "is_rollout": is_rollout}
