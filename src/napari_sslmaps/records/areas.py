"""Areas of an image as files: GeoJSON for QuPath, a table, and OME-Zarr labels."""

from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.cache.ome import Placement, multiscale
from napari_sslmaps.core.segments import Segments
from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import written_whole
from napari_sslmaps.records.json import write_object

COLUMNS = ("area", "row_px", "col_px", "area_px", "area_um2", "mean")


def geojson_of(
    found: Segments, name: str, colour: str, um_per_px: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Return areas as a GeoJSON FeatureCollection of annotations, as QuPath reads it.

    Parameters
    ----------
    found
        Areas to write.
    name
        Class that they get.
    colour
        ``#rrggbb`` of the class.
    um_per_px
        Micrometres per pixel of level 0, (y, x); None where not known.

    Returns
    -------
    dict
        Polygons with holes, (x, y) in pixels of level 0, the corner of the first pixel at (0, 0).

    Notes
    -----
    Keys follow QuPath's export: https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
    """
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    rows = table_of(found, um_per_px)
    features = []
    for number, row in enumerate(rows, start=1):
        polygons = outlines(found, number)
        geometry: dict[str, Any] = {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) > 1:
            geometry = {"type": "MultiPolygon", "coordinates": polygons}
        measured = {key: row[key] for key in COLUMNS[3:] if row[key] is not None}
        features.append(
            {
                "type": "Feature",
                "id": str(uuid5(NAMESPACE_URL, f"{name}/{number}/{row['row_px']}/{row['col_px']}")),
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "name": f"{name} {number}",
                    "classification": {"name": name, "color": rgb},
                    "measurements": measured,
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def outlines(found: Segments, number: int) -> list[list[list[list[float]]]]:
    """Return the outlines of an area: polygons of rings, the outer one first, of [x, y] pixel corners."""
    inside = found.labels == number
    rows, cols = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    first = np.array([rows[0], cols[0]])
    part = inside[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    rings = [_closed(ring, first, found) for ring in _rings(part)]
    outer = [ring for ring in rings if _signed_area(ring) > 0]
    holes = [ring for ring in rings if _signed_area(ring) <= 0]
    polygons = [[ring] for ring in outer]
    for hole in holes:
        around = [p for p in polygons if _holds(p[0], hole[0])]
        min(around or polygons, key=lambda p: _signed_area(p[0])).append(hole)
    return polygons


def table_of(found: Segments, um_per_px: tuple[float, float] | None = None) -> list[dict[str, Any]]:
    """Return a row of `COLUMNS` for each area; centre and size in pixels of level 0, µm² where known."""
    factor = None if um_per_px is None else um_per_px[0] * um_per_px[1]
    rows = []
    for number, (size, mean) in enumerate(zip(found.sizes_px, found.means, strict=True), start=1):
        y, x = found.centre_px(number)
        um2 = None if factor is None else round(size * factor, 3)
        values = (number, round(y, 2), round(x, 2), size, um2, round(mean, 5))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def write_areas(
    path: Path, found: Segments, name: str, colour: str, um_per_px: tuple[float, float] | None = None
) -> Path:
    """Write areas by the suffix of a path: ``.geojson``, ``.csv`` or ``.zarr``; GeoJSON without one.

    Raises
    ------
    ExportError
        If the suffix is another one.
    OSError
        If it cannot be written.
    """
    path = path if path.suffix else path.with_suffix(".geojson")
    if path.suffix == ".geojson":
        write_object(path, geojson_of(found, name, colour, um_per_px))
    elif path.suffix == ".csv":
        with written_whole(path) as part:
            part.write_text(_csv(table_of(found, um_per_px)), encoding="utf-8")
    elif path.suffix == ".zarr":
        _write_zarr(path, found, um_per_px)
    else:
        raise ExportError(f"Expected .geojson, .csv or .zarr; got {path.name!r}.")
    return path


def _csv(rows: list[dict[str, Any]]) -> str:
    lines = [["" if row[key] is None else repr(row[key]) for key in COLUMNS] for row in rows]
    return "\n".join(",".join(line) for line in [list(COLUMNS), *lines]) + "\n"


def _write_zarr(path: Path, found: Segments, um_per_px: tuple[float, float] | None) -> None:
    """Write an OME-Zarr 0.5 image of labels, with colours left to the reader."""
    import zarr  # takes a third of a second

    grid, spacing = found.grid, um_per_px or (1.0, 1.0)
    first = grid.token_to_pixel((0, 0))
    place = Placement(
        (grid.stride_yx[0] * spacing[0], grid.stride_yx[1] * spacing[1]),
        (float(first[0]) * spacing[0], float(first[1]) * spacing[1]),
        "micrometer" if um_per_px else "",
    )
    group = zarr.create_group(path, zarr_format=3, overwrite=True)
    group.create_array("0", data=found.labels, dimension_names=("y", "x"))
    about = {"colors": [], "properties": [{"label-value": n} for n in range(1, len(found.sizes_px) + 1)]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [multiscale(path.stem, ("y", "x"), place, "0")],
        "image-label": about,
    }


def _rings(inside: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Walk along the edges of cells with the inside to the right; rings of (row, col) corners."""
    padded = np.pad(inside, 1)
    around = [np.roll(padded, way, axis) for axis in (0, 1) for way in (-1, 1)]
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, col in np.argwhere(padded & ~np.logical_and.reduce(around)):
        r, c = int(row), int(col)
        sides = (
            ((r - 1, c), (r, c), (r, c + 1)),
            ((r, c + 1), (r, c + 1), (r + 1, c + 1)),
            ((r + 1, c), (r + 1, c + 1), (r + 1, c)),
            ((r, c - 1), (r + 1, c), (r, c)),
        )
        for (y, x), start, end in sides:
            if not padded[y, x]:
                ways.setdefault(start, []).append(end)
    rings = []
    while ways:
        start = next((at for at, ends in ways.items() if len(ends) == 1), next(iter(ways)))
        ring, at, before = [start], start, (0, 0)
        while True:
            ends = ways[at]
            # at a corner where two cells touch, turn right: they are apart
            end = (
                ends[0]
                if len(ends) == 1
                else max(ends, key=lambda e: _turn(before, (e[0] - at[0], e[1] - at[1])))
            )
            ends.remove(end)
            if not ends:
                del ways[at]
            before, at = (end[0] - at[0], end[1] - at[1]), end
            if at == start:
                break
            ring.append(at)
        rings.append([(r - 1, c - 1) for r, c in ring])
    return rings


def _turn(before: tuple[int, int], after: tuple[int, int]) -> int:
    return before[1] * after[0] - before[0] * after[1]


def _closed(ring: list[tuple[int, int]], first: NDArray[np.int_], found: Segments) -> list[list[float]]:
    """Return a ring as [x, y] corners in pixels, none on a straight edge, the first again at the end."""
    corners = [
        at
        for before, at, after in zip((ring[-1], *ring[:-1]), ring, (*ring[1:], ring[0]), strict=True)
        if _turn((at[0] - before[0], at[1] - before[1]), (after[0] - at[0], after[1] - at[1]))
    ]
    origin, stride = np.array(found.grid.origin_yx), np.array(found.grid.stride_yx)
    end = origin + found.grid.extent_yx
    places = np.minimum(origin + (np.array(corners) + first) * stride, end)
    closed = [[float(x), float(y)] for y, x in places]
    return [*closed, closed[0]]


def _signed_area(ring: list[list[float]]) -> float:
    x, y = np.array(ring).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def _holds(ring: list[list[float]], point: list[float]) -> bool:
    """Whether a corner lies in a ring, or on it; of a hole's corners all do."""
    x, y = np.array(ring).T
    low, high = (x.min(), y.min()), (x.max(), y.max())
    return bool(low[0] <= point[0] <= high[0] and low[1] <= point[1] <= high[1])
