"""An annotation from a file: a label image, or the polygons of GeoJSON as QuPath exports them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import AnnotationError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation, fill_rings
from napari_sslmaps.serialise import read
from napari_sslmaps.sources.masks import read_mask, void_label

GEOJSON = ".geojson"
_LEFT_OUT = "Ignore*"
"""QuPath's class of what is not measured."""
_MOST_CLASSES = 10_000
_ONE = "annotated"
"""Class of all areas, where none has a class of its own."""
Rings = tuple[NDArray[np.float64], ...]
"""Rings of an area, (n, 2) as (row, column) of corners, filled by the even-odd rule: holes are holes."""


def read_annotation(
    path: Path,
    shape_yx: tuple[int, int],
    *,
    names: Mapping[int, str] | None = None,
    ignore: int | None = None,
) -> Annotation:
    """Read the annotation of an image.

    Parameters
    ----------
    path
        A label image that `read_mask` reads, or GeoJSON of polygons with classes, (x, y) in pixels of level 0
        from the corner of the first pixel. Of areas that overlap the smaller one lies on top; what reaches
        beyond the image is cut off. QuPath's class ``Ignore*`` is left out everywhere.
    shape_yx
        Height and width of the image's level 0.
    names
        Names of the classes, by label. Those of GeoJSON are numbered by them, otherwise from 1 by their names
        in order.
    ignore
        Label whose pixels are left out; if omitted, what `void_label` says of a label image.

    Raises
    ------
    AnnotationError
        If the file has no area, areas without a class beside others, classes that are not among the names, or
        does not fit the image.
    RecordError
        If it is no JSON.
    UnsupportedImageError
        If it is missing or damaged.
    """
    if path.suffix.lower() != GEOJSON:
        labels = read_mask(path)
        ignored = void_label(labels) if ignore is None else ignore
        return Annotation.from_labels(labels, shape_yx, names=names, ignore=ignored)
    areas = _areas_in(path)
    numbers = {name: number for number, name in (names or _numbered(areas)).items()}
    if len(numbers) > _MOST_CLASSES:
        raise AnnotationError(
            f"Expected at most {_MOST_CLASSES:,} classes; {path.name} has {len(numbers):,}. Set the classes "
            "of its areas in QuPath: their names may stand where classes should."
        )
    unknown = sorted({name for name, _ in areas} - numbers.keys() - {_LEFT_OUT})
    if unknown:
        raise AnnotationError(
            f"Expected the classes {', '.join(numbers)}; {path.name} has {', '.join(unknown)} besides. Name "
            "all of them with --classes, as they are written there."
        )
    areas.sort(key=lambda area: -max(float(np.ptp(ring, axis=0).prod()) for ring in area[1]))
    drawn = fill_rings(
        [rings for _, rings in areas], [numbers.get(name, IGNORE) for name, _ in areas], shape_yx
    )
    known = {number: name for name, number in numbers.items()}
    return Annotation.from_labels(drawn, shape_yx, names=known, ignore=ignore)


def names_in(path: Path) -> dict[int, str]:
    """Return the classes of a GeoJSON file by number, from 1 in the order of their names.

    Raises
    ------
    AnnotationError
        If it has no area, or areas without a class beside others.
    RecordError
        If it is no JSON.
    """
    return _numbered(_areas_in(path))


def _numbered(areas: list[tuple[str, Rings]]) -> dict[int, str]:
    return dict(enumerate(sorted({name for name, _ in areas} - {_LEFT_OUT}), start=1))


def _areas_in(path: Path) -> list[tuple[str, Rings]]:
    """Return class and rings of every polygon; points and lines have no area."""
    content = read(path, "an annotation")
    features = content.get("features", [content]) if isinstance(content, dict) else content
    found: list[tuple[str | None, Rings]] = []
    try:
        for feature in features:
            geometry = feature["geometry"]
            kind = _class_of(feature.get("properties") or {})
            found += [(kind, rings) for rings in _polygons(geometry)]
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise AnnotationError(
            f"Expected GeoJSON of features with a geometry; {path.name} holds something else ({error}). "
            "Export it from QuPath again, with File → Export objects as GeoJSON."
        ) from error
    without = sum(kind is None for kind, _ in found)
    if not found or 0 < without < len(found):
        said = f"{without} of {len(found)} areas have no class" if found else "there is none"
        raise AnnotationError(
            f"Expected areas with a class each in {path.name}; {said}. Draw them, and set their classes, in "
            "QuPath."
        )
    return [(kind or _ONE, rings) for kind, rings in found]


def _class_of(properties: Mapping[str, Any]) -> str | None:
    found = properties.get("classification")
    name = found.get("name") if isinstance(found, Mapping) else found
    return str(name) if name else None


def _polygons(geometry: Mapping[str, Any] | None) -> Iterator[Rings]:
    match geometry and geometry["type"]:
        case "Polygon" if geometry:
            yield _rings(geometry["coordinates"])
        case "MultiPolygon" if geometry:
            yield from map(_rings, geometry["coordinates"])
        case "GeometryCollection" if geometry:
            for part in geometry["geometries"]:
                yield from _polygons(part)


def _rings(coordinates: list[Any]) -> Rings:
    rings = [np.array([corner[:2] for corner in ring], float) for ring in coordinates]
    if not rings or not all(ring.shape[1:] == (2,) and len(ring) >= 3 and _is_near(ring) for ring in rings):
        raise ValueError("a polygon has fewer than three corners, or none of two numbers")
    return tuple(ring[:, ::-1] - 0.5 for ring in rings)


def _is_near(ring: NDArray[np.float64]) -> bool:
    return bool((np.abs(ring) < 2**40).all())
