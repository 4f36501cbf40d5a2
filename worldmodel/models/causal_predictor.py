"""Causal predictor: forecasts latents at several horizons at once, from the latents up to a time step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.adaln import ModulatedBlocks, modulate, zero_linear
from worldmodel.models.blocks.block_causal import BlockMemory, CausalBlocks
from worldmodel.models.blocks.layers import init_linear
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table
from worldmodel.models.condition import ConditionKind
from worldmodel.models.world_model import SharedContext


class PredictorConfig(Config):
    """A block-causal space-time transformer with rotary positions."""

    width: PositiveInt = 128
    """features of a token inside the transformer"""
    depth: NonNegativeInt = 3
    """transformer blocks; 0 = a forecast sees the last step alone"""
    heads: PositiveInt = 4
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""
    horizons: PositiveInt = 10
    """K: latent steps ahead that are forecast directly, 1..K"""
    head_layers: PositiveInt = 1
    """hidden layers of the MLP from a token to its forecasts; all after the first one are residual"""
    norm: bool = True
    """LayerNorm between the blocks and that MLP. Without blocks, false is better: LayerNorm changes distances between tokens,
    so that an MLP learns sharp borders slowly. With false, the layers that embed latents and actions begin with the larger
    weights of He et al. 2015"""
    patch_merge: PositiveInt = 1
    """each predictor token merges patch_merge x patch_merge neighbouring spatial tokens"""
    rotary_base: float = Field(10_000.0, gt=1)
    """base of the rotary positions. The usual 10000 is for thousands of positions: with heads of 32 features, three of the five
    angles between neighbouring steps, rows or columns are below .03. 100 suits the few positions of a small model"""
    recurrences: NonNegativeInt = 0
    """number of blocks, from the first one on, that begin with a gated recurrence over time: each token keeps a state of what
    was seen at its place. Memory of hidden things is then learned in fewer steps"""

    @model_validator(mode="after")
    def _check(self) -> PredictorConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if self.recurrences > self.depth:
            raise ValueError(f"recurrences {self.recurrences} must not exceed depth {self.depth}, the number of blocks")
        return self


class ResidualLayer(nn.Module):
    """[..., W] -> [..., W]: a hidden layer that adds to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.linear(x))


