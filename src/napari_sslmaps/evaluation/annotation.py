"""Annotation of an image by a user: integer labels, laid over its pixels and over token grids.

A pixel belongs to the token in which its centre lies. A pixel of level 0 takes the label of the annotation's
pixel in which its centre lies, so that a mask at another scale needs no copy at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from numpy.typing import ArrayLike, NDArray

from napari_sslmaps.core.arguments import check_fields
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.errors import AnnotationError

IGNORE = -1
_LARGEST = int(np.iinfo(np.int64).max)
_MOST_CLASSES = 255
_BAND = 4_000_000
_GRIDS = 4
"""Grids whose counts are kept."""
_LARGEST_DRAWING = 64_000_000
_MOST_DRAWN = 4 * 10**9
_HIGHEST = 32_767
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """Labels of an image's pixels; `from_labels` and `from_polygons` make one.

    Parameters
    ----------
    labels
        (H, W) integers: 0 is background, the negative of every class; −1 is left out everywhere.
    shape_yx
        Height and width of the image's level 0 in pixels, over which `labels` are spread.
    names
        Names of the classes, by label.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> labels = np.zeros((64, 64), np.uint8)
    >>> labels[:32] = 1
    >>> annotation = ssl.Annotation.from_labels(labels, (64, 64), names={1: "gland"})
    >>> annotation.kinds, annotation.names
    ((0, 1), {1: 'gland'})
    >>> boxes = [[(0, 0), (0, 31), (31, 31), (31, 0)]]
    >>> ssl.Annotation.from_polygons(boxes, ["gland"], (64, 64)).names
    {1: 'gland'}
    """

    labels: NDArray[np.integer[Any]]
    shape_yx: tuple[int, int]
    names: Mapping[int, str] = field(default_factory=dict)
    classes: tuple[int, ...] = field(init=False)
    """Labels above 0 that occur, in order."""
    _counted: dict[TokenGrid, Float] = field(init=False, repr=False, default_factory=dict)
    """Counts of the grids that were asked for last."""

    def __post_init__(self) -> None:
        check_fields(self)
        _check(self.labels, self.shape_yx)
        found = _distinct(self.labels)
        if found[0] < IGNORE:
            raise AnnotationError(
                f"Expected labels of 0 and above, or −1 for pixels to leave out; got {found[0]}. "
                "Give such a label as ignore=."
            )
        if found[-1] > _LARGEST:
            raise AnnotationError(
                f"Expected labels of at most {_LARGEST}; got {found[-1]}. Number the classes from 1 on."
            )
        classes = tuple(int(value) for value in found if value > 0)
        if len(classes) > _MOST_CLASSES:
            raise AnnotationError(
                f"Expected at most {_MOST_CLASSES} classes; got {len(classes)}. If each object has a number "
                "of its own, give all objects of a kind the same."
            )
        object.__setattr__(self, "classes", classes)

    @classmethod
    def from_labels(
        cls,
        array: ArrayLike,
        shape_yx: tuple[int, int],
        *,
        names: Mapping[int, str] | None = None,
        ignore: int | None = None,
    ) -> Self:
        """Take a label image of the whole image.

        Parameters
        ----------
        array
            (H, W) of integers or booleans, of the size of level 0 or of the same aspect at another scale.
        shape_yx
            Height and width of the image's level 0.
        names
            Names of the classes, by label.
        ignore
            A label whose pixels are left out, beside −1.

        Raises
        ------
        AnnotationError
            If the labels are no integers, below −1, beyond 64 bits with a sign, more than 255 classes, or of
            another shape.
        """
        labels = np.asarray(array)
        if labels.dtype == np.bool_:
            labels = labels.view(np.uint8)
        if ignore is not None and np.issubdtype(labels.dtype, np.integer):
            wide = np.promote_types(labels.dtype, np.int8)
            signed = wide if np.issubdtype(wide, np.signedinteger) else np.dtype(np.int64)
            labels = np.where(labels == ignore, IGNORE, labels.astype(signed))
        return cls(labels, (int(shape_yx[0]), int(shape_yx[1])), dict(names or {}))

    @classmethod
    def from_polygons(
        cls, polygons: Sequence[ArrayLike], kinds: Sequence[int] | Sequence[str], shape_yx: tuple[int, int]
    ) -> Self:
        """Fill polygons; where they overlap, the later one counts.

        Images of more than 64 million pixels are drawn at a coarser scale.

        Parameters
        ----------
        polygons
            Polygons, each (n, 2), the (row, column) of its corners in pixels of level 0.
        kinds
            The class of each: numbers (0 and −1 as in `labels`), or names, which are numbered from 1 as they
            first appear.
        shape_yx
            Height and width of the image's level 0.

        Raises
        ------
        AnnotationError
            If there is none, one has fewer than three corners, or their number is not that of the classes.
        """
        if not len(polygons) or len(polygons) != len(kinds):
            raise AnnotationError(
                f"Expected at least one polygon and a class for each; got {len(polygons)} polygons and "
                f"{len(kinds)} classes."
            )
        names, numbers = _numbered(kinds)
        places = [np.asarray(corners, float) for corners in polygons]
        for place in places:
            if place.ndim != 2 or place.shape[1] != 2 or len(place) < 3 or not np.isfinite(place).all():
                raise AnnotationError(
                    "Expected polygons of at least three (row, column) corners; got an array of shape "
                    f"{place.shape}. Draw shapes with an area."
                )
        labels = fill_rings([(place,) for place in places], numbers, shape_yx)
        return cls(labels, (int(shape_yx[0]), int(shape_yx[1])), names)

    @property
    def kinds(self) -> tuple[int, ...]:
        """Background and the classes: the last axis of `pixel_counts`."""
        return 0, *self.classes

    def name_of(self, kind: int) -> str:
        """Return the name of a class, or its number in words."""
        return self.names.get(kind, "background" if kind == 0 else f"class {kind}")

    def labels_at(self, pixel_yx: ArrayLike) -> NDArray[np.int64]:
        """Return the labels (n,) of the pixels nearest to (n, 2) positions on level 0."""
        places = np.floor(np.asarray(pixel_yx, float) + 0.5) + 0.5
        rows, cols = (
            np.clip(np.floor(along * size / whole).astype(int), 0, size - 1)
            for along, size, whole in zip(places.T, self.labels.shape, self.shape_yx, strict=True)
        )
        labels: NDArray[np.int64] = self.labels[rows, cols].astype(np.int64)
        return labels

    def pixel_counts(self, grid: TokenGrid) -> Float:
        """Count the level-0 pixels of each kind in each token; padding and ignored pixels count nowhere.

        Returns
        -------
        ndarray
            Number of pixels, (rows, cols, 1 + number of classes) float64, in the order of `kinds`; read-only,
            since every map on a grid is scored with the same.

        Raises
        ------
        AnnotationError
            If the region lies outside the annotated image.
        """
        counts = self._counted.get(grid)
        if counts is None:
            counts = self._count(grid)
            counts.setflags(write=False)
            if len(self._counted) >= _GRIDS:
                self._counted.clear()
            self._counted[grid] = counts
        return counts

    def crop(self, grid: TokenGrid) -> tuple[NDArray[np.integer[Any]], tuple[int, int]]:
        """Return the labels that lie on a grid's region, and the (row, column) of the first of them."""
        rows, cols = (_span(self._belonging(grid, axis)) for axis in (0, 1))
        return self.labels[slice(*rows), slice(*cols)], (rows[0], cols[0])

    def token_labels(self, grid: TokenGrid) -> NDArray[np.int64]:
        """Return the class that covers most of each token, (rows, cols); −1 where none is annotated.

        Of classes that cover as much, the lowest counts.
        """
        counts = self.pixel_counts(grid)
        labels = np.array(self.kinds)[counts.argmax(axis=-1)]
        return np.where(counts.any(axis=-1), labels, IGNORE)

    def check_scorable(self, grid: TokenGrid) -> None:
        """Refuse a region in which there is nothing to tell apart.

        Raises
        ------
        AnnotationError
            If the mask is empty, or the region has no annotated pixel or those of a single class.
        """
        if not self.classes:
            raise AnnotationError(
                "Expected an annotation with at least one class; this one is empty: all its pixels are "
                "background or left out. Paint or draw what you look for."
            )
        totals = self.pixel_counts(grid).sum(axis=(0, 1))
        present = [kind for kind, total in zip(self.kinds, totals, strict=True) if total > 0]
        if not present:
            raise AnnotationError(
                "Expected annotated pixels in the region; all of them are to be left out. Choose a region "
                "that the annotation covers."
            )
        if len(present) == 1:
            raise AnnotationError(
                f"Expected two kinds of pixels in the region; all are {self.name_of(present[0])!r}. Choose "
                "a region with both, or annotate the other."
            )

    def _count(self, grid: TokenGrid) -> Float:
        down, across = (self._belonging(grid, axis) for axis in (0, 1))
        counts = np.zeros((*grid.shape, len(self.kinds)))
        (first, last), (left, right) = _span(down), _span(across)
        step = max(1, _BAND // (right - left))
        across = across[:, left:right]
        for start in range(first, last, step):
            rows = slice(start, min(start + step, last))
            part = self.labels[rows, left:right]
            for index, kind in enumerate(self.kinds):
                along = across @ (part == kind).T.astype(np.float64)
                counts[..., index] += down[:, rows] @ along.T
        return counts

    def _belonging(self, grid: TokenGrid, axis: int) -> scipy.sparse.csr_array:
        """How many rows (columns) of level-0 pixels each token row shares with each one of the labels."""
        origin, extent = grid.origin_yx[axis], grid.extent_yx[axis]
        whole, size = self.shape_yx[axis], self.labels.shape[axis]
        if origin < -0.5 or origin + extent > whole + grid.stride_yx[axis]:
            raise AnnotationError(
                f"Expected a region inside the annotated image of {self.shape_yx[0]} × {self.shape_yx[1]} "
                f"px; it ends at {origin + extent:g} px of {'height' if axis == 0 else 'width'}. Give the "
                "annotation of this image."
            )
        pixels = np.arange(max(int(origin) - 1, 0), min(int(origin + extent) + 1, whole))
        offset = pixels - origin + 0.5  # as `TokenGrid.contains` has it, to the last digit
        pixels = pixels[(offset >= 0) & (offset < extent)]
        both = np.stack([pixels, pixels], axis=-1)
        token = np.floor(grid.pixel_to_token(both)[:, axis] + 0.5).astype(int)
        token = np.clip(token, 0, grid.shape[axis] - 1)
        place = np.minimum(np.floor((pixels + 0.5) * size / whole).astype(int), size - 1)
        return scipy.sparse.csr_array((np.ones(len(pixels)), (token, place)), shape=(grid.shape[axis], size))


def _span(belonging: scipy.sparse.csr_array) -> tuple[int, int]:
    """First row (column) of labels that any token touches, and the one after the last."""
    return int(belonging.indices.min()), int(belonging.indices.max()) + 1


def _check(labels: NDArray[Any], shape_yx: tuple[int, int]) -> None:
    if labels.ndim != 2 or 0 in labels.shape:
        raise AnnotationError(
            f"Expected labels of shape (rows, columns), one number per pixel; got an array of shape "
            f"{labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise AnnotationError(
            f"Expected whole numbers as labels; got {labels.dtype}. Round or threshold the mask first."
        )
    (height, width), (whole_y, whole_x) = labels.shape, shape_yx
    if min(abs(height - whole_y * width / whole_x), abs(width - whole_x * height / whole_y)) > 1:
        raise AnnotationError(
            f"Expected a mask of the image's size, {whole_y} × {whole_x} px, or of the same aspect at "
            f"another scale; got {height} × {width} px. Export the mask of the whole image."
        )


def _distinct(labels: NDArray[np.integer[Any]]) -> list[int]:
    """Distinct values in order; a look-up table is ten times as fast as sorting a large mask."""
    low, high = int(labels.min()), int(labels.max())
    if high - low > 1_000_000:
        return [int(value) for value in np.unique(labels)]
    seen = np.zeros(high - low + 1, bool)
    for row in labels:
        seen[row.astype(np.int64) - low] = True
    return [int(value) + low for value in np.flatnonzero(seen)]


def _numbered(kinds: Sequence[int] | Sequence[str]) -> tuple[dict[int, str], list[int]]:
    words = [kind for kind in kinds if isinstance(kind, str)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(words), start=1)}
    found = [numbers[kind] if isinstance(kind, str) else int(kind) for kind in kinds]
    if (words and len(words) != len(kinds)) or not IGNORE <= min(found) <= max(found) <= _HIGHEST:
        raise AnnotationError(
            f"Expected the class of each polygon as a number from 1 to {_HIGHEST}, or each as a name."
        )
    return {number: name for name, number in numbers.items()}, found


