"""Zeiss CZI through pylibCZIrw, Zeiss's own reader; an extra."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.sources.axes import plan_axes
from napari_sslmaps.sources.base import (
    ImageLayout,
    SourceBase,
    SpacingYX,
    decoding,
    levels_from_shapes,
    spacing_um,
)
from napari_sslmaps.sources.channels import ChannelChoice, ChannelFacts

_STACKS = "TZC"
_DTYPES = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}
_DAMAGE = (RuntimeError, OSError, ValueError, KeyError, ET.ParseError)


class CziSource(SourceBase):
    """A CZI file: its tiles and scenes as one image, black where none was taken, with the levels it stores.

    Parameters
    ----------
    path
        CZI file by Zeiss.
    channel
        Channels that are wanted, by number or name.

    Raises
    ------
    MissingExtraError
        If pylibCZIrw is not installed.
    ChannelsError
        If it has channels that are no colour image, and none is asked for.
    UnsupportedImageError
        If it is damaged, or of several kinds of pixels.
    """

    def __init__(self, path: Path, channel: ChannelChoice = None) -> None:
        require_extra("formats")
        from pylibCZIrw import czi

        with decoding(path.name, "a readable CZI file", *_DAMAGE):
            self._file = czi.CziReader(str(path))
            kinds = set(self._file.pixel_types.values())
            if len(kinds) != 1 or not kinds <= set(_DTYPES):
                raise UnsupportedImageError(
                    f"Expected a CZI file of one kind of pixels among {', '.join(_DTYPES)}; {path.name} has "
                    f"{', '.join(sorted(kinds)) or 'none'}. Export it as OME-TIFF from ZEN."
                )
            (kind,) = kinds
            left, top, width, height = self._file.total_bounding_rectangle
            sizes = [self._file.total_bounding_box.get(axis, (0, 1)) for axis in _STACKS]
            shape = (
                *(stop - start for start, stop in sizes),
                height,
                width,
                *((3,) * kind.startswith("Bgr")),
            )
            axes = f"{_STACKS}YX{'S' * kind.startswith('Bgr')}"
            about = ET.fromstring(self._file.raw_metadata)  # noqa: S314  # libCZI has parsed it before
            dtype = np.dtype(_DTYPES[kind])
            plan = plan_axes(axes, shape, path.name, dtype, facts=_facts(about, shape[2]), channel=channel)
            factors = self._factors()
        self._plan, self._corner, self._factor = plan, (left, top), factors
        self._starts = {axis: start for axis, (start, _) in zip(_STACKS, sizes, strict=True)}
        self._file_name = path.name
        layout = ImageLayout(
            levels=levels_from_shapes([(height // factor, width // factor) for factor in factors]),
            channels=plan.channels,
            dtype=dtype,
            frames=plan.frames,
            notes=plan.notes,
            contents=plan.contents,
            spacing_um_yx=_spacing(about),
        )
        super().__init__(path.stem, layout)

    def _decode(self, region: Region) -> NDArray[Any]:
        with decoding(self._file_name, "a readable CZI file", *_DAMAGE):
            return self._plan.cut(_Planes(self, self._factor[region.level]), region)

    def plane(self, indices: tuple[int, ...], rows: slice, cols: slice, factor: int) -> NDArray[Any]:
        """Read (height, width, samples) of a plane, in pixels of the level that is `factor` times coarser."""
        left, top = self._corner
        box = (
            left + cols.start * factor,
            top + rows.start * factor,
            (cols.stop - cols.start) * factor,
            (rows.stop - rows.start) * factor,
        )
        at = {axis: self._starts[axis] + index for axis, index in zip(_STACKS, indices, strict=True)}
        wanted = {axis: index for axis, index in at.items() if axis in self._file.total_bounding_box}
        pixels: NDArray[Any] = self._file.read(box, wanted, zoom=1 / factor)
        return pixels[..., ::-1]

    def _factors(self) -> list[int]:
        """How many times coarser each level is; a level halves the one before."""
        coarsest = [1.0]

        def look(_index: int, block: Any) -> bool:
            coarsest[0] = min(coarsest[0], block.get_zoom())
            return True

        self._file.enumerate_subblocks(look)
        _, _, width, height = self._file.total_bounding_rectangle
        count = min(round(np.log2(1 / coarsest[0])), int(np.log2(max(1, min(width, height)))))
        return [2**level for level in range(count + 1)]

    def _release(self) -> None:
        self._file.close()


class _Planes:
    """A level as an array that `AxisPlan.cut` can cut."""

    def __init__(self, source: CziSource, factor: int) -> None:
        self._source, self._factor = source, factor

    def __getitem__(self, index: tuple[Any, ...]) -> NDArray[Any]:
        *stacks, rows, cols = index[:5]
        pixels = self._source.plane(tuple(stacks), rows, cols, self._factor)
        return pixels[..., index[5] if len(index) > 5 else 0]


def _facts(about: ET.Element, count: int) -> ChannelFacts:
    said = about.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = tuple(str(channel.get("Name", "")) for channel in said)
    return ChannelFacts(names) if len(names) == count else ChannelFacts()


def _spacing(about: ET.Element) -> SpacingYX:
    found = {item.get("Id"): item.findtext("Value") for item in about.findall(".//Scaling/Items/Distance")}
    return spacing_um(found.get("Y"), found.get("X"), 1e6)
