"""One colouring for the components of several encoders: their spaces turned onto each other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from napari_sslmaps.core.regrid import common_grid, regrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.pca import ComponentBasis, ComponentMap, render_scores, whitened_scores

_STRETCH = (2, 98)


def align_colours(maps: Sequence[ComponentMap], to: int = 0) -> list[ComponentMap]:
    """Turn the components of each map so that its colours come as near as they can to those of one map.

    Components of different encoders have no common axes: which is red is chance. Between the whitened scores
    of a map, X (N, 3), and those of the target, Y, on the common grid, the rotation or reflection R that
    minimises ‖X·R − Y‖ is the orthogonal Procrustes solution (Schönemann, doi 10.1007/BF02289451). No score
    is stretched: colours agree only as far as the encoders see the same.

    Parameters
    ----------
    maps
        Of one region, by any encoders.
    to
        Index of the map whose colours stay as they are.

    Returns
    -------
    list of ComponentMap
        In the given order; the target unchanged. Of the others `aligned_to` names the target's encoder, and
        the basis gives these colours again on other images of the same encoder.

    Raises
    ------
    InvalidOptionError
        If there is no such map, or the renderings differ.
    MapUnavailableError
        If a map has no scores, or fewer than three tokens are known in both.
    RegionError
        If the maps are of different regions.
    """
    if not 0 <= to < len(maps):
        raise InvalidOptionError(f"Expected a map from 0 to {len(maps) - 1} to align to; got {to}.")
    if len({found.rendering for found in maps}) > 1:
        raise InvalidOptionError("Expected maps of one rendering, stretch or whitened; got both.")
    target = maps[to]
    return [found if index == to else _align(found, target) for index, found in enumerate(maps)]


def rotation_between(first: ComponentMap, second: ComponentMap) -> NDArray[np.float64]:
    """Return the (3, 3) orthogonal matrix that turns whitened scores of the first map to those of the second.

    Raises
    ------
    MapUnavailableError
        If a map has no scores, or fewer than three tokens are known in both.
    """
    grid = common_grid([first.grid, second.grid])
    one, other = (regrid(_whitened(found), found.grid, grid) for found in (first, second))
    known = np.isfinite(one).all(axis=-1) & np.isfinite(other).all(axis=-1)
    if known.sum() < 3:
        raise MapUnavailableError(
            f"Expected at least three tokens that both maps know, to align colours; got {known.sum()}. Wait "
            "until more is computed."
        )
    rotation, _ = orthogonal_procrustes(one[known].astype(np.float64), other[known].astype(np.float64))
    turn: NDArray[np.float64] = rotation
    return turn


def _align(found: ComponentMap, target: ComponentMap) -> ComponentMap:
    rotation = rotation_between(found, target)
    scores: Float32 = _whitened(found) @ rotation.astype(np.float32)
    basis = found.basis
    spread = np.sqrt(np.where(basis.variance > 0, basis.variance, 1.0))
    low, high = np.nanpercentile(scores.reshape(-1, scores.shape[-1]), _STRETCH, axis=0)
    turned: ComponentBasis = replace(
        basis,
        components=rotation.T @ (basis.components / spread[:, None]),
        variance=np.ones_like(basis.variance),
        low=low,
        high=high,
        aligned_to=target.provenance.encoder,
    )
    values = render_scores(scores, turned, found.rendering)
    return replace(found, values=values, basis=turned, scores=scores)


def _whitened(found: ComponentMap) -> Float32:
    if found.scores is None:
        raise MapUnavailableError("Expected a component map with its scores; make it with pca_map again.")
    return whitened_scores(found.scores, found.basis)
