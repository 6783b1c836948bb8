"""What a map's scores are made of: its values in order, and the pixels to be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import ComponentMap, TokenMap
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What is to be found in each token.

    Parameters
    ----------
    positive, negative
        (rows, cols) pixels.
    hits
        (rows, cols), 1 where the pixel at the centre is of the class, 0 where it is not, NaN where it is
        left out.
    """

    positive: Float
    negative: Float
    hits: Float

    @classmethod
    def of(cls, annotation: Annotation, grid: TokenGrid, kind: int | None) -> Self:
        """Look for one class, or for all together if `kind` is None."""

        def wanted(label: NDArray[np.int64]) -> NDArray[np.bool_]:
            return label > 0 if kind is None else label == kind

        counts = annotation.pixel_counts(grid)
        positive = counts[..., wanted(np.array(annotation.kinds))].sum(axis=-1)
        rows, cols = ((edges[1:] + edges[:-1]) / 2 for edges in grid.edges_yx)
        places = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)
        labels = annotation.labels_at(places).reshape(grid.shape)
        hits = np.where(labels == IGNORE, np.nan, wanted(labels))
        return cls(positive, counts.sum(axis=-1) - positive, hits)


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A map's values, sorted once for all classes.

    Parameters
    ----------
    values
        (rows, cols).
    known
        Where they are.
    distinct
        The values that occur, ascending.
    place
        Which of them each known token has.
    """

    values: Float
    known: NDArray[np.bool_]
    distinct: Float
    place: NDArray[np.intp]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Self:
        """Sort values, NaN where unknown."""
        wide = values.astype(np.float64)
        known = np.isfinite(wide)
        distinct, place = np.unique(wide[known], return_inverse=True)
        return cls(wide, known, distinct, place)

    @property
    def reversed(self) -> Plane:
        """The same values, negated."""
        last = len(self.distinct) - 1
        return Plane(-self.values, self.known, -self.distinct[::-1], last - self.place)

    def groups(self, target: Target) -> tuple[Float, Float]:
        """Return the pixels of the class and of others at each distinct value."""
        positive, negative = (
            np.bincount(self.place, part[self.known], minlength=len(self.distinct)).astype(np.float64)
            for part in (target.positive, target.negative)
        )
        return positive, negative


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """What of a map is scored.

    Parameters
    ----------
    by_name
        Planes by the variant that they are; of several the best is looked for, their reverses among them.
    """

    by_name: Mapping[str, Plane]

    @classmethod
    def of(cls, result: TokenMap, component: int | None) -> Self:
        """Take a map's values, or the component of a PCA map; see `score_map`."""
        if not np.issubdtype(result.values.dtype, np.floating):
            raise InvalidOptionError("Expected a map of real numbers; labels have no order to score.")
        if not isinstance(result, ComponentMap):
            if component is not None:
                raise InvalidOptionError("Expected no component, since the map is not one of PCA.")
            return cls({"": Plane.of(result.values)})
        # colours are clipped; the scores they were made of are not
        scores = result.values if result.scores is None else result.scores
        if component is None:
            return cls({f"component {index + 1}": Plane.of(scores[..., index]) for index in range(3)})
        if abs(component) not in {1, 2, 3}:
            raise InvalidOptionError(f"Expected a component 1, 2, 3, −1, −2 or −3; got {component}.")
        plane = Plane.of(scores[..., abs(component) - 1])
        name = f"component {abs(component)}"
        return cls({name: plane} if component > 0 else {f"{name}, reversed": plane.reversed})

    @property
    def first(self) -> Plane:
        """Any of them: all are known at the same tokens."""
        return next(iter(self.by_name.values()))
