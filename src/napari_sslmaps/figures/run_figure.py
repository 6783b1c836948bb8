"""The figure: an image, and beside it rows of encoders and columns of maps. No pyplot, no global state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill, wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sslmaps.core.results import TokenMap
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    Extent,
    PanelLayout,
    Scale,
    draw_anchors,
    draw_grid,
    draw_image,
    draw_outlines,
    draw_scale_bar,
    draw_tag,
    framed,
    label_colours,
    letters_across,
)
from napari_sslmaps.figures.pixels import MAKER, said_by
from napari_sslmaps.files import written_whole
from napari_sslmaps.maps.contrast import Limits, limits_of
from napari_sslmaps.maps.map_type import Display, MapType
from napari_sslmaps.maps.registry import MAP_TYPES, map_type_of, selectable, stored_values

FORMATS = ("png", "pdf", "svg", "tif", "jpg")
_NONE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": FAINT}
Points = Sequence[tuple[float, float]]
_BESIDE = 34
"""Characters of a note and the numbers of a colour bar that fit into a line; a longer note stands below."""
_NAME_WIDTH = 14  # characters of an encoder's name that fit beside a row; it breaks at its hyphens


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """Picture of the image, or of its part that is shown.

    Parameters
    ----------
    pixels
        (h, w) or (h, w, 3) in [0, 1]; of any resolution.
    extent
        The rectangle that is shown, in pixels of level 0.
    spacing_um_yx
        Micrometres per pixel of level 0; a scale bar is drawn where known.
    pixels_extent
        Extent that the pixels cover, where that is not exactly `extent`.
    labels
        (h, w) annotated classes of the pixels, from 1 on, that are outlined; None for none.
    class_names
        Names of the classes.
    """

    pixels: NDArray[np.float32]
    extent: Extent
    spacing_um_yx: tuple[float, float] | None = None
    pixels_extent: Extent | None = None
    labels: NDArray[np.integer[Any]] | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class FigureRow:
    """The maps of one encoder; a panel without one stays empty.

    Parameters
    ----------
    method, encoder
        The method's title, and the encoder's name.
    maps
        Maps by key of `MAP_TYPES`.
    """

    method: str
    encoder: str
    maps: Mapping[str, TokenMap] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class _Column:
    """The maps of one column: by index of their row, each with its kind and scale."""

    slot: MapType
    maps: Mapping[int, tuple[MapType, TokenMap]]
    scales: Mapping[int, Scale | None]


def compose_figure(
    picture: Picture,
    rows: Sequence[FigureRow],
    *,
    anchors: Sequence[tuple[float, float]] = (),
    negative: Sequence[tuple[float, float]] = (),
    title: str = "",
    display: Display = "shared",
    limits: Mapping[tuple[int, str], Limits] | None = None,
) -> Figure:
    """Compose methods × maps, beside the image.

    Every token is drawn over exactly the pixels it covers, with the contrast that the window gives it.

    Parameters
    ----------
    picture
        Image to draw below the maps.
    rows
        Rows of maps, one per encoder.
    anchors, negative
        (row, column) pixels of level 0, drawn as a red × each (a blue bar).
    title
        Title above the figure.
    display
        Whether encoders share their contrast.
    limits
        Contrast by row and key of a map, instead of that of these maps.

    Returns
    -------
    Figure
        Figure that is not attached to any window; `save_figure` writes it.

    Raises
    ------
    ExportError
        If there is no row.
    """
    if not rows:
        raise ExportError("Expected at least one encoder to draw; got none.")
    columns = _columns(rows, display, limits or {})
    layout = PanelLayout.fitting(picture.extent, len(rows), len(columns), titled=bool(title), leading=True)
    figure = Figure(figsize=(layout.width, layout.height), facecolor="white")
    FigureCanvasAgg(figure)
    image = framed(figure, layout.leading(), picture.extent)
    _draw_picture(image, picture)
    draw_anchors(image, anchors, negative)
    for index, row in enumerate(rows):
        draw_label(figure, layout, index, row)
        for place, column in enumerate(columns):
            panel = framed(figure, layout.panel(index, place), picture.extent)
            if index in column.maps:
                draw_map(panel, column.maps[index][1], column.scales[index])
                _draw_outlines(panel, picture, named=False)
                draw_anchors(panel, anchors, negative)
            else:
                panel.set_facecolor("#eeeeee")
                panel.text(0.5, 0.5, "none", transform=panel.transAxes, **_NONE)
    headings = {layout.heading(place): column.slot.heading for place, column in enumerate(columns)}
    for (x, y), heading in {layout.above(layout.leading()): "Image", **headings}.items():
        figure.text(x, y, heading, ha="center", va="center", fontsize=9, color=INK)
    for place, column in enumerate(columns):
        _draw_bar(figure, layout, place, column)
    if title:
        x, y = layout.title()
        figure.text(x, y, title, ha="center", va="center", fontsize=9.5, color=INK, weight="bold")
    return figure


_MADE_BY: dict[str, dict[str, Any]] = {
    "png": {"metadata": {"Software": MAKER}},
    **{suffix: {"metadata": {"Creator": MAKER}} for suffix in ("pdf", "svg")},
    **{suffix: {"pil_kwargs": said_by(kind)} for suffix, kind in (("tif", "TIFF"), ("jpg", "JPEG"))},
}
"""Where each kind of figure says what made it, by which it is known again as one that may be replaced."""


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
        figure.savefig(temporary, dpi=dpi, format=suffix, **_MADE_BY[suffix])


def check_format(path: Path) -> str:
    """Return a figure file's format, or raise `ExportError` if its suffix is none of `FORMATS`."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise ExportError(
            f"Expected a figure file ending in {', '.join(FORMATS)}; got {path.name}. Rename it."
        )
    return suffix