def fill_rings(
    areas: Sequence[Sequence[Float]], numbers: Sequence[int], shape_yx: tuple[int, int]
) -> NDArray[np.int16]:
    """Fill areas in order, each by the even-odd rule over its rings.

    Parameters
    ----------
    areas
        Rings of each area, (n, 2) as (row, column) of their corners in pixels of level 0.
    numbers
        Label of each area.
    shape_yx
        Height and width of the image's level 0; of more than 64 million pixels, labels are coarser.

    Raises
    ------
    AnnotationError
        If they lie so many times over each other that drawing them would take minutes.
    """
    from skimage import draw

    fill: Any = draw.polygon2mask  # scikit-image leaves it untyped

    factor = max(1, int(np.ceil(np.sqrt(shape_yx[0] * shape_yx[1] / _LARGEST_DRAWING))))
    shape = -(-shape_yx[0] // factor), -(-shape_yx[1] // factor)
    scale = np.divide(shape, shape_yx)
    labels = np.zeros(shape, np.int16)
    placed = [[(ring + 0.5) * scale - 0.5 for ring in rings] for rings in areas]
    boxes = [_box(np.concatenate(places), shape) for places in placed]
    times = sum(int((high - low).prod()) for low, high in boxes) // max(1, labels.size)
    if times * labels.size > _MOST_DRAWN:
        raise AnnotationError(
            f"Expected areas that lie side by side; the {len(areas):,} of this annotation lie {times:,} "
            "times over each other. Export those that are wanted."
        )
    for places, (low, high), number in zip(placed, boxes, numbers, strict=True):
        if (high > low).all():
            inside = np.logical_xor.reduce([fill(high - low, place - low) for place in places])
            labels[low[0] : high[0], low[1] : high[1]][inside] = number
    return labels


def _box(corners: Float, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first pixel that corners reach, and the one behind their last."""
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, shape)
    return low, np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low, shape)
