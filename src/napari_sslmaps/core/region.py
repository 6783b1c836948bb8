"""A rectangle of pixels of one level and one frame of an image."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from napari_sslmaps.core.whole import whole_number
from napari_sslmaps.errors import RegionError
from napari_sslmaps.serialise import strict


@strict
@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle of pixels.

    Parameters
    ----------
    y, x
        First row and column, in pixels of `level`.
    height, width
        Size in pixels of `level`.
    level
        Resolution level of the image, 0 being the finest.
    frame
        Index along a time or z axis; 0 for a plain image.

    Raises
    ------
    RegionError
        If a number is negative or no whole one, or the rectangle is empty.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> region = ssl.Region(64, 128, height=256, width=512)
    >>> region.shape_yx, region.level
    ((256, 512), 0)
    """

    y: int
    x: int
    height: int
    width: int
    level: int = 0
    frame: int = 0

    def __post_init__(self) -> None:
        for name in ("y", "x", "height", "width", "level", "frame"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        if min(self.y, self.x, self.level, self.frame) < 0 or min(self.height, self.width) < 1:
            raise RegionError(
                "Expected a region with non-negative origin and at least one pixel; got "
                f"{self.height} × {self.width} px at ({self.y}, {self.x}), level {self.level}, "
                f"frame {self.frame}."
            )

    @classmethod
    def coerce(cls, value: "Region | Sequence[int] | Sequence[slice]") -> Self:
        """Take a `Region`, ``(y, x, height, width)`` or two slices with start and stop."""
        if isinstance(value, cls):
            return value
        try:
            parts: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]  # a foreign Region is iterable neither
        except TypeError:
            parts = ()
        if len(parts) == 2 and all(isinstance(part, slice) for part in parts):
            (top, bottom), (left, right) = map(_ends, parts)
            return cls(top, left, bottom - top, right - left)
        if len(parts) == 4:
            return cls(*parts)
        raise RegionError(
            f"Expected a region as (y, x, height, width), two slices or a Region; got {value!r}."
        )

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Height and width in pixels of the level."""
        return self.height, self.width

    def check_within(self, shape_yx: tuple[int, int]) -> None:
        """Raise `RegionError` unless the region lies inside an image of `shape_yx` pixels."""
        if self.y + self.height > shape_yx[0] or self.x + self.width > shape_yx[1]:
            raise RegionError(
                f"Expected a region inside the image of {shape_yx[0]} × {shape_yx[1]} px; got rows "
                f"{self.y}–{self.y + self.height}, columns {self.x}–{self.x + self.width}. "
                "Choose a rectangle that lies on the image."
            )

    def part(self, y: int, x: int, height: int, width: int) -> Self:
        """Return the sub-rectangle whose origin is (y, x) within this region."""
        return type(self)(self.y + y, self.x + x, height, width, self.level, self.frame)

    def to_dict(self) -> dict[str, int]:
        """Return a JSON-ready description; ``Region(**description)`` reads it back."""
        return asdict(self)


def _whole(value: Any, name: str) -> int:
    """Return a number of pixels as an int, so that none overflows; a float that is a whole number is one."""
    number = int(value) if hasattr(value, "is_integer") and value.is_integer() else value
    whole = None if isinstance(value, bool) else whole_number(number)
    if whole is None:
        raise RegionError(f"Expected a region in whole pixels; its {name} is {value!r}.")
    return whole


def _ends(part: slice) -> tuple[int, int]:
    """Return where a slice starts and stops."""
    step = 1 if part.step is None else whole_number(part.step)
    if part.stop is None or step != 1:
        raise RegionError("Expected slices with a stop and no step as a region.")
    return _whole(0 if part.start is None else part.start, "start"), _whole(part.stop, "stop")
