"""The figure: rows are encoders; columns image, attention, PCA and similarity. No pyplot, no global state."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    Extent,
    Layout,
    Scale,
    draw_anchors,
    draw_grid,
    draw_image,
    draw_scale_bar,
    draw_tag,
    framed,
)
from napari_sslmaps.files import written_whole
from napari_sslmaps.maps.attention import ActivationMap, AttentionMap
from napari_sslmaps.maps.pca import ComponentMap
from napari_sslmaps.maps.similarity import SimilarityMap

FORMATS = ("png", "pdf", "svg", "tif", "jpg")
Points = Sequence[tuple[float, float]]
_COLOURS = {"attention": "inferno", "similarity": "viridis"}
_HEADINGS = {"image": "Image", "attention": "Attention", "components": "PCA", "similarity": "Similarity"}
_QUERIES = {
    "cls": "CLS query",
    "mean-query": "mean over queries",
    "anchor": "query at the anchor",
    "rollout": "rollout",
}
_PERCENTILES = (2, 98)
_NAME_WIDTH = 14  # characters of an encoder's name that fit beside a row; it breaks at its hyphens


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """What is shown of the image.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, 3) in [0, 1]; of any resolution.
    extent
        The rectangle that is shown, in pixels of level 0.
    spacing_um_yx
        Micrometres per pixel of level 0; a scale bar is drawn where known.
    pixels_extent
        What the pixels cover, where that is not exactly `extent`.
    """

    pixels: NDArray[np.float32]
    extent: Extent
    spacing_um_yx: tuple[float, float] | None = None
    pixels_extent: Extent | None = None


@dataclass(frozen=True, eq=False, slots=True)
class FigureRow:
    """The maps of one encoder; None leaves a panel empty.

    Parameters
    ----------
    method, encoder
        The method's title, and the encoder's name.
    attention
        Attention, or activation of a CNN.
    components, similarity
        PCA and similarity.
    """

    method: str
    encoder: str
    attention: AttentionMap | ActivationMap | None = None
    components: ComponentMap | None = None
    similarity: SimilarityMap | None = None


def compose_figure(
    picture: Picture,
    rows: Sequence[FigureRow],
    *,
    anchors: Sequence[tuple[float, float]] = (),
    negative: Sequence[tuple[float, float]] = (),
    title: str = "",
) -> Figure:
    """Compose methods × maps.

    Every token is drawn over exactly the pixels it covers. Attention is stretched between the 2nd and
    98th percentile of each map, since its magnitude depends on the number of tokens; similarity has one
    range for all encoders.

    Parameters
    ----------
    picture
        The image.
    rows
        One per encoder.
    anchors, negative
        (row, column) pixels of level 0, drawn as red (blue) ×.
    title
        Written above.

    Returns
    -------
    Figure
        Not attached to any window; `save_figure` writes it.

    Raises
    ------
    ExportError
        If there is no row.
    """
    if not rows:
        raise ExportError("Expected at least one encoder to draw; got none.")
    kinds = ["image", *(kind for kind in _HEADINGS if any(getattr(row, kind, None) for row in rows))]
    layout = Layout.fitting(picture.extent, len(rows), len(kinds), titled=bool(title))
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    similarity = _similarity_scale(rows)
    for index, row in enumerate(rows):
        _draw_label(figure, layout, index, row)
        for column, kind in enumerate(kinds):
            axes = framed(figure, layout.panel(index, column), picture.extent)
            if kind == "image":
                _draw_picture(axes, picture, with_bar=index == 0)
            else:
                _draw_map(axes, row, kind, similarity)
            draw_anchors(axes, anchors, negative)
    notes = {
        "attention": "percentile of each map",
        "components": _colour_note(rows),
        "similarity": _similarity_note(rows),
    }
    for column, kind in enumerate(kinds):
        x, y = layout.heading(column)
        figure.text(x, y, _HEADINGS[kind], ha="center", va="center", fontsize=9, color=INK)
        _draw_bar(figure, layout, column, kind, similarity, notes.get(kind, ""))
    if title:
        x, y = layout.title()
        figure.text(x, y, title, ha="center", va="center", fontsize=9.5, color=INK, weight="bold")
    return figure


def save_figure(figure: Figure, path: Path, *, dpi: int = 200) -> None:
    """Write a figure as PNG, PDF, SVG, TIFF or JPEG, by its suffix, whole or not at all.

    Raises
    ------
    ExportError
        If the suffix is none of these or the file cannot be written.
    """
    suffix = check_format(path)
    # TrueType: journals refuse the default, Type 3, and text stays editable
    with written_whole(path) as temporary, rc_context({"pdf.fonttype": 42}):
        figure.savefig(temporary, dpi=dpi, format=suffix)


def check_format(path: Path) -> str:
    """Return a figure file's format, or raise `ExportError` if its suffix is none of `FORMATS`."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise ExportError(
            f"Expected a figure file ending in {', '.join(FORMATS)}; got {path.name}. Rename it."
        )
    return suffix


