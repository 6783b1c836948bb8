"""All kinds of maps, and the options of those that have some; to add one, add it here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.maps.agreement import AGREEMENT
from napari_sslmaps.maps.attention import ACTIVATION, ATTENTION, AttentionOptions
from napari_sslmaps.maps.classes import CLASSES
from napari_sslmaps.maps.clusters import CLUSTERS, ClusterOptions
from napari_sslmaps.maps.contrast import contrast_words
from napari_sslmaps.maps.difference import DIFFERENCE
from napari_sslmaps.maps.evidence import EVIDENCE
from napari_sslmaps.maps.groups import GROUPS
from napari_sslmaps.maps.map_type import MapType
from napari_sslmaps.maps.pca import PCA, PcaOptions
from napari_sslmaps.maps.similarity import SIMILARITY, SimilarityOptions
from napari_sslmaps.maps.token_length import TOKEN_LENGTH
from napari_sslmaps.serialise import strict

MAP_TYPES: dict[str, MapType] = {
    kind.key: kind
    for kind in (
        ATTENTION,
        ACTIVATION,
        PCA,
        SIMILARITY,
        GROUPS,
        CLUSTERS,
        TOKEN_LENGTH,
        DIFFERENCE,
        AGREEMENT,
        EVIDENCE,
        CLASSES,
    )
}
"""By key, in the order of boxes and of columns of the figure."""


@strict
@dataclass(frozen=True, slots=True)
class MapOptions:
    """Options of maps; one field for each kind that has options, or for several that share them.

    Parameters
    ----------
    attention
        Options of attention: whose is shown, of which block and head.
    pca
        Options of principal components: how they are fitted and coloured.
    similarity
        Options of similarity: how tokens are compared with anchors and with groups of them.
    clusters
        Options of clusters: how many there are, and of which images.
    scale
        Neighbourhood that tokens are averaged over, in all maps that are made of them.
    """

    attention: AttentionOptions = field(default_factory=AttentionOptions)
    pca: PcaOptions = field(default_factory=PcaOptions)
    similarity: SimilarityOptions = field(default_factory=SimilarityOptions)
    clusters: ClusterOptions = field(default_factory=ClusterOptions)
    scale: TokenScale = field(default_factory=TokenScale)

    def changed_since(self, before: "MapOptions") -> list[str]:
        """Return the keys of maps that look different than with other options."""
        names = {item.name for item in fields(self) if getattr(self, item.name) != getattr(before, item.name)}
        redrawn = self.similarity.display != before.similarity.display
        return [
            kind.key
            for kind in selectable()
            if kind.options in names or (redrawn and kind.shared) or ("scale" in names and kind.follows_scale)
        ]


def selectable() -> list[MapType]:
    """Return the kinds that a user can choose."""
    return [kind for kind in MAP_TYPES.values() if kind.selectable]


def standard() -> tuple[str, ...]:
    """Return the keys of maps that are made where nobody says which are wanted."""
    return tuple(kind.key for kind in selectable() if kind.standard)


def besides_standard(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the standard maps and these, in order; nothing if that is the standard ones alone."""
    wanted = {*standard(), *keys}
    found = tuple(kind.key for kind in selectable() if kind.key in wanted)
    return () if found == standard() else found


def following_anchors() -> tuple[str, ...]:
    """Return the keys of maps that anchors decide."""
    return tuple(kind.key for kind in selectable() if kind.needs_anchors)


def check_keys(keys: Iterable[str]) -> None:
    """Refuse keys of no map that can be chosen.

    Raises
    ------
    InvalidOptionError
        If there is one; the sentence lists the keys there are.
    """
    known = [kind.key for kind in selectable()]
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise InvalidOptionError(
            f"Expected maps among {', '.join(known)}; got {', '.join(unknown)}. Choose from these."
        )


def map_type_of(result: TokenMap) -> MapType:
    """Return the entry of a result.

    Raises
    ------
    InvalidOptionError
        If its class is not registered.
    """
    kind = next((kind for kind in MAP_TYPES.values() if type(result) is kind.result), None)
    if kind is None:
        raise InvalidOptionError(
            f"Expected a map of a kind in MAP_TYPES; got a {type(result).__name__}. Register its kind."
        )
    return kind if kind.variant is None else kind.variant(result)


def stored_values(result: TokenMap) -> NDArray[Any]:
    """Return what files hold of a map: its labels if it is of labels, else its values."""
    if map_type_of(result).labels:
        labels: NDArray[np.int32] = result.labels  # type: ignore[attr-defined]  # every such map has them
        return labels
    return result.values


def caption(mark: Mapping[str, Any]) -> tuple[str, str]:
    """Say how a map was made, and what has to be known of it besides.

    Parameters
    ----------
    mark
        Metadata of its layer: ``map`` is the key, ``options`` are the facts; ``contrast`` may be missing.
    """
    facts = mark["options"]
    words = MAP_TYPES[mark["map"]].caption(facts)
    contrast = mark.get("contrast")
    if contrast is not None:
        words = f"{words} · {contrast_words(contrast)}"
    return words, str(facts.get("caution", ""))
