"""The maps of an embedding that are scored and shown."""

from typing import cast

from napari_sslmaps.compare.request import ComparedImage
from napari_sslmaps.core.attention import activation_map, attention_map
from napari_sslmaps.core.groups import AnchorGroup
from napari_sslmaps.core.pca import COMPONENTS, Foreground, pca_map
from napari_sslmaps.core.results import Combine, Embedding, Rendering, TokenMap
from napari_sslmaps.core.similarity import similarity_map
from napari_sslmaps.export.record import RunOptions


def maps_of(embedding: Embedding, image: ComparedImage, options: RunOptions) -> dict[str, TokenMap]:
    """Make every map that an embedding has, by kind.

    Parameters
    ----------
    embedding
        Of an encoder or a control; the latter may have neither attention nor activation.
    image
        Whose anchors similarity is measured to.
    options
        How.
    """
    maps: dict[str, TokenMap] = {}
    if embedding.attention is not None:
        maps["attention"] = attention_map(embedding, options.head)
    elif embedding.activation is not None:
        maps["activation"] = activation_map(embedding)
    if embedding.tokens.shape[-1] >= COMPONENTS:
        maps["pca"] = pca_map(
            embedding,
            rendering=cast("Rendering", options.rendering),
            foreground=cast("Foreground", options.foreground or None),
        )
    groups = {f"similarity, {group.name}": group for group in image.groups if len(group.anchors)}
    if image.anchors:
        groups["similarity"] = AnchorGroup("anchors", anchors=image.anchors, negative=image.negative)
    for kind, group in groups.items():
        maps[kind] = similarity_map(
            embedding,
            group.anchors,
            negative=group.negative,
            combine=cast("Combine", options.combine),
            centred=options.centred,
        )
    return maps