def _draw_label(figure: Figure, layout: Layout, index: int, row: FigureRow) -> None:
    x, y = layout.label(index)
    step = 0.085 / layout.height
    figure.text(x, y + step, row.method, ha="right", va="center", fontsize=9.5, weight="bold", color=INK)
    name = "\n".join(wrap(row.encoder, _NAME_WIDTH, max_lines=3, placeholder="…"))
    below = y - step + 0.05 / layout.height  # the top of a line of this size that is centred at y - step
    figure.text(x, below, name, ha="right", va="top", fontsize=6.5, color=FAINT)


def _draw_picture(axes: Axes, picture: Picture, *, with_bar: bool) -> None:
    draw_image(axes, picture.pixels, picture.pixels_extent or picture.extent)
    if with_bar and picture.spacing_um_yx is not None:
        draw_scale_bar(axes, picture.extent, picture.spacing_um_yx[1])


def _draw_map(axes: Axes, row: FigureRow, kind: str, similarity: Scale) -> None:
    result = getattr(row, kind)
    if result is None:
        axes.set_facecolor("#eeeeee")
        return
    if kind == "attention":
        draw_grid(axes, result.values, result.grid, stretched(result.values))
        attention = isinstance(result, AttentionMap)
        draw_tag(axes, _attention_tag(result) if attention else "activation (CNN)")
    elif kind == "similarity":
        draw_grid(axes, result.values, result.grid, similarity)
    else:
        draw_grid(axes, result.values, result.grid)


def _attention_tag(result: AttentionMap) -> str:
    told = [_QUERIES[result.kind]]
    if result.block is not None:
        told.append(f"block {result.block}")
    if result.reduction != "mean":
        told.append(result.reduction)
    return ", ".join(told)


def stretched(values: NDArray[np.float32]) -> Scale:
    """Return the scale of an attention map: its own 2nd to 98th percentile."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _PERCENTILES) if known.size else (0.0, 1.0)
    return Scale(_COLOURS["attention"], float(low), float(high if high > low else low + 1e-12))


def _similarity_scale(rows: Sequence[FigureRow]) -> Scale:
    """One range for all encoders: from the 2nd percentile of all maps together to their maximum."""
    maps = [row.similarity.values for row in rows if row.similarity is not None]
    known = np.concatenate([values[np.isfinite(values)] for values in maps]) if maps else np.zeros(0)
    if not known.size:
        return Scale(_COLOURS["similarity"], -1.0, 1.0)
    low, high = float(np.percentile(known, _PERCENTILES[0])), float(known.max())
    return Scale(_COLOURS["similarity"], low, high if high > low else low + 1e-6)


def _similarity_note(rows: Sequence[FigureRow]) -> str:
    made = next((row.similarity for row in rows if row.similarity is not None), None)
    if made is None:
        return ""
    what = "cosine to anchors − to negative ones" if made.negative else "cosine to anchor"
    return f"{what}, centred" if made.centred else what


def _colour_note(rows: Sequence[FigureRow]) -> str:
    aligned = {row.components.basis.aligned_to for row in rows if row.components is not None} - {""}
    colours = "first three components as R, G, B"
    return f"{colours},\nturned to those of {', '.join(sorted(aligned))}" if aligned else colours


def _draw_bar(figure: Figure, layout: Layout, column: int, kind: str, similarity: Scale, note: str) -> None:
    left, bottom, width, _ = layout.bar(column)
    under = bottom - 0.115 / layout.height
    if kind == "components":
        figure.text(left + width / 2, bottom, note, ha="center", va="center", fontsize=6, color=FAINT)
    if kind not in _COLOURS:
        return
    relative = Scale(_COLOURS["attention"], *_PERCENTILES)
    scale, unit = (relative, " %") if kind == "attention" else (similarity, "")
    bar = figure.colorbar(scale.mappable, cax=figure.add_axes(layout.bar(column)), orientation="horizontal")
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.4, pad=1.5, colors=FAINT)
    ends = [scale.low, scale.high]
    bar.set_ticks(ends, labels=[f"{end:.2g}{unit}".replace("-", "−") for end in ends])
    figure.text(left + width / 2, under, note, ha="center", va="center", fontsize=6, color=FAINT)
