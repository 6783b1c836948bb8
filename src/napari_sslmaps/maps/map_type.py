"""Kind of map, as the rest of the package sees it: names, colours, contrast, making and describing it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.scale import at_scale

if TYPE_CHECKING:
    from napari_sslmaps.maps.attention import AttentionStack
    from napari_sslmaps.maps.groups import AnchorGroup
    from napari_sslmaps.maps.pca import ComponentBasis
    from napari_sslmaps.maps.registry import MapOptions

Display = Literal["fixed", "shared", "each"]
"""Contrast at the range of a cosine, stretched for all encoders together, or for each map by itself."""
Rule = Literal["percentiles", "range", "zero", "symmetric", "none"]
Facts = Mapping[str, Any]
"""JSON-ready: what a layer's metadata and a file's tags keep of how a map was made."""


@dataclass(frozen=True, slots=True, eq=False)
class MapInput:
    """Input of the maps of one embedding.

    Parameters
    ----------
    embedding
        Tokens of one encoder.
    options
        Options of all maps.
    anchors
        The group that similarity is to.
    groups
        Groups that are told apart.
    stack
        Attention that the embedding does not hold; None where none was computed.
    reference
        Embedding of another image that the anchors lie in, by the same encoder; None for this one.
    basis
        Components to apply; None to fit some.
    others
        Embeddings of other images by the same encoder and weights.
    previous
        Map as it was shown before; None where there was none.
    """

    embedding: Embedding
    options: "MapOptions"
    anchors: "AnchorGroup"
    groups: "Sequence[AnchorGroup]" = ()
    stack: "AttentionStack | None" = None
    reference: Embedding | None = None
    basis: "ComponentBasis | None" = None
    others: Sequence[Embedding] = ()
    previous: TokenMap | None = None

    @property
    def scale(self) -> float:
        """Standard deviation, in pixels of level 0, of the Gaussian that tokens are averaged over."""
        return self.options.scale.pixels(self.embedding)

    @property
    def reference_scale(self) -> float | None:
        """The same in pixels of the image that the anchors lie in; None if that is this one."""
        return None if self.reference is None else self.options.scale.pixels(self.reference)

    def averaged(self, embedding: Embedding) -> Embedding:
        """Return an embedding at the scale that is asked for."""
        return at_scale(embedding, self.options.scale)


def _no_facts(_result: Any) -> dict[str, Any]:
    return {}


def _no_words(_facts: Facts) -> str:
    return ""


def _untold(_result: Any) -> str:
    return ""


def _no_colours(_result: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MapType:
    """One kind of map.

    Parameters
    ----------
    key
        Name in records, files' tags, layers' metadata and options; never changed.
    result
        Class of its results.
    title
        Word for it in names of layers; `key` if empty.
    heading
        Heading over its column of the figure, beside its box and in menus; `title` if empty.
    tip
        A sentence that says what it shows.
    options
        Field of `MapOptions` that decides it; empty for none.
    slot
        Key of the map whose place it takes, as activation that of attention; empty for its own.
    colormap, opacity
        Colormap and opacity of its layer; colours and labels need no `colormap`.
    rule
        Limits of its contrast: ``percentiles`` 1–99; the ``range`` the values can have, unless the display
        stretches it; ``zero`` to the 99th percentile; ``symmetric`` about 0 to the 99th percentile of the
        magnitude; ``none`` for colours and labels.
    span
        Least upper limit of the rule ``zero``.
    shared
        Whether contrast can be common to encoders.
    labels
        Whether it is drawn as integers with a palette; the result then has `labels`.
    subtractable
        Whether `difference_map` takes two of it.
    needs_anchors
        Whether it follows anchors.
    follows_scale
        Whether it is made of tokens averaged over a neighbourhood, where that is asked for.
    selectable
        Whether it has a box in the window, a column of the figure and a file of a run.
    standard
        Whether it is made where nobody says which maps are wanted.
    make
        Function that makes it; None where the embedding, or what was asked for, does not give one.
    together
        Function that fits the maps of all encoders to each other, where the options ask for it: of each
        encoder those of all frames, which are turned alike.
    spans_encoders
        Whether, by its options, it can be made only when all embeddings are there.
    facts, caption
        Function that returns what is kept of a result; and one that makes of these facts a line for people.
    tag, note
        A word in the corner of a panel of the figure; a line under the column.
    palette
        Colours of the labels 1, 2, …, as ``#rrggbb``.
    variant
        Entry for one result, where title or colours depend on it.
    """

    key: str
    result: type[TokenMap]
    title: str = ""
    heading: str = ""
    tip: str = ""
    options: str = ""
    slot: str = ""
    colormap: str = "viridis"
    opacity: float = 0.65
    rule: Rule = "percentiles"
    span: float = 0.0
    shared: bool = False
    labels: bool = False
    subtractable: bool = False
    needs_anchors: bool = False
    follows_scale: bool = False
    selectable: bool = True
    standard: bool = True
    make: Callable[[MapInput], TokenMap | None] | None = None
    together: "Callable[[Sequence[Sequence[Any]], MapOptions], Sequence[Sequence[TokenMap]]] | None" = None
    spans_encoders: "Callable[[MapOptions], bool]" = lambda _options: False
    facts: Callable[[Any], dict[str, Any]] = _no_facts
    caption: Callable[[Facts], str] = _no_words
    tag: Callable[[Any], str] = _untold
    note: Callable[[Any], str] = _untold
    palette: Callable[[Any], tuple[str, ...]] = _no_colours
    variant: "Callable[[Any], MapType] | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.key)
        object.__setattr__(self, "heading", self.heading or self.title.capitalize())
        object.__setattr__(self, "slot", self.slot or self.key)


def where_words(facts: Facts) -> str:
    """Say which other image the anchors lie in; nothing if it is this one."""
    return f" in {facts['reference']}" if facts.get("reference") else ""


def centred_words(facts: Facts) -> str:
    """Say whether tokens were centred."""
    return ", centred" if facts["centred"] else ""


def scale_facts(sigma_px: float) -> dict[str, Any]:
    """Return what is kept of the neighbourhood that tokens were averaged over; nothing of single patches."""
    return {"sigma_px": sigma_px} if sigma_px else {}


def scale_words(facts: Facts) -> str:
    """Say over which neighbourhood tokens were averaged; nothing of single patches."""
    return f", over σ {facts['sigma_px']:.3g} px" if facts.get("sigma_px") else ""
