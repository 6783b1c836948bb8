"""A set of named anchors as a file, to be shown again or applied to another image."""

from dataclasses import dataclass
from pathlib import Path

from napari_sslmaps.core.arguments import check_fields
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import user_path
from napari_sslmaps.maps.groups import AnchorGroup, check_on_grid
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump, strict

_KIND = "anchors"


@strict
@dataclass(frozen=True, slots=True)
class AnchorSet:
    """Groups of anchors, and the image they were set on.

    Parameters
    ----------
    groups
        The groups; positions are (row, column) pixels of level 0.
    image
        Name of the image.
    image_sha256
        Hash of the pixels of the region they were set on, as in its embedding's provenance; empty if unknown.
    shape_yx
        Height and width of its level 0.
    spacing_um_yx
        Micrometres per pixel of its level 0, or None.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> groups = ssl.AnchorGroup("gland", anchors=[(12, 20)]), ssl.AnchorGroup("stroma", anchors=[(40, 8)])
    >>> anchors = ssl.AnchorSet(groups, image="slide.tif", shape_yx=(64, 64))
    >>> [group.name for group in anchors.groups]
    ['gland', 'stroma']
    """

    groups: tuple[AnchorGroup, ...]
    image: str = ""
    image_sha256: str = ""
    shape_yx: tuple[int, int] = (0, 0)
    spacing_um_yx: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

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

    Parameters
    ----------
    anchors
        Groups of anchors and the image they were set on.
    path
        The file, in JSON; an older one is replaced.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ExportError
        If the file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import napari_sslmaps as ssl
    >>> anchors = ssl.AnchorSet((ssl.AnchorGroup("gland", anchors=[(12, 20)]),), shape_yx=(64, 64))
    >>> with TemporaryDirectory() as folder:
    ...     ssl.save_anchors(anchors, f"{folder}/anchors.json").name
    'anchors.json'
    """
    path = user_path(path)
    write_json(path, _KIND, dump(anchors))
    return path


def load_anchors(path: str | Path) -> AnchorSet:
    """Read what `save_anchors` wrote.

    Parameters
    ----------
    path
        JSON file to read.

    Returns
    -------
    AnchorSet
        Equal to the one that was saved; positions are pixels of level 0 of its image.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import napari_sslmaps as ssl
    >>> anchors = ssl.AnchorSet((ssl.AnchorGroup("gland", anchors=[(12, 20)]),), shape_yx=(64, 64))
    >>> with TemporaryDirectory() as folder:
    ...     ssl.load_anchors(ssl.save_anchors(anchors, f"{folder}/anchors.json")).groups[0].anchors
    ((12.0, 20.0),)
    """
    return read_json(user_path(path), _KIND, AnchorSet, "a set of anchors")


def first_group(path: str | Path) -> AnchorGroup:
    """Read the first group of a set that has an anchor.

    Raises
    ------
    RecordError
        If the file is missing, damaged or holds something else, or no group has one.
    """
    found = next((group for group in load_anchors(path).groups if group.anchors), None)
    if found is None:
        raise RecordError(
            f"Expected a set with at least one anchor; {Path(path).name} has none. Choose another file."
        )
    return found
