"""The interface of a world: what the generator needs to make its videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from data_prep.physics.quadruplets import Property, Quadruplet, Template
from data_prep.physics.rendered_video import RenderedVideo
from data_prep.physics.video_format import VideoFormat


class SampleQuadruplet(Protocol):
    """Sample and render a quadruplet of a property."""

    def __call__(
        self,
        property_: Property[Any, Any],
        template: Template[Any, Any],
        video: VideoFormat,
        level: int,
        *key: object,
        unseen: bool = False,
    ) -> Quadruplet:
        """The first valid quadruplet of this key.

        unseen: use the held-out shapes, textures and occluders. Raises RuntimeError when no attempt
        is valid.
        """


class SamplePossibleVideo(Protocol):
    """Sample and render a possible video."""

    def __call__(self, video: VideoFormat, *key: object, levels: tuple[int, ...]) -> tuple[str, RenderedVideo]:
        """The name of a random scenario, and a video of it."""


@dataclass(frozen=True)
class World:
    """A world: its properties, and functions that sample and render its videos.

    Equal keys give equal videos.
    """

    name: str
    version: str  # raised whenever a pixel, a random number or a ground-truth value changes
    libraries: tuple[str, ...]  # packages whose versions may change a pixel
    properties: tuple[Property[Any, Any], ...]
    sample_quadruplet: SampleQuadruplet
    sample_possible_video: SamplePossibleVideo
    duration_s: float | None = None  # of its videos by default; None: that of the size of the suite
    min_possible_s: float = 0.0  # of a possible video; shorter ones would not show what is special about the world

    def property(self, name: str) -> Property[Any, Any]:
        """The property of this name. Raises KeyError."""
        return {property_.name: property_ for property_ in self.properties}[name]

    def key(self, *key: object) -> tuple[object, ...]:
        """The key of random numbers and file names. Those of the built-in world begin without a name."""
        return key if self.name == "builtin" else (self.name, self.version, *key)
