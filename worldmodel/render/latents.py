"""Draw latents: their first principal components as colours or as a path, and maps of errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from worldmodel.render.style import BACKGROUND, DARK, FAINT, MUTED, PREDICTION, Rgb, draw_text, resize_to_height

SIZE_PX = 256
SUPERSAMPLING = 3  # paths are drawn larger by this factor and scaled down, for smooth lines
COLOUR_MAP = "inferno"  # of errors; its lightness increases evenly, so it can also be read in grey
EARLIER_BAR: Rgb = (150, 190, 214)


@dataclass(frozen=True)
class PcaBasis:
    """Three principal components and the range of values along them: fixed axes for all time steps and compared videos."""

    mean: np.ndarray  # [D]
    axes: np.ndarray  # [D, 3] unit columns; zero if there are fewer components
    low: np.ndarray  # [3] first percentile of the projections
    high: np.ndarray  # [3] 99th percentile of the projections
    explained: np.ndarray  # [3] fraction of the variance

    def project(self, latents: np.ndarray) -> np.ndarray:
        """[..., D] -> [..., 3], scaled so that 0 is `low` and 1 is `high`."""
        span = self.high - self.low
        centred = (latents - self.mean) @ self.axes - self.low
        return np.where(span > 0, centred / np.where(span > 0, span, 1), 0.5)


def fit_pca(latents: np.ndarray) -> PcaBasis:
    """Fit to all latents of a video, [T, N, D]. Signs are fixed, so that equal videos get equal colours."""
    rows = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
    mean = rows.mean(0)
    variances, axes = np.linalg.eigh((rows - mean).T @ (rows - mean))
    variances, axes = variances[::-1][:3], axes[:, ::-1][:, :3]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1, 1)
    axes = np.pad(axes, ((0, 0), (0, 3 - axes.shape[1])))
    low, high = np.percentile((rows - mean) @ axes, [1, 99], axis=0)
    total = np.square(rows - mean).sum()
    explained = np.pad(variances.clip(0), (0, 3 - len(variances))) / (total if total > 0 else 1)
    return PcaBasis(mean, axes, low, high, explained)


def pca_frames(latents: np.ndarray, basis: PcaBasis, truth: np.ndarray | None = None, size_px: int = SIZE_PX) -> np.ndarray:
    """Draw latents [T, N, D] as uint8 [T, S, S, 3]. Equal latents are drawn alike at any time and in any video.

    N = g*g: the three components are red, green and blue, token by token. N = 1: a blue dot that moves in the plane of the
    first two components, with the path behind it; `truth`, latents [T, 1, D] at the same times, is drawn in grey.
    """
    if latents.shape[1] == 1:
        return path_frames(latents[:, 0], basis, None if truth is None else truth[:, 0], size_px)
    colours = basis.project(latents).clip(0, 1) * 255
    return enlarge_grid(colours.round().astype(np.uint8), size_px)


def path_frames(latents: np.ndarray, basis: PcaBasis, truth: np.ndarray | None, size_px: int) -> np.ndarray:
    """Draw latents [T, D] as a path in the plane of the first two components: uint8 [T, S, S, 3]."""
    if truth is not None and len(truth) != len(latents):
        raise ValueError(f"{len(truth)} ground truth latents for {len(latents)} latents; give one for each")
    position = position_in_plane(basis, size_px * SUPERSAMPLING)
    paths = [([position(x) for x in truth], MUTED)] if truth is not None else []
    paths.append(([position(x) for x in latents], PREDICTION))
    page = Image.new("RGB", (size_px * SUPERSAMPLING, size_px * SUPERSAMPLING), BACKGROUND)
    text_px = max(11, size_px // 15) * SUPERSAMPLING
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width - 1, page.height - 1), outline=FAINT, width=SUPERSAMPLING)
    x_label, y_label = f"PC 1  {basis.explained[0]:.0%}", f"PC 2  {basis.explained[1]:.0%}"
    draw_text(draw, (page.width - text_px / 2, page.height - text_px / 2), x_label, text_px, MUTED, "rs")
    draw_text(draw, (text_px / 2, text_px / 2), y_label, text_px, MUTED, "la")
    for points, _ in paths:
        draw_line(draw, points, FAINT, 2 * SUPERSAMPLING)
    frames = []
    for step in range(len(latents)):
        frame = page.copy()
        draw = ImageDraw.Draw(frame)
        for points, colour in paths:
            draw_line(draw, points[: step + 1], colour, 3 * SUPERSAMPLING)
        for points, colour in paths:
            (x, y), radius = points[step], size_px * SUPERSAMPLING / 32
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(box, fill=colour, outline=BACKGROUND, width=SUPERSAMPLING)
        frames.append(np.asarray(frame.resize((size_px, size_px), Image.Resampling.LANCZOS)))
    return np.stack(frames)


def position_in_plane(basis: PcaBasis, size_px: int) -> Callable[[np.ndarray], tuple[float, float]]:
    """A function from a latent [D] to (x, y) on a square, both axes at one scale. Latents far outside stay at the edge."""
    centre = (basis.low + basis.high)[:2] / 2
    half_range = max((basis.high - basis.low)[:2].max() * 0.62, 1e-12)

    def position(latent: np.ndarray) -> tuple[float, float]:
        x, y = (((latent - basis.mean) @ basis.axes[:, :2] - centre) / half_range).clip(-0.93, 0.93)
        return float((1 + x) / 2 * size_px), float((1 - y) / 2 * size_px)

    return position


def draw_line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], colour: Rgb, width: int) -> None:
    """Draw a line through two or more points."""
    if len(points) > 1:
        draw.line(points, fill=colour, width=width, joint="curve")


def error_scale(errors: np.ndarray) -> float:
    """One scale for all time steps of a video and for all compared videos: the 99th percentile of the errors."""
    return float(np.percentile(errors, 99))


def error_map(errors: np.ndarray, frames: np.ndarray, scale: float, size_px: int = SIZE_PX) -> np.ndarray:
    """Draw errors [T, N] as uint8 [T, S, S, 3], on one scale from 0 to `scale`.

    N = g*g: a heat map over the grey frames uint8 [T, H, W, 3]. N = 1: a bar chart up to each time step.
    """
    if errors.ndim != 2 or len(errors) != len(frames):
        raise ValueError(f"errors {list(errors.shape)} must be [T, N] with T the {len(frames)} frames")
    relative = (errors / scale if scale > 0 else np.zeros_like(errors)).clip(0, 1)
    if errors.shape[1] == 1:
        return bar_frames(relative[:, 0], errors[:, 0], scale, size_px)
    relative = relative.astype(np.float32)
    heat = enlarge_grid((matplotlib.colormaps[COLOUR_MAP](relative)[..., :3] * 255).astype(np.float32), size_px)
    grey = np.stack([np.asarray(resize_to_height(f, size_px).resize((size_px, size_px)).convert("L")) for f in frames])
    opacity = 0.85 * np.sqrt(enlarge_grid(relative[..., None], size_px))  # the frame stays visible where errors are small
    mixed = (1 - opacity) * (0.55 * grey[..., None].astype(np.float32) + 40) + opacity * heat
    return mixed.round().astype(np.uint8)


def bar_frames(relative: np.ndarray, errors: np.ndarray, scale: float, size_px: int) -> np.ndarray:
    """Draw errors [T] as bars, uint8 [T, S, S, 3]: one bar per step, the current one dark and as a number.

    relative: the errors as fractions of `scale`, which is the upper line.
    """
    text_px = max(11, size_px // 15)
    left, bottom, top = text_px, size_px - text_px, text_px * 3
    pitch = (size_px - 2 * left) / len(relative)
    frames = []
    for step in range(len(relative)):
        page = Image.new("RGB", (size_px, size_px), BACKGROUND)
        draw = ImageDraw.Draw(page)
        draw.rectangle((0, 0, size_px - 1, size_px - 1), outline=FAINT)
        draw.line((left, top, size_px - left, top), fill=FAINT)
        draw_text(draw, (size_px - left, top - 3), f"scale {scale:.2g}", text_px, MUTED, "rs")
        draw_text(draw, (left, top - 3), f"now {errors[step]:.2g}", text_px, DARK, "ls")
        for i, height in enumerate(relative[: step + 1]):
            x = left + i * pitch
            colour = PREDICTION if i == step else EARLIER_BAR
            draw.rectangle((round(x), bottom - round(height * (bottom - top)), round(x + pitch * 0.8), bottom), fill=colour)
        draw.line((left, bottom, size_px - left, bottom), fill=DARK)
        frames.append(np.asarray(page))
    return np.stack(frames)


def enlarge_grid(tokens: np.ndarray, size_px: int) -> np.ndarray:
    """Draw a grid of values [T, g*g, C], row by row from the top left, as flat squares: [T, S, S, C]."""
    grid = isqrt(tokens.shape[1])
    if grid * grid != tokens.shape[1]:
        raise ValueError(f"{tokens.shape[1]} tokens are not a square grid; expected 1, 4, 9, 16...")
    cell = np.arange(size_px) * grid // size_px
    return tokens.reshape(len(tokens), grid, grid, -1)[:, cell][:, :, cell]
