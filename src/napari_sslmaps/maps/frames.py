"""The maps of several frames, made alike: one basis of components, anchors of one frame for all."""

from collections.abc import Mapping, Sequence

from napari_sslmaps.core.frames import FrameEmbeddings, FrameMap
from napari_sslmaps.core.grid import Points
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.core.scale import at_scale
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.maps.attention import AttentionStack
from napari_sslmaps.maps.clusters import ClusterMap, cluster_map
from napari_sslmaps.maps.contrast import Limits, limits_of
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, make_maps
from napari_sslmaps.maps.map_type import Display, MapType
from napari_sslmaps.maps.pca import COMPONENTS, ComponentBasis, pca_map
from napari_sslmaps.maps.registry import MapOptions, check_keys, standard


def frame_maps(  # noqa: PLR0913  # a public call; its options are keywords
    embeddings: FrameEmbeddings,
    wanted: Sequence[str] = (),
    *,
    anchors: Points = (),
    negative: Points = (),
    anchor_frame: int | None = None,
    reference: Embedding | None = None,
    groups: Sequence[AnchorGroup] = (),
    options: MapOptions | None = None,
    basis: ComponentBasis | None = None,
    stacks: Sequence[AttentionStack | None] = (),
) -> dict[str, FrameMap]:
    """Make maps of frames, each of shape (frames, rows, cols), or with three colours.

    Components and clusters are fitted to all frames together. What is under the anchors in their frame is
    looked for in every frame.

    Parameters
    ----------
    embeddings
        Embeddings from ``embed(..., frames=...)``.
    wanted
        Keys of maps, such as ``pca`` and ``similarity``; those that are usually made if empty.
    anchors, negative
        (row, column) pixels of level 0; without anchors there is no similarity.
    anchor_frame
        Number of the frame that they lie in; the first if omitted.
    reference
        Tokens, by the same encoder, of another image that they lie in instead.
    groups
        Named groups of anchors, told apart in a map of labels.
    options
        Options of all maps.
    basis
        Components to apply instead of a fit.
    stacks
        Attention of each frame that embeddings do not hold.

    Returns
    -------
    dict
        Maps by key, those that the encoder gives.

    Raises
    ------
    InvalidOptionError
        If there is no such map.
    RegionError
        If the anchors' frame is not embedded.
    InvalidAnchorError
        If an anchor lies outside the region.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> clip = np.random.default_rng(0).integers(0, 255, (4, 32, 48), dtype=np.uint8)
    >>> encoder = ssl.load_encoder("mae-demo", device="cpu", precision="float32")
    >>> embedded = ssl.embed(ssl.open_image(clip, frames=True), encoder, frames=range(0, 4, 2))
    >>> maps = ssl.frame_maps(embedded, ["pca", "similarity"], anchors=[(16, 20)], anchor_frame=2)
    >>> maps["pca"].values.shape, maps["similarity"].frames
    ((2, 4, 6, 3), (0, 2))
    """
    keys, how = tuple(wanted) or standard(), options or MapOptions()
    check_keys(keys)
    at = embeddings.frames[0] if anchor_frame is None else anchor_frame
    name = embeddings[0].provenance.encoder
    request = MapRequest(
        keys,
        how,
        AnchorGroup("anchors", anchors=tuple(anchors), negative=tuple(negative)),
        tuple(groups) if any(group.anchors for group in groups) else (),
        _one_basis(embeddings, how, basis, name) if "pca" in keys else {},
        {name: reference or embeddings.of_frame(at)} if anchors or groups else None,
    )
    given = [*stacks, *[None] * (len(embeddings) - len(stacks))]
    made = [
        make_maps({name: one}, request, stacks={} if stack is None else {name: stack})[name]
        for one, stack in zip(embeddings, given, strict=True)
    ]
    found = {key: FrameMap(embeddings.frames, tuple(maps[key] for maps in made)) for key in made[0]}
    if "clusters" in found:
        averaged = [at_scale(one, how.scale) for one in embeddings]
        clusters: Sequence[ClusterMap] = cluster_map(averaged, how.clusters.count)
        found["clusters"] = FrameMap(embeddings.frames, tuple(clusters))
    return found


def common_limits(kind: MapType, frames: FrameMap, display: Display = "shared") -> Limits | None:
    """Return one contrast for the maps of all frames; None for colours and labels."""
    found = [ends for ends in limits_of(kind, frames.maps, display) if ends is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _one_basis(
    embeddings: FrameEmbeddings, options: MapOptions, basis: ComponentBasis | None, name: str
) -> Mapping[str, ComponentBasis]:
    if basis is not None:
        return {name: basis}
    if embeddings[0].tokens.shape[-1] < COMPONENTS:
        return {}
    foreground = options.pca.foreground or None
    averaged = [at_scale(one, options.scale) for one in embeddings]
    try:
        fitted = pca_map(averaged, rendering=options.pca.rendering, foreground=foreground)  # type: ignore[arg-type]  # checked there
    except MapUnavailableError:
        return {}
    return {name: fitted[0].basis}
