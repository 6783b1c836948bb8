"""The maps of an embedding that are scored and shown."""

from dataclasses import replace
from typing import cast

from napari_sslmaps.compare.request import ComparedImage
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.maps.attention import ActivationMap
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.similarity import Combine, similarity_map
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.run.maps import attention_of, components_of, stack_of


def maps_of(
    embedding: Embedding, image: ComparedImage, options: RunOptions, encoder: Encoder | None = None
) -> dict[str, TokenMap]:
    """Make every map that an embedding has, by kind.

    Parameters
    ----------
    embedding
        Of an encoder or a control; the latter may have neither attention nor activation.
    image
        Whose anchors similarity is measured to.
    options
        How.
    encoder
        What made it, for attention that an embedding does not hold; None of a control.
    """
    maps: dict[str, TokenMap] = {}
    stack = None if encoder is None else stack_of(embedding, encoder, options, image.anchors)
    shown = attention_of(embedding, stack, options)
    if shown is not None:
        maps["activation" if isinstance(shown, ActivationMap) else "attention"] = shown
    (components,) = components_of([embedding], replace(options, aligned=False))
    if components is not None:
        maps["pca"] = components
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
