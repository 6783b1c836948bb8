"""Named axes of a stored array → rows, columns, channels and frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """How to cut a region out of an array with named axes.

    Parameters
    ----------
    axes
        One letter per axis: Y, X, S or C for channels, anything else a stack.
    channel_axis, frame_axis
        Letter of the axis that holds channels (frames), or empty.
    channels, frames
        1 or 3 after alpha is dropped; length of the stack.
    """

    axes: str
    channel_axis: str
    frame_axis: str
    channels: int
    frames: int

    def shape_yx(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of an array of `shape`."""
        return int(shape[self.axes.index("Y")]), int(shape[self.axes.index("X")])

    def index(self, region: Region) -> tuple[int | slice, ...]:
        """Index that cuts `region` out of the array; axes that are dropped get an integer."""
        chosen: dict[str, int | slice] = {
            "Y": slice(region.y, region.y + region.height),
            "X": slice(region.x, region.x + region.width),
        }
        if self.frame_axis:
            chosen[self.frame_axis] = region.frame
        if self.channels == 3:
            chosen[self.channel_axis] = slice(0, 3)
        return tuple(chosen.get(axis, 0) for axis in self.axes)

    def arrange(self, block: NDArray[Any]) -> NDArray[Any]:
        """Bring what `index` cut out into (height, width) or (height, width, 3) order."""
        kept = [axis for axis in self.axes if axis in "YX" or self._is_colour(axis)]
        order = "YX" + (self.channel_axis if self.channels == 3 else "")
        return np.ascontiguousarray(block.transpose([kept.index(axis) for axis in order]))

    def _is_colour(self, axis: str) -> bool:
        return self.channels == 3 and axis == self.channel_axis


def plan_axes(axes: str, shape: Sequence[int], name: str) -> AxisPlan:
    """Decide which axis is what.

    Parameters
    ----------
    axes
        One upper-case letter per axis.
    shape
        Of the array.
    name
        Of the image, for the sentence.

    Raises
    ------
    UnsupportedImageError
        If rows or columns are missing or empty, there is more than one stack axis, or the channels
        are neither grey nor RGB.
    """
    said = ", ".join(f"{axis} = {size}" for axis, size in zip(axes, shape, strict=True))
    if "Y" not in axes or "X" not in axes or prod(shape) == 0:
        raise UnsupportedImageError(
            f"Expected an image with rows and columns of at least one pixel in {name}; got {said}."
        )
    sizes = dict(zip(axes, shape, strict=True))
    stacks = [axis for axis in axes if axis not in "YXSC" and sizes[axis] > 1]
    if len(stacks) > 1:
        raise UnsupportedImageError(
            f"Expected at most one axis besides rows, columns and colours in {name}; got {said}. "
            "Save one time point or one plane as an image of its own."
        )
    channel_axis = _channel_axis(sizes, said, name)
    frame_axis = stacks[0] if stacks else ""
    return AxisPlan(
        axes,
        channel_axis,
        frame_axis,
        channels=3 if sizes.get(channel_axis, 1) >= 3 else 1,
        frames=int(sizes[frame_axis]) if frame_axis else 1,
    )


def _channel_axis(sizes: dict[str, int], said: str, name: str) -> str:
    colours = [axis for axis in "SC" if sizes.get(axis, 1) > 1]
    samples, fluorescence = sizes.get("S", 1), sizes.get("C", 1)
    if len(colours) > 1 or samples > 4 or fluorescence not in (1, 3):
        raise UnsupportedImageError(
            f"Expected grey or RGB pixels in {name}; got {said}. "
            "Choose one channel, or three to show as red, green and blue, and save them apart."
        )
    return colours[0] if colours else ""
