"""The pretext figure: one image, and each method's own task on it, from top to bottom.

After the first figure of arXiv 2603.22649, where the tasks stand in a row. Columns are encoders; the rows are
what each was given, what it gave back, and how near that comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext import PretextView
from napari_sslmaps.errors import ExportError
from napari_sslmaps.export.figure import Picture
from napari_sslmaps.export.panels import (
    FAINT,
    INK,
    Scale,
    draw_image,
    draw_scale_bar,
    framed,
)
from napari_sslmaps.export.pretext_cells import AGREEMENT, ERROR, ROWS, Box, cells_of, fitted

TINTS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for all eyes
_PANEL, _GAP, _LABEL, _HEAD, _TITLE, _EDGE = 1.72, 0.10, 0.66, 0.40, 0.30, 0.10
_NAME_WIDTH = 26


@dataclass(frozen=True, eq=False, slots=True)
class PretextColumn:
    """One encoder's view, with its method's title and its name."""

    method: str
    encoder: str
    view: PretextView


def compose_pretext_figure(picture: Picture, columns: Sequence[PretextColumn], *, title: str = "") -> Figure:
    """Compose image and pretext tasks.

    Frames on the image, in the colours of the headings, show where each encoder looked. Error runs from 0 to
    0.5 of the intensity range and agreement from −1 to 1 in every figure, so that figures can be compared.

    Parameters
    ----------
    picture
        The image.
    columns
        One per encoder.
    title
        Written above.

    Returns
    -------
    Figure
        Not attached to any window; `save_figure` writes it.

    Raises
    ------
    ExportError
        If there is no column.
    """
    if not columns:
        raise ExportError("Expected at least one pretext view to draw; got none.")
    page = _Page(len(columns) + 1, _TITLE if title else 0.04)
    figure = Figure(figsize=(page.width, page.height), facecolor="white")
    FigureCanvasAgg(figure)
    _draw_image(figure, page, picture, columns)
    _draw_key(figure, page)
    for row, name in enumerate(ROWS):
        x, y = page.point(_LABEL - 0.12, row * (_PANEL + _GAP) + _PANEL / 2)
        figure.text(x, y, name, rotation=90, ha="center", va="center", fontsize=8.5, color=FAINT)
    for index, column in enumerate(columns):
        _draw_heading(figure, page, index, column)
        for row, cells in enumerate(cells_of(column.view)):
            for place, cell in enumerate(cells):
                box = page.panel(row, index + 1, place, len(cells))
                cell.draw(figure, box, column.view)
    if title:
        x, _ = page.point(_LABEL, 0)
        figure.text(
            (x + 1) / 2, 1 - 0.6 * _TITLE / page.height, title, ha="center", va="center", fontsize=9.5,
            color=INK, weight="bold",
        )  # fmt: skip
    return figure


@dataclass(frozen=True, slots=True)
class _Page:
    """Where panels lie, in inches from the page's left and top."""

    columns: int
    title: float

    @property
    def width(self) -> float:
        return _LABEL + self.columns * (_PANEL + _GAP) - _GAP + _EDGE

    @property
    def height(self) -> float:
        return self.title + _HEAD + len(ROWS) * (_PANEL + _GAP) - _GAP + _EDGE

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return a point below the headings, as fractions of the page."""
        return x / self.width, 1 - (self.title + _HEAD + y) / self.height

    def panel(self, row: int, column: int, place: int = 0, places: int = 1) -> Box:
        """Return one of the `places` panels that share a cell side by side."""
        side = (_PANEL - (places - 1) * _GAP / 2) / places
        left = _LABEL + column * (_PANEL + _GAP) + place * (side + _GAP / 2)
        top = row * (_PANEL + _GAP) + (_PANEL - side) / 2
        x, y = self.point(left, top + side)
        return x, y, side / self.width, side / self.height


def _draw_heading(figure: Figure, page: _Page, index: int, column: PretextColumn) -> None:
    centre = _LABEL + (index + 1) * (_PANEL + _GAP) + _PANEL / 2
    tint = TINTS[index % len(TINTS)]
    for text, lift, size, colour, weight in (
        (column.method, 0.27, 9.5, tint, "bold"),
        (wrap(column.encoder, _NAME_WIDTH, max_lines=1, placeholder="…")[0], 0.11, 6.5, FAINT, "normal"),
    ):
        x, y = page.point(centre, -lift)
        figure.text(x, y, text, ha="center", va="center", fontsize=size, color=colour, weight=weight)


def _draw_image(figure: Figure, page: _Page, picture: Picture, columns: Sequence[PretextColumn]) -> None:
    box = fitted(figure, page.panel(0, 0), picture.extent)
    axes = framed(figure, box, picture.extent)
    draw_image(axes, picture.pixels, picture.pixels_extent or picture.extent)
    if picture.spacing_um_yx is not None:
        draw_scale_bar(axes, picture.extent, picture.spacing_um_yx[1])
    for index, column in enumerate(columns):
        _frame(axes, column.view.grid, TINTS[index % len(TINTS)], inset=0.004 * index * picture.extent.width)
    x, y = page.point(_LABEL + _PANEL / 2, -0.11)
    figure.text(x, y, "Image", ha="center", va="center", fontsize=9, color=INK)


def _frame(axes: Axes, grid: TokenGrid, colour: str, inset: float) -> None:
    """Frame what an encoder looked at; `inset` keeps frames of one place apart."""
    (y, x), (height, width) = grid.origin_yx, grid.extent_yx
    axes.add_patch(
        Rectangle(
            (x - 0.5 + inset, y - 0.5 + inset), width - 2 * inset, height - 2 * inset,
            fill=False, edgecolor=colour, linewidth=1.1,
        )
    )  # fmt: skip


def _draw_key(figure: Figure, page: _Page) -> None:
    """Colour bars of error and agreement, in the image's column."""
    for row, (scale, text) in enumerate(((ERROR, "error, of the intensity range"), (AGREEMENT, "cosine")), 1):
        _draw_bar(figure, page, row, scale, text)


def _draw_bar(figure: Figure, page: _Page, row: int, scale: Scale, text: str) -> None:
    left, top = _LABEL + 0.18, row * (_PANEL + _GAP) + _PANEL / 2
    x, y = page.point(left, top)
    box = (x, y, (_PANEL - 0.36) / page.width, 0.085 / page.height)
    bar = figure.colorbar(scale.mappable, cax=figure.add_axes(box), orientation="horizontal")
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.4, pad=1.5, colors=FAINT)
    ends = [scale.low, scale.high]
    bar.set_ticks(ends, labels=[f"{end:g}".replace("-", "−") for end in ends])
    x, y = page.point(left + (_PANEL - 0.36) / 2, top - 0.17)
    figure.text(x, y, text, ha="center", va="center", fontsize=6.5, color=FAINT)
