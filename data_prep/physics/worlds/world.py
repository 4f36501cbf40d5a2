"""The interface of a world: what the generator needs to make its videos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from data_prep.physics.quadruplets import Property, Quadruplet, Template, check_frame_rate
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

        unseen: use the held-out shapes, textures and occluders. Raises NoValidSampleError when no
        attempt is valid, and ValueError for a level at which none can be.
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
    levels: tuple[int, ...] = (1, 2, 3)  # of its quadruplets; a world without level 3 needs a camera that stands still

    def property(self, name: str) -> Property[Any, Any]:
        """The property of this name. Raises KeyError."""
        return {property_.name: property_ for property_ in self.properties}[name]

    def levels_among(self, levels: tuple[int, ...]) -> tuple[int, ...]:
        """Those of these levels at which the world has quadruplets.

        Raises ValueError where it has none of them.
        """
        if found := tuple(level for level in levels if level in self.levels):
            return found
        given, possible = (" or ".join(map(str, numbers)) for numbers in (levels, self.levels))
        raise ValueError(f"level {given}: quadruplets of the world {self.name} have level {possible}")

    def check_frame_rate(self, fps: float, properties: Iterable[str]) -> None:
        """Raise PrepError where one of these properties has no valid quadruplet at a frame rate."""
        for name in properties:
            for template in self.property(name).templates:
                check_frame_rate(name, template, fps)

    def key(self, *key: object) -> tuple[object, ...]:
        """The key of random numbers and file names. Those of the built-in world begin without a name."""
        return key if self.name == "builtin" else (self.name, self.version, *key)
