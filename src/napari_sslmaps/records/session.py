"""A session of the window as a file: image, region, encoders, options and view."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.segments import SegmentOptions
from napari_sslmaps.errors import RecordError
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.records.places import Places, place_in
from napari_sslmaps.serialise import dump, strict

_KIND = "session"
_MOST_CELLS = 1 << 26


@strict
@dataclass(frozen=True, slots=True)
class SessionView:
    """View of a session: the map and methods that were shown.

    Parameters
    ----------
    shown, front, against
        The map, the method in front, and the one that it is compared with.
    side_by_side, difference
        Whether cells or a difference were in view.
    centre_yx, zoom
        World position in the middle of the canvas, and canvas pixels per unit of the world.
    """

    shown: str = "similarity"
    front: str = ""
    against: str = ""
    side_by_side: bool = False
    difference: bool = False
    centre_yx: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0


@strict
@dataclass(frozen=True, slots=True)
class MapLook:
    """Look of the layers of one map.

    Parameters
    ----------
    map
        Key of the map.
    opacity
        Opacity in [0, 1].
    colormap
        Name of the colours; empty where the map is made of colours or labels.
    smooth
        Whether values are interpolated on the canvas.
    """

    map: str
    opacity: float
    colormap: str = ""
    smooth: bool = True


@strict
@dataclass(frozen=True, slots=True)
class SessionSearch:
    """Archive that was searched, and how.

    Parameters
    ----------
    store, images
        Paths of the folder of a batch, and of its images, as those of an image; empty for none.
    encoder
        Encoder whose tokens are searched; empty for the first.
    count, per_image, apart, other_images
        Limits, as `TokenIndex.search` takes them.
    """

    store: str = ""
    images: str = ""
    encoder: str = ""
    count: int = 50
    per_image: int = 5
    apart: float | None = None
    other_images: bool = False


@strict
@dataclass(frozen=True, slots=True)
class SessionLabels:
    """Labels that areas were made into, as they were when the session was saved.

    Parameters
    ----------
    name
        Name of the layer.
    grid
        Grid of its cells.
    runs
        Cells row by row: a label, how many cells have it one after another, the next label, …
    options
        Options that the areas were found by.
    frame
        Frame of the image that they lie on.

    Raises
    ------
    RecordError
        If the runs are no labels of the grid.
    """

    name: str
    grid: TokenGrid
    runs: tuple[int, ...]
    options: SegmentOptions = field(default_factory=SegmentOptions)
    frame: int = 0

    def __post_init__(self) -> None:
        cells, counts = self.grid.rows * self.grid.cols, self.runs[1::2]
        whole = len(self.runs) % 2 == 0 and min(counts, default=0) > 0 and sum(counts) == cells
        if not whole or cells > _MOST_CELLS or max(map(abs, self.runs[::2])) > np.iinfo(np.int32).max:
            raise RecordError(
                f"Expected a label for each of {cells} cells of {self.name!r}; there are others."
            )

    @classmethod
    def of(
        cls, name: str, labels: NDArray[np.integer[Any]], grid: TokenGrid, options: SegmentOptions, frame: int
    ) -> Self:
        """Keep labels, (rows, cols) of any whole number."""
        flat = np.ravel(labels)
        first = np.flatnonzero(np.diff(flat, prepend=flat[0] - 1))
        counts = np.diff(first, append=len(flat))
        runs = np.stack([flat[first].astype(np.int64), counts], axis=-1).ravel()
        return cls(name, grid, tuple(runs.tolist()), options, frame)

    @property
    def labels(self) -> NDArray[np.int32]:
        """Labels of the cells, (rows, cols)."""
        runs = np.array(self.runs, np.int64)
        return np.repeat(runs[::2], runs[1::2]).astype(np.int32).reshape(self.grid.rows, self.grid.cols)


@strict
@dataclass(frozen=True, slots=True)
class SessionRecord:
    """Record that makes a session again.

    Parameters
    ----------
    image, path
        Name of the image layer, and its file: by the way to it from a session that was saved, or its name
        alone, whole in one that stays on this machine or is of before; empty where there is none.
    image_sha256
        Hash of the pixels of the region, as in an embedding's provenance; empty where nothing was embedded.
    region
        Region that was embedded; None for the whole image, or where nothing was.
    frame
        Frame that was shown.
    encoders, maps
        Names of the ticked encoders, and keys of the ticked maps.
    options
        Options of all maps.
    groups
        Anchors with their groups.
    view
        View that was shown.
    file_bytes, file_sha256
        Size and hash of the image's file; 0 and empty where it has none, no hash of a large one.
    region_choice, rectangles
        Way in which the region was chosen, and the chosen rectangles: corners as (row, column) pixels of
        level 0.
    resolution, detail
        Resolution that the image was read at, and number of tokens along each axis of a patch.
    controls
        Names of the ticked controls.
    looks
        Colours, limits and visibility of the map layers.
    series
        Number of the image in a file that holds several; None where it holds one.
    channel
        Numbers of the channels that were read; empty where there is no choice.
    token_block, token_norm
        Block or stage, from 0, whose features the tokens are, None for each encoder's own; and whether they
        pass the final norm, where there is one.
    search
        Archive of the page Search; None where none was opened.
    areas, areas_shown
        Options of areas of similarity, and whether they were in view.
    labels
        Labels that areas were made into.
    annotation, annotation_sha256
        File of the annotation, like that of the image, and its hash; empty where it has none.
    """

    image: str
    path: str = ""
    image_sha256: str = ""
    region: Region | None = None
    frame: int = 0
    encoders: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    options: MapOptions = field(default_factory=MapOptions)
    groups: tuple[AnchorGroup, ...] = ()
    view: SessionView = field(default_factory=SessionView)
    file_bytes: int = 0
    file_sha256: str = ""
    region_choice: str = "whole"
    rectangles: tuple[tuple[tuple[float, float], ...], ...] = ()
    resolution: str = "trained"
    detail: int = 1
    controls: tuple[str, ...] = ()
    looks: tuple[MapLook, ...] = ()
    series: int | None = None
    channel: tuple[int, ...] = ()
    token_block: int | None = None
    token_norm: bool = True
    search: SessionSearch | None = None
    areas: SegmentOptions = field(default_factory=SegmentOptions)
    areas_shown: bool = False
    labels: tuple[SessionLabels, ...] = ()
    annotation: str = ""
    annotation_sha256: str = ""


def save_session(session: SessionRecord, path: Path, *, here: bool = False) -> Path:
    """Write a session as JSON.

    Parameters
    ----------
    session, path
        Session to write, and its file.
    here
        Whether it stays on this machine, where folders may be named as they are; otherwise they are written
        as `place_in` writes them.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    write_json(path, _KIND, dump(session if here else _placed(session, path.parent)))
    return path


def _placed(session: SessionRecord, folder: Path) -> SessionRecord:
    search = session.search
    if search is not None:
        store, images = (place_in(each, folder) for each in (search.store, search.images))
        search = replace(search, store=store, images=images)
    path, annotation = (place_in(each, folder) for each in (session.path, session.annotation))
    return replace(session, path=path, search=search, annotation=annotation)


def located_search(search: SessionSearch, folder: Path) -> SessionSearch:
    """Return an archive with its folders where they lie now, seen from the folder of the session."""
    places = Places(folder)
    store, images = (str(places.find(each, "")) if each else "" for each in (search.store, search.images))
    return replace(search, store=store, images=images)


def load_session(path: Path) -> SessionRecord:
    """Read a session.

    Raises
    ------
    RecordError
        If the file is no session.
    """
    return read_json(path, _KIND, SessionRecord, "session")
