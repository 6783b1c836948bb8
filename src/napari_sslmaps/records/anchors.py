"""A set of named anchors as a file, to be shown again or applied to another image."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.errors import RecordError, SSLMapsError
from napari_sslmaps.maps.groups import AnchorGroup, Point, check_on_grid
from napari_sslmaps.records.json import read_json, write_json

_KIND = "anchors"


@dataclass(frozen=True, slots=True)
class AnchorSet:
    """Groups of anchors, and the image they were set on.

    Parameters
    ----------
    groups
        The groups; positions are (row, column) pixels of level 0.
    image
        Its name.
    image_sha256
        Hash of the pixels of the region they were set on, as in its embedding's provenance; empty if unknown.
    shape_yx
        Height and width of its level 0.
    spacing_um_yx
        Micrometres per pixel of its level 0, or None.
    """

    groups: tuple[AnchorGroup, ...]
    image: str = ""
    image_sha256: str = ""
    shape_yx: tuple[int, int] = (0, 0)
    spacing_um_yx: tuple[float, float] | None = None

    def on_image(self, shape_yx: tuple[int, int]) -> tuple[AnchorGroup, ...]:
        """Return the groups for another image: the same pixels of it.

        Parameters
        ----------
        shape_yx
            Height and width of its level 0.

        Raises
        ------
        InvalidAnchorError
            If an anchor would lie outside it.
        """
        height, width = shape_yx
        whole = TokenGrid(
            rows=height, cols=width, stride_yx=(1, 1), origin_yx=(0, 0), extent_yx=(height, width)
        )
        check_on_grid(self.groups, whole)
        return self.groups


def save_anchors(anchors: AnchorSet, path: str | Path) -> Path:
    """Write a set of anchors, in JSON; an older file is replaced.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    path = Path(path)
    write_json(path, _KIND, asdict(anchors))
    return path


def load_anchors(path: str | Path) -> AnchorSet:
    """Read what `save_anchors` wrote.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else.
    """
    path = Path(path)
    content = read_json(path, _KIND, "a set of anchors")
    try:
        height, width = content["shape_yx"]
        spacing = content["spacing_um_yx"]
        return AnchorSet(
            groups=tuple(_group(entry) for entry in content["groups"]),
            image=str(content["image"]),
            image_sha256=str(content["image_sha256"]),
            shape_yx=(int(height), int(width)),
            spacing_um_yx=None if spacing is None else _point(spacing),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, SSLMapsError) else repr(error)
        raise RecordError(
            f"Expected a complete set of anchors; {path.name} does not fit together ({reason}). Undo edits "
            "made by hand, or save it again."
        ) from error


def _group(entry: Mapping[str, Any]) -> AnchorGroup:
    return AnchorGroup(
        name=str(entry["name"]),
        colour=str(entry["colour"]),
        anchors=tuple(_point(point) for point in entry["anchors"]),
        negative=tuple(_point(point) for point in entry["negative"]),
    )


def _point(values: Any) -> Point:
    row, col = values
    return float(row), float(col)
