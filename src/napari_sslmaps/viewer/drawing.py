"""How a map looks: its values as a layer's data, colours, contrast, and the record kept with it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.difference import DifferenceMap
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.groups import GroupMap
from napari_sslmaps.core.results import (
    ActivationMap,
    AttentionMap,
    ComponentMap,
    Float32,
    SimilarityMap,
    TokenMap,
)
from napari_sslmaps.viewer.workspace import Display

Limits = tuple[float, float]
DrawnMap = AttentionMap | ActivationMap | ComponentMap | SimilarityMap | GroupMap | DifferenceMap
COLORMAPS: dict[str, str] = {
    "attention": "inferno",
    "activation": "inferno",
    "similarity": "viridis",
    "difference": "RdBu_r",
}
_OPACITIES = {"pca": 0.8, "difference": 0.75}
_ROBUST = (1.0, 99.0)
_SHARED = ("attention", "similarity")


@dataclass(frozen=True, eq=False)
class Drawing:
    """A map or a panel of a pretext view, ready to become a layer.

    Parameters
    ----------
    kind
        Which of the maps, where an activation takes the place of an attention; or the panel's name.
    title
        Its word for layer names: attention, activation, pca or similarity; or the panel's name.
    encoder
        Name of the encoder.
    values
        (rows, cols) float32, NaN transparent; (rows, cols, 4) float32 RGBA; or (rows, cols) int32 labels.
    grid
        Where the tokens lie.
    limits
        Contrast limits; None for RGBA.
    record
        JSON-ready account of how it was made, for the layer's metadata.
    frame
        Frame of the image it belongs to.
    role
        ``map`` or ``pretext``; with kind and encoder it tells one layer of an image from another.
    colormap
        Of values that are no colours.
    opacity
        In [0, 1].
    smooth
        Whether values are interpolated on the canvas.
    result
        The map itself; None for a panel of a pretext view.
    palette
        Colours of the labels 1, 2, …; values are then integers, and 0 is transparent. Empty for other maps.
    """

    kind: str
    title: str
    encoder: str
    values: Float32 | NDArray[np.int32]
    grid: TokenGrid
    limits: Limits | None
    record: dict[str, Any]
    frame: int = 0
    role: str = "map"
    colormap: str = "viridis"
    opacity: float = 0.65
    smooth: bool = True
    result: TokenMap | None = None
    palette: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the layer."""
        return f"{self.title} · {self.encoder}"

    @property
    def rgb(self) -> bool:
        """Whether the values are colours."""
        return self.values.ndim == 3

    def with_limits(self, limits: Limits, rule: str) -> "Drawing":
        """Return the same drawing with other contrast limits, which `rule` tells."""
        return replace(self, limits=limits, record={**self.record, "contrast": _contrast(limits, rule)})


def draw(result: DrawnMap) -> Drawing:
    """Turn a map into a drawing with robust contrast."""
    if isinstance(result, GroupMap):
        return _draw_groups(result)
    if isinstance(result, DifferenceMap):
        return _draw_difference(result)
    if isinstance(result, ComponentMap):
        colours = {"rendering": result.rendering, "aligned_to": result.aligned_to}
        return _drawing(result, "pca", "pca", rgba(result.values), None, colours)
    options: dict[str, Any]
    if isinstance(result, SimilarityMap):
        options = {
            "anchors": [list(anchor) for anchor in result.anchors],
            "negative": [list(anchor) for anchor in result.negative],
            "centred": result.centred,
            "combine": result.combine,
            "reference": result.reference,
        }
        return _drawing(result, "similarity", "similarity", result.values, result.value_range, options)
    limits = robust_limits([result.values])
    if isinstance(result, ActivationMap):
        return _drawing(result, "attention", "activation", result.values, limits, {})
    options = {
        "attention_kind": result.kind,
        "reduction": result.reduction,
        "prefix_attention": result.prefix_attention,
        "caution": result.caution,
        "block": result.block,
        "anchor": None if result.anchor is None else list(result.anchor),
    }
    return _drawing(result, "attention", "attention", result.values, limits, options)


def _draw_groups(result: GroupMap) -> Drawing:
    options = {
        "groups": [asdict(group) for group in result.groups],
        "least": result.least,
        "centred": result.centred,
        "reference": result.reference,
    }
    drawing = _drawing(result, "groups", "groups", result.values, None, options)
    palette = tuple(group.colour or "#808080" for group in result.groups)
    return replace(drawing, values=result.labels, palette=palette)


def _draw_difference(result: DifferenceMap) -> Drawing:
    """Draw red where the first map is larger, blue where the second is; white lies at 0."""
    known = np.abs(result.values[np.isfinite(result.values)])
    end = float(np.percentile(known, _ROBUST[1])) if known.size else 1.0
    limits = (-end, end) if end > 0 else (-1.0, 1.0)
    options = {
        "first": result.provenance.encoder,
        "second": result.against.encoder,
        "of": result.kind,
        "scale": result.scale,
    }
    drawing = _drawing(result, "difference", f"difference of {result.kind}", result.values, limits, options)
    drawing = replace(drawing, colormap=COLORMAPS["difference"])
    return drawing.with_limits(limits, "symmetric")


def _drawing(
    result: DrawnMap,
    kind: str,
    title: str,
    values: Float32,
    limits: Limits | None,
    options: dict[str, Any],
) -> Drawing:
    provenance = result.provenance
    record = {"provenance": provenance.to_dict(), "options": options, "grid": asdict(result.grid)}
    if limits is not None:
        fixed = isinstance(result, SimilarityMap)
        record["contrast"] = _contrast(limits, "fixed" if fixed else "percentiles 1–99")
    frame = provenance.region.frame if provenance.region is not None else 0
    return Drawing(
        kind,
        title,
        provenance.encoder,
        values,
        result.grid,
        limits,
        record,
        frame,
        colormap=COLORMAPS.get(title, "viridis"),
        opacity=_OPACITIES.get(kind, 0.65),
        result=result,
    )


def _contrast(limits: Limits, rule: str) -> dict[str, Any]:
    return {"limits": list(limits), "rule": rule}


def rgba(colours: Float32) -> Float32:
    """Return (rows, cols, 3) colours as (rows, cols, 4), with alpha 0 where they are NaN."""
    known = np.isfinite(colours).all(axis=-1, keepdims=True)
    return np.concatenate([np.where(known, colours, 0), known], axis=-1, dtype=np.float32)


def robust_limits(maps: Sequence[NDArray[Any]]) -> Limits:
    """Return the 1st and 99th percentile of what is finite in all maps together, never equal."""
    finite = np.concatenate([values[np.isfinite(values)] for values in maps])
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, _ROBUST))
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * 1e-3)


def with_contrast(drawings: Sequence[Drawing], display: Display) -> list[Drawing]:
    """Set the contrast of similarity and attention as `display` asks, see `SimilarityOptions`.

    Activations stay: of different networks, they have no common scale.
    """
    rule, limits = "percentiles 1–99", {}
    if display == "shared":
        rule += " of all encoders"
        for title in _SHARED:
            alike = [item.values for item in drawings if item.title == title]
            limits[title] = robust_limits(alike) if alike else None
    done = []
    for item in drawings:
        chosen = limits.get(item.title)
        if item.title in _SHARED and display == "each":
            chosen = robust_limits([item.values])
        done.append(item if chosen is None else item.with_limits(chosen, rule))
    return done
