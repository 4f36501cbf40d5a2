"""Latents as pictures: their first principal components as colours or as a path, and where the errors are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from worldmodel.render.ink import FAINT, IMAGINED, INK, MUTED, PAPER, Rgb, fitted, write

SIZE_PX = 256
FINE = 3  # drawn so much larger and scaled down: smooth lines
HEAT = "inferno"  # even steps of lightness, so that it also reads in grey


@dataclass(frozen=True)
class PcaBasis:
    """Three directions and the reach of a film along them; the same for every moment, and for all films compared."""

    mean: np.ndarray  # [D]
    axes: np.ndarray  # [D, 3] unit columns; zero where there are fewer directions
    low: np.ndarray  # [3] projections of all but the most extreme hundredth lie between
    high: np.ndarray  # [3]
    share: np.ndarray  # [3] of the variance

    def project(self, latents: np.ndarray) -> np.ndarray:
        """[..., D] -> [..., 3], where 0 is `low` and 1 is `high`."""
        span = self.high - self.low
        centred = (latents - self.mean) @ self.axes - self.low
        return np.where(span > 0, centred / np.where(span > 0, span, 1), 0.5)


def fit_pca(latents: np.ndarray) -> PcaBasis:
    """Of all latents of a film, [T, N, D]. Signs are fixed, so that equal films get equal colours."""
    rows = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
    mean = rows.mean(0)
    variances, axes = np.linalg.eigh((rows - mean).T @ (rows - mean))
    variances, axes = variances[::-1][:3], axes[:, ::-1][:, :3]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1, 1)
    axes = np.pad(axes, ((0, 0), (0, 3 - axes.shape[1])))
    low, high = np.percentile((rows - mean) @ axes, [1, 99], axis=0)
    total = np.square(rows - mean).sum()
    share = np.pad(variances.clip(0), (0, 3 - len(variances))) / (total if total > 0 else 1)
    return PcaBasis(mean, axes, low, high, share)


def pca_frames(latents: np.ndarray, basis: PcaBasis, truth: np.ndarray | None = None, size_px: int = SIZE_PX) -> np.ndarray:
    """Latents [T, N, D] -> uint8 [T, S, S, 3]. A latent has the same colour, or spot, at any time and in any film.

    N = g*g: components as red, green and blue, place by place. N = 1: a dot that travels the plane of the first two, in
    blue, with the path behind it; `truth` (then its latents [T, 1, D] at the same times) travels along in grey.
    """
    if latents.shape[1] == 1:
        return path_frames(latents[:, 0], basis, None if truth is None else truth[:, 0], size_px)
    colours = basis.project(latents).clip(0, 1) * 255
    return enlarged(colours.round().astype(np.uint8), size_px)


def path_frames(latents: np.ndarray, basis: PcaBasis, truth: np.ndarray | None, size_px: int) -> np.ndarray:
    """[T, D] -> uint8 [T, S, S, 3]: travels through the plane of the first two components."""
    if truth is not None and len(truth) != len(latents):
        raise ValueError(f"{len(truth)} true latents cannot travel with {len(latents)}: give those of the same times")
    spot = spotter(basis, size_px * FINE)
    travels = [([spot(x) for x in truth], MUTED)] if truth is not None else []
    travels.append(([spot(x) for x in latents], IMAGINED))
    page = Image.new("RGB", (size_px * FINE, size_px * FINE), PAPER)
    letters = max(11, size_px // 15) * FINE
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width - 1, page.height - 1), outline=FAINT, width=FINE)
    write(draw, (page.width - letters / 2, page.height - letters / 2), f"PC 1  {basis.share[0]:.0%}", letters, MUTED, "rs")
    write(draw, (letters / 2, letters / 2), f"PC 2  {basis.share[1]:.0%}", letters, MUTED, "la")
    for spots, _ in travels:
        line(draw, spots, FAINT, 2 * FINE)
    frames = []
    for moment in range(len(latents)):
        frame = page.copy()
        draw = ImageDraw.Draw(frame)
        for spots, colour in travels:
            line(draw, spots[: moment + 1], colour, 3 * FINE)
        for spots, colour in travels:
            (x, y), radius = spots[moment], size_px * FINE / 32
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=PAPER, width=FINE)
        frames.append(np.asarray(frame.resize((size_px, size_px), Image.Resampling.LANCZOS)))
    return np.stack(frames)


def spotter(basis: PcaBasis, size_px: int) -> Callable[[np.ndarray], tuple[float, float]]:
    """Latent [D] -> (x, y) on a square, both axes at one scale; what lies far outside stays at the edge."""
    centre = (basis.low + basis.high)[:2] / 2
    reach = max((basis.high - basis.low)[:2].max() * 0.62, 1e-12)

    def spot(latent: np.ndarray) -> tuple[float, float]:
        x, y = (((latent - basis.mean) @ basis.axes[:, :2] - centre) / reach).clip(-0.93, 0.93)
        return float((1 + x) / 2 * size_px), float((1 - y) / 2 * size_px)

    return spot


def line(draw: ImageDraw.ImageDraw, spots: list[tuple[float, float]], colour: Rgb, width: int) -> None:
    if len(spots) > 1:
        draw.line(spots, fill=colour, width=width, joint="curve")


def error_reach(errors: np.ndarray) -> float:
    """A scale for all moments of a film, and for all films compared: all but the largest hundredth lie below."""
    return float(np.percentile(errors, 99))


def error_map(errors: np.ndarray, frames: np.ndarray, reach: float, size_px: int = SIZE_PX) -> np.ndarray:
    """Errors [T, N] -> uint8 [T, S, S, 3], on one scale from 0 to `reach`.

    N = g*g: heat over the grey frame uint8 [T, H, W, 3]. N = 1: a bar for each moment so far.
    """
    if errors.ndim != 2 or len(errors) != len(frames):
        raise ValueError(f"errors {list(errors.shape)} must be [T, N] with T the {len(frames)} frames")
    shares = (errors / reach if reach > 0 else np.zeros_like(errors)).clip(0, 1)
    if errors.shape[1] == 1:
        return bar_frames(shares[:, 0], errors[:, 0], reach, size_px)
    shares = shares.astype(np.float32)
    heat = enlarged((matplotlib.colormaps[HEAT](shares)[..., :3] * 255).astype(np.float32), size_px)
    grey = np.stack([np.asarray(fitted(f, size_px).resize((size_px, size_px)).convert("L")) for f in frames])
    strength = 0.85 * np.sqrt(enlarged(shares[..., None], size_px))  # where nothing is wrong the picture shows through
    mixed = (1 - strength) * (0.55 * grey[..., None].astype(np.float32) + 40) + strength * heat
    return mixed.round().astype(np.uint8)


def bar_frames(shares: np.ndarray, errors: np.ndarray, reach: float, size_px: int) -> np.ndarray:
    """[T] -> uint8 [T, S, S, 3]: one bar a moment, the present one dark and in numbers; the upper line is `reach`."""
    letters = max(11, size_px // 15)
    left, bottom, top = letters, size_px - letters, letters * 3
    pitch = (size_px - 2 * left) / len(shares)
    frames = []
    for moment in range(len(shares)):
        page = Image.new("RGB", (size_px, size_px), PAPER)
        draw = ImageDraw.Draw(page)
        draw.rectangle((0, 0, size_px - 1, size_px - 1), outline=FAINT)
        draw.line((left, top, size_px - left, top), fill=FAINT)
        write(draw, (size_px - left, top - 3), f"scale {reach:.2g}", letters, MUTED, "rs")
        write(draw, (left, top - 3), f"now {errors[moment]:.2g}", letters, INK, "ls")
        for i, share in enumerate(shares[: moment + 1]):
            x = left + i * pitch
            colour = IMAGINED if i == moment else (150, 190, 214)
            draw.rectangle((round(x), bottom - round(share * (bottom - top)), round(x + pitch * 0.8), bottom), fill=colour)
        draw.line((left, bottom, size_px - left, bottom), fill=INK)
        frames.append(np.asarray(page))
    return np.stack(frames)


def enlarged(places: np.ndarray, size_px: int) -> np.ndarray:
    """[T, g*g, C], row by row from the top left -> [T, S, S, C] of flat squares."""
    grid = isqrt(places.shape[1])
    if grid * grid != places.shape[1]:
        raise ValueError(f"{places.shape[1]} places are no square grid (1, 4, 9, 16...) that could be drawn")
    cell = np.arange(size_px) * grid // size_px
    return places.reshape(len(places), grid, grid, -1)[:, cell][:, :, cell]
