"""Places that were found, as a table, JSON and a contact sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.core.findings import Table
from napari_sslmaps.core.preprocess import auto_window
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Float32
from napari_sslmaps.core.units import told_apart
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.figures.panels import INK, Extent, draw_anchors, framed
from napari_sslmaps.figures.panels import draw_image as draw
from napari_sslmaps.figures.run_figure import save_figure
from napari_sslmaps.inputs.images import open_named
from napari_sslmaps.records.claim import check_claim, remove_own
from napari_sslmaps.records.csv import write_csv
from napari_sslmaps.records.json import write_json
from napari_sslmaps.search.images import check_as_embedded, image_file
from napari_sslmaps.search.query import Place, output_of
from napari_sslmaps.sources.protocol import ImageSource

_COLUMNS, _SIDE_IN, _SHOWN = 8, 1.2, 18
"""Pictures in a row, their side in inches, letters of a name that fit below one."""
_TOKENS = 12
"""Tokens along a side of what is shown around a place."""


def place_table(places: Sequence[Place]) -> Table:
    """Return places as rows, the most alike first."""
    rows = tuple(
        (rank, one.name, round(one.y, 1), round(one.x, 1), one.similarity)
        for rank, one in enumerate(places, start=1)
    )
    note = (
        "Similarity: cosine of tokens less the mean of the archive. Rows and columns are pixels of level 0."
    )
    return Table("Places", ("Rank", "Image", "Row", "Column", "Similarity"), rows, (note,), "places")


def image_files(places: Sequence[Place], roots: Sequence[Path]) -> dict[str, Path]:
    """Find the images of places, whose store tells no more than a path below some folder.

    Parameters
    ----------
    places
        Places that were found.
    roots
        Folders that images may lie in.

    Returns
    -------
    dict
        Image → file, of those that are there.
    """
    found = {place.image: image_file(place.name, place.image, roots) for place in places}
    return {image: path for image, path in found.items() if path is not None}


def as_embedded(
    places: Sequence[Place], files: Mapping[str, Path], store: Path, encoder: str
) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Leave out the files that are not the images whose tokens a store has.

    Returns
    -------
    files, notes
        Image → file of those that are, and a sentence for each of the others.
    """
    kept, notes = dict(files), []
    for place in {place.image: place for place in places if place.image in files}.values():
        try:
            check_as_embedded(place.name, files[place.image], output_of(place, store, encoder))
        except SSLMapsError as error:
            notes.append(str(error))
            del kept[place.image]
    return kept, tuple(notes)


def write_places(places: Sequence[Place], folder: Path, files: Mapping[str, Path]) -> None:
    """Write ``places.csv``, ``places.json`` and the contact sheet ``places.png``.

    Parameters
    ----------
    places, folder
        Places to write, and the folder for the files.
    files
        Image files from `image_files`; without any there is no contact sheet, and that of an earlier search
        goes.

    Raises
    ------
    ExportError
        If they cannot be written, or a file there that would be replaced is not this package's.
    """
    check_claim(folder, ("places.csv", "places.json", "places.png"), record="places.json")
    write_csv(place_table(places), folder / "places.csv")
    write_json(folder / "places.json", "places", {"places": [asdict(one) for one in places]})
    if files:
        save_figure(contact_sheet(places, files), folder / "places.png")
    else:
        remove_own(folder, ("places.png",))


def contact_sheet(places: Sequence[Place], files: Mapping[str, Path]) -> Figure:
    """Draw what lies around each place, marked by an ×; an image that is not there leaves its panel empty."""
    rows = -(-len(places) // _COLUMNS)
    columns = min(_COLUMNS, len(places))
    width, height = columns * _SIDE_IN, rows * (_SIDE_IN + 0.32)
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    names = told_apart([place.name for place in places], _SHOWN)
    for number, place in enumerate(places):
        row, column = divmod(number, _COLUMNS)
        bottom = 1 - (row * (_SIDE_IN + 0.32) + _SIDE_IN) / height
        box = (
            (column + 0.03) / columns,
            bottom,
            0.94 / columns,
            0.94 * _SIDE_IN / height,
        )
        axes = framed(figure, box, _extent(place))
        try:
            if place.image in files:
                with open_named(str(files[place.image])) as source:
                    draw(axes, *around(place, source))
                draw_anchors(axes, [(place.y, place.x)])
        except SSLMapsError:
            axes.set_facecolor("white")
        words = f"{number + 1} · {place.similarity:.2f}\n{names[place.name]}"
        axes.set_xlabel(words, fontsize=5, color=INK, labelpad=2)
    return figure


def _extent(place: Place) -> Extent:
    side_y, side_x = (_TOKENS * px for px in place.token_px)
    return Extent(place.y - side_y / 2, place.x - side_x / 2, side_y, side_x)


def around(place: Place, source: ImageSource) -> tuple[Float32, Extent]:
    """Read what lies around a place, and where that is.

    Parameters
    ----------
    place, source
        Place that was found, and the image that it lies in.

    Returns
    -------
    tuple
        (height, width) or (height, width, 3) numbers in [0, 1], of the level that was embedded; their extent
        in pixels of level 0.

    Raises
    ------
    UnsupportedImageError
        If the image cannot be read.
    """
    level = min(place.level, len(source.levels) - 1)
    (height, width), (factor_y, factor_x) = source.levels[level].shape_yx, source.levels[level].downsample_yx
    wanted = _extent(place)
    top = min(max(0, round(wanted.y / factor_y)), height - 1)
    left = min(max(0, round(wanted.x / factor_x)), width - 1)
    bottom = min(height, round((wanted.y + wanted.height) / factor_y))
    right = min(width, round((wanted.x + wanted.width) / factor_x))
    region = Region(top, left, max(1, bottom - top), max(1, right - left), level, place.frame)
    pixels = source.read(region)
    low, high = auto_window(pixels, float(pixels.min()), float(pixels.max()))
    unit = np.clip((pixels.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1)
    extent = Extent(top * factor_y, left * factor_x, region.height * factor_y, region.width * factor_x)
    return unit, extent