def draw_label(figure: Figure, layout: PanelLayout, index: int, row: FigureRow) -> None:
    """Write method and encoder at the left of a row."""
    x, y = layout.label(index)
    step = 0.085 / layout.height
    figure.text(x, y + step, row.method, ha="right", va="center", fontsize=9.5, weight="bold", color=INK)
    name = "\n".join(wrap(row.encoder, _NAME_WIDTH, max_lines=3, placeholder="…"))
    below = y - step + 0.05 / layout.height  # the top of a line of this size that is centred at y - step
    figure.text(x, below, name, ha="right", va="top", fontsize=6.5, color=FAINT)


def _draw_picture(axes: Axes, picture: Picture) -> None:
    draw_image(axes, picture.pixels, picture.pixels_extent or picture.extent)
    if picture.spacing_um_yx is not None:
        draw_scale_bar(axes, picture.extent, picture.spacing_um_yx[1])
    _draw_outlines(axes, picture, named=True)


def _draw_outlines(axes: Axes, picture: Picture, *, named: bool) -> None:
    if picture.labels is not None:
        extent = picture.pixels_extent or picture.extent
        draw_outlines(axes, picture.labels, extent, picture.class_names, named=named)


def _columns(
    rows: Sequence[FigureRow], display: Display, limits: Mapping[tuple[int, str], Limits]
) -> list[_Column]:
    """Sort maps into columns; those of a kind get their limits together."""
    columns = []
    for slot in selectable():
        maps = {
            index: (map_type_of(result), result)
            for index, row in enumerate(rows)
            for key, result in row.maps.items()
            if MAP_TYPES[key].slot == slot.key
        }
        if maps:
            columns.append(_Column(slot, maps, _scales(maps, display, limits)))
    return columns


def _scales(
    maps: Mapping[int, tuple[MapType, TokenMap]],
    display: Display,
    given: Mapping[tuple[int, str], Limits],
) -> dict[int, Scale | None]:
    scales: dict[int, Scale | None] = {}
    for key in {kind.key for kind, _ in maps.values()}:
        alike = {index: result for index, (kind, result) in maps.items() if kind.key == key}
        limits = limits_of(maps[next(iter(alike))][0], list(alike.values()), display)
        for index, own in zip(alike, limits, strict=True):
            ends = given.get((index, key), own)
            scales[index] = None if ends is None else Scale(maps[index][0].colormap, *ends)
    return scales


def draw_map(axes: Axes, result: TokenMap, scale: Scale | None) -> None:
    """Draw a map over the pixels that its tokens cover; colours and labels need no scale."""
    kind = map_type_of(result)
    values = label_colours(stored_values(result), kind.palette(result)) if kind.labels else result.values
    draw_grid(axes, values, result.grid, scale)
    if kind.tag(result):
        draw_tag(axes, kind.tag(result))


def _draw_bar(figure: Figure, layout: PanelLayout, place: int, column: _Column) -> None:
    left, bottom, width, _ = layout.bar(place)
    note = max((kind.note(result) for kind, result in column.maps.values()), key=len)
    scales = [scale for scale in column.scales.values() if scale is not None]
    height, room = bottom, letters_across(layout.panel_width, 6)
    if scales:
        ends = {(scale.low, scale.high) for scale in scales}
        shared = len(ends) == 1
        bar = figure.colorbar(
            scales[0].mappable, cax=figure.add_axes(layout.bar(place)), orientation="horizontal"
        )
        bar.outline.set_linewidth(0.4)
        bar.ax.tick_params(labelsize=6, length=1.5, width=0.4, pad=1.5, colors=FAINT)
        words = [f"{end:.2g}".replace("-", "−") for end in next(iter(ends))] if shared else ["low", "high"]
        bar.set_ticks([scales[0].low, scales[0].high], labels=words)
        note = note if shared else f"{note}, limits of each map" if note else "limits of each map"
        beside = len("".join((*words, note))) <= min(_BESIDE, room)
        height = bottom - (0.115 if beside else 0.22) / layout.height
    figure.text(left + width / 2, height, fill(note, room), ha="center", va="center", fontsize=6, color=FAINT)
