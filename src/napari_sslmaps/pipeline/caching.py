"""Key of an embedding in the cache: what decides its numbers, in words that a file can hold."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.cache.entry import CacheEntry
from napari_sslmaps.cache.ome import Placement
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.moments import TokenMoments
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import user_path
from napari_sslmaps.pipeline.planning import EmbeddingPlan
from napari_sslmaps.sources.identity import FileIdentity

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_DECIDING = (
    "image_sha256",
    "window",
    "weights_sha256",
    "overrides",
    "normalisation",
    "precision",
    "tile",
    "overlap",
    "stitching",
    "torch_version",
    "mask_sha256",
)
"""Fields of the provenance that decide the numbers; names, places and the package's version do not."""
_MEAN, _COVARIANCE = "token_count_and_mean", "token_covariance"


def chosen_cache(cache: Cache | str | Path | bool | None) -> Cache | None:
    """Turn the argument of `embed` into a cache, or None.

    Raises
    ------
    InvalidOptionError
        If it is neither a cache nor its folder, True or False.
    """
    if cache is None or isinstance(cache, Cache):
        return cache
    if isinstance(cache, (str, Path)) and "\0" not in str(cache):
        return Cache(user_path(cache))
    if isinstance(cache, (bool, np.bool_)):
        return Cache() if cache else None
    raise InvalidOptionError(
        f"Expected cache as True, False, the path of a folder or a Cache; got {cache!r}."
    )


def entry_of(
    cache: Cache,
    planned: EmbeddingPlan,
    encoder: "Encoder",
    provenance: Provenance,
    file: FileIdentity | None,
    *,
    half: bool = False,
) -> CacheEntry:
    """Return the place of an embedding in the cache.

    Parameters
    ----------
    cache
        Cache to keep tiles in.
    planned, encoder, provenance
        Plan of the embedding, its encoder, and the provenance that it will have.
    file
        The image's file as it was when it was opened, if it is in one; a change until the end is noticed.
    half
        Whether tokens are kept in half precision.
    """
    described = provenance.to_dict()
    facts = {
        **{name: described[name] for name in _DECIDING},
        "region": described["region"],
        "architecture": architecture_to_dict(encoder.spec.architecture),
        "device": encoder.device.partition(":")[0],
        "tile_shape": planned.tiles[0].shape,
        **({"tokens": "float16"} if half else {}),
        **({"pass": [*planned.shift_yx, *planned.grid.shape]} if provenance.stride else {}),
    }
    about = {**described, "grid": planned.grid.shape, "tiles": len(planned.tiles)}
    return cache.entry(facts, about, file)


def pack_moments(moments: TokenMoments | None) -> dict[str, Any]:
    """Return moments as arrays that lie beside the planes: count and mean, covariance."""
    if moments is None:
        return {}
    return {_MEAN: np.r_[moments.count, moments.mean], _COVARIANCE: moments.covariance}


def unpack_moments(planes: dict[str, NDArray[Any]]) -> TokenMoments | None:
    """Take what `pack_moments` gave out of the planes."""
    mean, covariance = planes.pop(_MEAN, None), planes.pop(_COVARIANCE, None)
    if mean is None or covariance is None:
        return None
    return TokenMoments(int(mean[0]), mean[1:], covariance)


def placement_of(planned: EmbeddingPlan) -> Placement:
    """Say where the tokens lie on the image: in µm where the image has a spacing, else in pixels."""
    grid, spacing = planned.grid, planned.spacing_um_yx
    first = grid.token_to_pixel((0, 0))
    if spacing is None:
        return Placement(grid.stride_yx, (float(first[0]), float(first[1])))
    apart = planned.stride * spacing[0], planned.stride * spacing[1]
    per_pixel = apart[0] / grid.stride_yx[0], apart[1] / grid.stride_yx[1]
    return Placement(apart, (float(first[0]) * per_pixel[0], float(first[1]) * per_pixel[1]), "micrometer")
