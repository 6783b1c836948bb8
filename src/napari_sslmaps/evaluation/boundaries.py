"""Whether the boundaries of a map of labels run where those of an annotation do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import IGNORE, Annotation
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.maps.registry import MAP_TYPES, MapOptions

TOLERANCE = 0.0075
"""Tolerance as a fraction of the region's diagonal (Csurka et al. 2013, BMVC, doi 10.5244/C.27.32)."""
_LONGEST = 1024
Labels = NDArray[np.integer]
Bool = NDArray[np.bool_]


class LabelMap(Protocol):
    """A map of labels: a `ClusterMap` or a `GroupMap`."""

    @property
    def grid(self) -> TokenGrid:
        """Grid that its tokens lie on."""

    @property
    def labels(self) -> Labels:
        """Labels (rows, cols), 0 where there is none."""


@dataclass(frozen=True, slots=True)
class BoundaryScores:
    """Agreement of boundaries; all but the tolerance in [0, 1].

    Parameters
    ----------
    precision
        Fraction of the map's boundary that lies near one of the annotation; NaN if the map has none.
    recall
        Fraction of the annotation's boundary that lies near one of the map; NaN if the region has none.
    f1
        Harmonic mean of the two; 0 if the map has no boundary, NaN if the annotation has none.
    tolerance
        Distance up to which boundaries agree, in pixels of level 0.
    """

    precision: float
    recall: float
    f1: float
    tolerance: float


def boundary_f1(
    result: LabelMap, annotation: Annotation, *, tolerance: float | None = None
) -> BoundaryScores:
    """Compare the boundaries of a map of labels with those of an annotation.

    What a label stands for does not matter, only where it changes. Boundaries against pixels that are left
    out of the annotation, or tokens that have no label, do not count. Regions of more than 1024 px are
    compared on a lattice of 1024 positions along their longer side.

    Parameters
    ----------
    result
        Clusters, or groups of anchors: labels (rows, cols) of tokens.
    annotation
        Classes of the same image's pixels.
    tolerance
        Distance up to which boundaries agree, in pixels of level 0; if omitted, 0.75 % of the region's
        diagonal (Csurka et al. 2013, BMVC, doi 10.5244/C.27.32).

    Returns
    -------
    BoundaryScores
        Precision, recall and their harmonic mean.

    Raises
    ------
    InvalidOptionError
        If the tolerance is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(0, 0.1, (8, 8, 2))
    >>> tokens[:, 4:] += 3
    >>> clusters = ssl.cluster_map(ssl.Embedding.from_tokens(tokens, stride=16), 2)
    >>> labels = np.repeat([[1] * 64 + [2] * 64], 128, axis=0)
    >>> ssl.boundary_f1(clusters, ssl.Annotation.from_labels(labels, (128, 128))).f1
    1.0
    """
    height, width = result.grid.extent_yx
    allowed = TOLERANCE * float(np.hypot(height, width)) if tolerance is None else float(tolerance)
    if not allowed > 0:
        raise InvalidOptionError(f"Expected a tolerance above 0 px; got {tolerance}.")
    step = max(1.0, max(height, width) / _LONGEST)
    drawn, found = _on_lattice(result, annotation, step)
    there, mapped = _boundaries(drawn, drawn != IGNORE), _boundaries(found, found > 0)
    known = (drawn != IGNORE) & (found > 0)
    there, mapped = there & known, mapped & known
    precision, recall = _near(mapped, there, allowed / step), _near(there, mapped, allowed / step)
    if not there.any():
        return BoundaryScores(precision, float("nan"), float("nan"), allowed)
    total = np.nan_to_num(precision) + recall
    f1 = 2 * np.nan_to_num(precision) * recall / total if total else 0.0
    return BoundaryScores(precision, recall, float(f1), allowed)


def score_boundaries(
    embedding: Embedding, annotation: Annotation, options: MapOptions
) -> Mapping[str, Mapping[str, float]]:
    """Score every map of labels that needs no anchors: key of the map → its scores by name."""
    keys = tuple(key for key, kind in MAP_TYPES.items() if kind.labels and not kind.needs_anchors)
    maps = make_maps({"": embedding}, MapRequest(keys, options))[""]
    return {key: asdict(boundary_f1(cast("LabelMap", result), annotation)) for key, result in maps.items()}


def _on_lattice(result: LabelMap, annotation: Annotation, step: float) -> tuple[Labels, Labels]:
    """Return the annotation's and the map's labels at the same evenly spaced positions of the region."""
    grid = result.grid
    rows, cols = (
        origin + (np.arange(int(extent // step)) + 0.5) * step - 0.5
        for origin, extent in zip(grid.origin_yx, grid.extent_yx, strict=True)
    )
    positions = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
    shape = positions.shape[:2]
    tokens = np.clip(np.floor(grid.pixel_to_token(positions) + 0.5), 0, np.subtract(grid.shape, 1)).astype(
        int
    )
    drawn = annotation.labels_at(positions.reshape(-1, 2)).reshape(shape)
    return drawn, np.asarray(result.labels)[tokens[..., 0], tokens[..., 1]]


def _boundaries(labels: Labels, known: Bool) -> Bool:
    """Mark the positions on either side of a change between labels that are known."""
    marked = np.zeros(labels.shape, np.bool_)
    for before, after in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        changes = (labels[before] != labels[after]) & known[before] & known[after]
        marked[before] |= changes
        marked[after] |= changes
    return marked


def _near(these: Bool, those: Bool, allowed: float) -> float:
    """Fraction of positions that lie within a distance, in steps, of others; NaN of none."""
    if not these.any():
        return float("nan")
    if not those.any():
        return 0.0
    return float((ndimage.distance_transform_edt(~those)[these] <= allowed).mean())
