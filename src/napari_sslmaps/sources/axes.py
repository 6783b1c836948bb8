"""Named axes of a stored array → rows, columns, channels and frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError, UnsupportedImageError
from napari_sslmaps.sources.base import Contents
from napari_sslmaps.sources.channels import (
    ChannelChoice,
    ChannelFacts,
    ask_for_channels,
    filled,
    pick_channels,
)


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """Plan for cutting a region out of an array with named axes.

    Parameters
    ----------
    axes
        Letters of the axes, one each: Y, X, S or C for channels, anything else a stack.
    channel_axis
        Letter of the axis that holds channels, or empty.
    stacks
        Letter and length of each axis that frames run along, the last one fastest.
    picked
        Numbers along the channel axis: one for a grey image, two or three to become red, green and blue.
    described
        Number and name of each channel, where others could be asked for.
    fixed
        Letter and index of an axis of channels each of which has colours of its own: the one that is shown.
    """

    axes: str
    channel_axis: str
    stacks: tuple[tuple[str, int], ...]
    picked: tuple[int, ...]
    described: tuple[str, ...] = ()
    fixed: tuple[tuple[str, int], ...] = ()

    @property
    def contents(self) -> Contents:
        """Channels to choose from, and those that are taken."""
        shown = tuple(index for _, index in self.fixed) or self.picked
        return Contents(channels=self.described, picked=shown if self.described else ())

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return 3 if len(self.picked) > 1 else 1

    @property
    def frames(self) -> int:
        """Number of frames."""
        return prod(length for _, length in self.stacks)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say how frames are counted, where they run along several axes."""
        if len(self.stacks) < 2:
            return ()
        told = " × ".join(f"{axis} = {length}" for axis, length in self.stacks)
        return (f"Its {self.frames} frames run along {told}, {self.stacks[-1][0]} fastest.",)

    def at(self, frame: int) -> dict[str, int]:
        """Return the index along each axis that frames run along, and along one that is fixed."""
        lengths = [length for _, length in self.stacks]
        indices = np.unravel_index(frame, lengths) if lengths else ()
        along = {axis: int(index) for (axis, _), index in zip(self.stacks, indices, strict=True)}
        return along | dict(self.fixed)

    def shape_yx(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of an array of `shape`."""
        return int(shape[self.axes.index("Y")]), int(shape[self.axes.index("X")])

    def cut(self, array: Any, region: Region) -> NDArray[Any]:
        """Cut (height, width[, 3]) pixels out of an array: at once where their channels follow each other."""
        first, last = self.picked[0], self.picked[-1]
        if self.picked == tuple(range(first, last + 1)) and len(self.picked) > 1:
            block = np.asarray(array[self._index(region, slice(first, last + 1))])
            kept = [axis for axis in self.axes if axis in "YX" or axis == self.channel_axis]
            return filled(block.transpose([kept.index(axis) for axis in f"YX{self.channel_axis}"]))
        planes = [np.asarray(array[self._index(region, number)]) for number in self.picked]
        upright = [plane.T if self.axes.index("X") < self.axes.index("Y") else plane for plane in planes]
        return filled(np.stack(upright, -1)) if self.channels == 3 else np.ascontiguousarray(upright[0])

    def _index(self, region: Region, channels: int | slice) -> tuple[int | slice, ...]:
        chosen: dict[str, int | slice] = {
            "Y": slice(region.y, region.y + region.height),
            "X": slice(region.x, region.x + region.width),
        }
        chosen |= self.at(region.frame)
        if self.channel_axis:
            chosen[self.channel_axis] = channels
        return tuple(chosen.get(axis, 0) for axis in self.axes)


def plan_axes(
    axes: str,
    shape: Sequence[int],
    name: str,
    dtype: np.dtype[Any],
    *,
    facts: ChannelFacts | None = None,
    channel: ChannelChoice = None,
) -> AxisPlan:
    """Decide which axis is what.

    Parameters
    ----------
    axes
        Letters of the axes, one each, upper case.
    shape, dtype
        Shape and type of the array.
    name
        Name of the image, for the sentence.
    facts
        Facts that the file has on its channels.
    channel
        Channels that are asked for, by number or name.

    Raises
    ------
    ChannelsError
        If there are several channels that are no colour image, and none is asked for.
    InvalidOptionError
        If there is no such channel.
    UnsupportedImageError
        If rows or columns are missing or empty.
    """
    said = ", ".join(f"{axis} = {size}" for axis, size in zip(axes, shape, strict=True))
    if "Y" not in axes or "X" not in axes or prod(shape) == 0:
        raise UnsupportedImageError(
            f"Expected an image with rows and columns of at least one pixel in {name}; got {said}."
        )
    sizes = dict(zip(axes, shape, strict=True))
    stacks = [axis for axis in axes if axis not in "YXSC" and sizes[axis] > 1]
    colours = [axis for axis in "SC" if sizes.get(axis, 1) > 1]
    lengths = tuple((axis, int(sizes[axis])) for axis in stacks)
    if len(colours) > 1:
        return _of_coloured_channels(axes, sizes, lengths, (name, said), facts or ChannelFacts(), channel)
    channel_axis = colours[0] if colours else ""
    count = int(sizes.get(channel_axis, 1))
    known = facts or ChannelFacts()
    if channel is not None:
        picked = pick_channels(channel, known, count, name)
    elif channel_axis == "S" and known.colours_first:
        picked = (0, 1, 2)
    elif (channel_axis == "C" and (count != 3 or not known.are_red_green_blue(dtype))) or count > 4:
        raise ask_for_channels(known, count, said, name)
    else:
        picked = (0, 1, 2)[: 3 if count >= 3 else 1]
    offered = count > 1 and (channel is not None or channel_axis == "C" or count > 4)
    described = known.described(count) if offered else ()
    return AxisPlan(axes, channel_axis, lengths, picked, described)


def _of_coloured_channels(
    axes: str,
    sizes: Mapping[str, int],
    stacks: tuple[tuple[str, int], ...],
    told: tuple[str, str],
    facts: ChannelFacts,
    channel: ChannelChoice,
) -> AxisPlan:
    """Plan for channels each of which is in colours, as some cameras give them: one of them is shown."""
    count, (name, said) = int(sizes["C"]), told
    if channel is None:
        raise ask_for_channels(facts, count, said, name)
    picked = pick_channels(channel, facts, count, name)
    if len(picked) > 1:
        raise InvalidOptionError(
            f"Expected one channel of {name}, whose channels are in colours; got {len(picked)}."
        )
    colours = (0, 1, 2) if sizes["S"] >= 3 else (0,)
    return AxisPlan(axes, "S", stacks, colours, facts.described(count), (("C", picked[0]),))