class CausalPredictor(nn.Module):
    """[B, T, N, D] -> [B, T, K, N, D]: row t, horizon k forecasts step t+k from steps 0..t alone.

    A forecast is a change added to the last latent. Initial weights make it zero, so an untrained predictor copies.
    With `action_size`, step t also gets the action from t to t+1, and horizon k the actions up to t+k. Actions
    are normalised; those that are not given count as 0, the mean.
    """

    extra_forward_methods = ("forecast_window",)  # methods besides `forward` that FSDP2 must gather the weights for

    def __init__(
        self,
        config: PredictorConfig,
        latent_dim: int,
        latent_grid: int,
        checkpointing: bool = False,
        action_size: int = 0,
        condition: ConditionKind = "added",
    ) -> None:
        super().__init__()
        self.config, self.action_size = config, action_size
        self.side = latent_grid // config.patch_merge  # merged tokens per side of the grid
        token_dim = latent_dim * config.patch_merge**2
        self.embed = nn.Linear(token_dim, config.width)
        self.modulated = bool(action_size) and condition == "adaln_zero"
        blocks = ModulatedBlocks if self.modulated else CausalBlocks
        self.blocks = blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing)
        self.blocks.add_recurrences(config.recurrences)
        self.norm = nn.LayerNorm(config.width) if config.norm else nn.Identity()
        self.horizon = nn.Parameter(0.3 * torch.randn(config.horizons, config.width))
        change = nn.Linear(2 * config.width, token_dim)
        deeper = (ResidualLayer(2 * config.width) for _ in range(config.head_layers - 1))
        self.head = nn.Sequential(nn.Linear(config.width, 2 * config.width), nn.GELU(), *deeper, change)
        self.embed.apply(init_linear if config.norm else _init_he)
        self.action = self._action_layer() if action_size else None
        if self.action is not None and not config.norm:
            self.action.apply(_init_he)
        ahead = (config.horizons - 1) * action_size
        self.ahead = nn.Linear(ahead, 2 * config.width, bias=False) if ahead else None  # the actions after the next one
        self.modulation = nn.Linear(config.width, 2 * config.width) if self.modulated else None  # of the last block's output
        for layer in self.zero_layers():
            zero_linear(layer)

    def _action_layer(self) -> nn.Module:
        """Actions [B, T, A] -> what is added to the tokens of a step, or the condition that modulates it, [B, T, W]."""
        width = self.config.width
        if not self.modulated:
            return nn.Linear(self.action_size, width)
        return nn.Sequential(nn.Linear(self.action_size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def zero_layers(self) -> list[nn.Linear]:
        """Layers whose weights start at zero: the last one of the head, and those by which a condition modulates."""
        found: list[object] = [self.head[-1]]
        if self.modulated:
            found.extend(layer.modulation for layer in self.blocks.layers)
            found.extend((self.modulation, self.ahead))
        return [layer for layer in found if isinstance(layer, nn.Linear)]

    def forward(self, latents: Tensor, actions: Tensor | None = None) -> Tensor:
        """actions: [B, at most T, A]"""
        hidden = self._hidden(latents, actions=actions)[0]
        return self._forecast(latents, hidden, self.config.horizons, actions, range(latents.shape[1]))

    def from_last_step(self, latents: Tensor, horizons: int, actions: Tensor | None = None) -> Tensor:
        """Forecast from the last step only: [B, T, N, D], actions [B, T - 1 + horizons, A] -> [B, horizons, N, D]."""
        return self._from_rows(latents, [latents.shape[1] - 1], horizons, actions=actions)[0][:, 0]

    def from_steps(
        self,
        latents: Tensor,
        context_steps: Sequence[int],
        horizons: int,
        shared: SharedContext | None = None,
        actions: Tensor | None = None,
    ) -> Tensor:
        """Forecast from the first s steps, for all S numbers s in `context_steps`: [B, T, N, D] -> [B, S, horizons, N, D].

        `shared`: the steps before `latents`; see FrameWise.forecast_from_latents. actions: [B, T - 1 + horizons, A], without
        `shared`.
        """
        if shared is None:
            rows = [steps - 1 for steps in context_steps]
            return self._from_rows(latents[:, : max(context_steps)], rows, horizons, actions=actions)[0]
        first = shared.latents.shape[1]
        early, late = ([s for s in context_steps if (s <= first) == is_early] for is_early in (True, False))
        forecasts, memory = self._from_rows(shared.latents, [steps - 1 for steps in early or [first]], horizons)
        found = [forecasts[shared.row]] if early else []
        if late:
            past = [tuple(part[shared.row] for part in of_block) for of_block in memory]
            found.append(self._from_rows(latents, [steps - 1 - first for steps in late], horizons, past, first)[0])
        return torch.cat(found, dim=1)

    def _from_rows(
        self,
        latents: Tensor,
        rows: Sequence[int],
        horizons: int,
        past: Sequence[BlockMemory] = (),
        first: int = 0,
        actions: Tensor | None = None,
    ) -> tuple[Tensor, list[BlockMemory]]:
        """Forecast from the steps `rows` of latents; `past` and `first` as in `_hidden`. [B, T, N, D] -> [B, S, K, N, D]."""
        hidden, memory = self._hidden(latents, past, first, rows, actions)
        return self._forecast(_steps(latents, rows), hidden, horizons, actions, rows), memory

    def forecast_window(
        self,
        latents: Tensor,
        contexts: Sequence[int],
        rollout_steps: int,
        actions: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Forecast all that has a target within a window of latents [B, T, N, D], directly and by rollouts.

        Returns the direct forecasts by horizon, [B, T - k, N, D] for k = 1..K, made from steps 0..T-1-k; and, for each number
        of first steps in `contexts`, the `rollout_steps` forecasts [B, 1, N, D] after them, in which predictions are fed back.
        Such a number + rollout_steps must not exceed T. actions: [B, T - 1, A]. A rollout starts from what the blocks keep of
        the direct pass, and its first step is the direct forecast of horizon 1. kept: the merged tokens [B, M] that the latents
        consist of, without rollouts; the latents of a merged token are then neighbours along N.
        """
        steps = latents.shape[1]
        hidden, memory = self._hidden(latents[:, :-1], actions=actions, kept=kept)  # nothing is forecast from the last step
        counts = [steps - k for k in range(1, self.config.horizons + 1)]
        changes = self._changes(hidden, counts, actions, range(steps - 1), kept is not None)
        direct = [latents[:, : change.shape[1]] + change for change in changes]
        # Without blocks a forecast sees the last step alone, so all rollouts advance together: fewer, larger multiplications.
        groups = [contexts] if self.config.depth == 0 and contexts else [[context] for context in contexts]
        rollouts = [self._rollouts(direct[0], latents.dtype, memory, group, rollout_steps, actions) for group in groups]
        return direct, [forecast for group in rollouts for forecast in group]

    def _rollouts(
        self,
        direct: Tensor,
        dtype: torch.dtype,
        memory: Sequence[BlockMemory],
        contexts: Sequence[int],
        steps: int,
        actions: Tensor | None,
    ) -> list[Tensor]:
        """Feed predictions back after each number of steps in `contexts`, which are several only where `memory` is empty.

        direct: the forecasts of horizon 1, [B, T - 1, N, D]. dtype: of the latents that are fed. memory: what the blocks keep
        of all steps. Returns the forecasts [B, 1, N, D] of the first context, then those of the second, and so on.
        """
        first = min(contexts)
        past = [tuple(part[:, :, : first * self.side**2] for part in of_block) for of_block in memory]
        found = [torch.cat([direct[:, context - 1 : context] for context in contexts])]
        for step in range(steps - 1):
            given = None if actions is None else torch.cat([actions[:, c + step : c + step + 1] for c in contexts])
            forecast, past = self._continue(found[-1].to(dtype), past, first + step, given)
            found.append(forecast)
        of_contexts = zip(*(forecast.chunk(len(contexts)) for forecast in found), strict=True)
        return [forecast for of_context in of_contexts for forecast in of_context]

    def roll_out(self, latents: Tensor, steps: int, longest: int, actions: Tensor | None = None) -> Tensor:
        """Feed predictions back one step at a time: [B, T, N, D], actions [B, T - 1 + steps, A] -> [B, steps, N, D].

        The context slides once it has `longest` steps. Until then the blocks keep earlier steps, so each step costs one step.
        """
        window = latents[:, -longest:]
        begin = latents.shape[1] - window.shape[1]  # the step at which the window begins
        known = _part(actions, begin, window.shape[1])
        hidden, past = self._hidden(window, rows=[window.shape[1] - 1], actions=known)
        found = [self._forecast(window[:, -1:], hidden, 1)[:, 0].to(latents.dtype)]
        while len(found) < steps:
            length = window.shape[1]
            window = torch.cat((window[:, -(longest - 1) :] if longest > 1 else window[:, :0], found[-1]), dim=1)
            if length < longest:
                forecast, past = self._continue(found[-1], past, length, _part(actions, begin + length, 1))
            else:
                begin += 1
                forecast = self.from_last_step(window, 1, _part(actions, begin, longest))
            found.append(forecast.to(latents.dtype))
        return torch.cat(found, dim=1)

    def imagine(self, latents: Tensor, actions: Tensor, before: Tensor | None, longest: int) -> Tensor:
        """Roll out several action sequences from the same past: [B, T, N, D], [B, S, H, A] -> [B, S, H, N, D].

        before: actions [B, T - 1, A] between the given steps. The past is computed once for all sequences. As in `roll_out`,
        the context slides once it has `longest` steps.
        """
        count, steps = actions.shape[1:3]
        longest = 1 if self.config.depth == 0 else longest  # without blocks nothing but the last step is seen
        window = latents[:, -longest:]
        length, begin = window.shape[1], 0
        sequences = actions.flatten(0, 1)
        past: list[BlockMemory] | None = []
        if length > 1:
            known = None if before is None else before[:, 1 - length :]
            _, memory = self._hidden(window[:, :-1], actions=known)
            past = [tuple(part.repeat_interleave(count, 0) for part in of_block) for of_block in memory]
            known = actions.new_zeros(len(actions), length - 1, self.action_size) if known is None else known
            sequences = torch.cat((known.repeat_interleave(count, 0), sequences), dim=1)
        window = window.repeat_interleave(count, 0)
        found: list[Tensor] = []
        while len(found) < steps:
            if past is None:
                forecast = self.from_last_step(window, 1, _part(sequences, begin, length))
            else:
                forecast, past = self._continue(window[:, -1:], past, length - 1, _part(sequences, begin + length - 1, 1))
            found.append(forecast.to(latents.dtype))
            window = torch.cat((window, found[-1]), dim=1)[:, -longest:]
            if length < longest:
                length += 1
            else:
                begin, past = begin + 1, past if longest == 1 and not past else None
        return torch.cat(found, dim=1).unflatten(0, (len(actions), count))

    def _continue(
        self, latents: Tensor, past: Sequence[BlockMemory], step: int, actions: Tensor | None = None
    ) -> tuple[Tensor, list[BlockMemory]]:
        """Forecast one step ahead of step `step` [B, 1, N, D], after what the blocks keep of all steps before it."""
        hidden, past = self._hidden(latents, past=past, first=step, actions=actions)
        return self._forecast(latents, hidden, 1)[:, 0], past

    def _hidden(
        self,
        latents: Tensor,
        past: Sequence[BlockMemory] = (),
        first: int = 0,
        rows: Sequence[int] | None = None,
        actions: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> tuple[Tensor, list[BlockMemory]]:
        """Compute hidden states [B, T, M, W] of M merged tokens, and what each block keeps of all steps.

        Step t of latents [B, T, N, D] has attended to steps 0..t, and to the `first` steps before them, which are given by
        `past`. `rows`: steps whose hidden states are returned; None = all. `actions`: of the same steps, [B, at most T, A].
        """
        count, merge = self.side**2, self.config.patch_merge
        positions = self._positions(first + latents.shape[1], latents.device)[first * count :]
        if kept is not None:
            positions = positions.unflatten(0, (-1, count))[:, kept].transpose(0, 1).flatten(1, 2)[:, None]  # [B, 1, T*M, 3]
            count = kept.shape[1]
        head_width = self.config.width // self.config.heads
        rotary = rotary_table(rotary_angles(positions, head_width, base=self.config.rotary_base))
        if kept is None:
            merged = rearrange(latents, "b t (h y w x) d -> b (t h w) (y x d)", h=self.side, w=self.side, y=merge, x=merge)
        else:
            merged = rearrange(latents, "b t (m q) d -> b (t m) (q d)", m=count)
        tokens = self.embed(merged)
        condition = None
        if self.action is not None and self.modulated:
            given = latents.new_zeros(len(latents), 0, self.action_size) if actions is None else actions
            condition = self.action(_padded(given[:, : latents.shape[1]], latents.shape[1]))
        elif self.action is not None and actions is not None:
            of_steps = self.action(_padded(actions[:, : latents.shape[1]], latents.shape[1]))
            tokens = tokens + of_steps.repeat_interleave(count, 1)
        tokens, memory = self.blocks(tokens, rotary, count, past, rows, condition)
        tokens = self.norm(tokens)
        if condition is not None and self.modulation is not None:
            scale, shift = self.modulation(condition if rows is None else _steps(condition, rows)).chunk(2, dim=-1)
            tokens = modulate(tokens, scale, shift, count)
        return rearrange(tokens, "b (t m) w -> b t m w", m=count), memory

    def _forecast(
        self, latents: Tensor, hidden: Tensor, horizons: int, actions: Tensor | None = None, rows: Sequence[int] = ()
    ) -> Tensor:
        """Forecasts after the steps S of latents [B, S, N, D] with hidden states [B, S, M, W]: [B, S, horizons, N, D].

        rows: the numbers of these steps in `actions` [B, T, A].
        """
        changes = torch.stack(self._changes(hidden, [hidden.shape[1]] * horizons, actions, rows), dim=2)
        return latents[:, :, None] + changes

    def _changes(
        self,
        hidden: Tensor,
        counts: Sequence[int],
        actions: Tensor | None = None,
        rows: Sequence[int] = (),
        some_tokens: bool = False,
    ) -> list[Tensor]:
        """Compute what is added to the last latent, from hidden states [B, S, M, W].

        Returns one tensor per horizon 1, 2, ..., for the first `counts[horizon - 1]` steps: [B, count, N, D]. Horizon k sees
        the k - 1 actions after the one that the hidden state has seen; `rows` are the steps' numbers in `actions`. some_tokens:
        the merged tokens are not a grid, and the latents of each are neighbours along N.
        """
        # The first layer of the head is linear in hidden state plus horizon, so each of them passes through it once.
        first, *others = self.head
        assert isinstance(first, nn.Linear)
        states, shifts = first(hidden), F.linear(self.horizon[: len(counts)], first.weight)
        known = [self._of_actions_ahead(actions, rows[:count], k) for k, count in enumerate(counts, start=1)]
        changes = (
            _through(others, states[:, :count] + shift if ahead is None else states[:, :count] + shift + ahead)
            for count, shift, ahead in zip(counts, shifts, known, strict=True)
        )
        merge = self.config.patch_merge
        if some_tokens:
            return [rearrange(change, "b s m (q d) -> b s (m q) d", q=merge**2) for change in changes]
        return [
            rearrange(change, "b s (h w) (y x d) -> b s (h y w x) d", h=self.side, w=self.side, y=merge, x=merge)
            for change in changes
        ]

    def _of_actions_ahead(self, actions: Tensor | None, rows: Sequence[int], horizon: int) -> Tensor | None:
        """What the actions 2 to `horizon` after the steps `rows` add to the first layer of the head: [B, S, 1, 2 W]."""
        if actions is None or self.ahead is None or horizon == 1:
            return None
        padded = _padded(actions, max(rows) + horizon)
        ahead = torch.cat([_steps(padded, [row + j for row in rows]) for j in range(1, horizon)], dim=-1)
        return F.linear(ahead, self.ahead.weight[:, : ahead.shape[-1]])[:, :, None]

    def _positions(self, steps: int, device: torch.device) -> Tensor:
        """Time, and row and column if there are several tokens per step: [T*M, 1 or 3]."""
        positions = grid_positions(steps, self.side, device)
        return positions[:, :1] if self.side == 1 else positions


def _init_he(module: nn.Module) -> None:
    """Initialise a linear layer so that a rectifier after it keeps the scale of its input (He et al. 2015), zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)


def _through(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _steps(values: Tensor, rows: Sequence[int]) -> Tensor:
    """Some steps of values [B, T, ...]. Successive steps are a slice: an index would be copied to the device, which waits."""
    if list(rows) == list(range(rows[0], rows[-1] + 1)):
        return values[:, rows[0] : rows[-1] + 1]
    return values[:, list(rows)]


def _part(actions: Tensor | None, first: int, count: int) -> Tensor | None:
    """The actions [B, count, A] from step `first` on, fewer where there are no more."""
    return None if actions is None else actions[:, first : first + count]


def _padded(actions: Tensor, count: int) -> Tensor:
    """Actions [B, at most count, A] -> [B, at least count, A], with zeros at the end."""
    missing = count - actions.shape[1]
    return actions if missing <= 0 else F.pad(actions, (0, 0, 0, missing))
