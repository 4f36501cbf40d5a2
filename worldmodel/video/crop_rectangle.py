"""The rectangle of the frames of a clip that is read: what lies inside dark borders, for example."""

from __future__ import annotations

import math
from dataclasses import dataclass

_DECIMALS = 9
_ROUNDING_PX = 0.01  # a bound this close to the edge of a pixel lies on it


@dataclass(frozen=True)
class CropRectangle:
    """A rectangle of frames as shown, in shares of their width and height: 0 <= left < right <= 1, 0 <= top < bottom <= 1.

    Shares also fit copies of a video at another size. Raises ValueError for other numbers.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(
                f"{self.text()!r}; expected left, top, right and bottom as shares, such as '0 0.125 1 0.875' for a letterbox"
            )

    @classmethod
    def parse(cls, text: str) -> CropRectangle:
        """The rectangle that a text of a manifest stands for. Raises ValueError."""
        try:
            left, top, right, bottom = map(float, text.split())
        except ValueError:
            raise ValueError(
                f"{text[:80]!r}; expected left, top, right and bottom as shares, such as '0 0.125 1 0.875' for a letterbox"
            ) from None
        return cls(left, top, right, bottom)

    def text(self) -> str:
        """As it is stored in a manifest: four numbers with spaces between them."""
        return " ".join(f"{share:.{_DECIMALS}f}".rstrip("0").rstrip(".") for share in self._shares())

    def pixels(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the pixels of a frame that lie in the rectangle whole; at least one of each."""
        return _inside(self.top, self.bottom, height), _inside(self.left, self.right, width)

    def _shares(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom


def _inside(low: float, high: float, length: int) -> slice:
    first = min(math.ceil(low * length - _ROUNDING_PX), length - 1)
    return slice(first, max(first + 1, math.floor(high * length + _ROUNDING_PX)))
