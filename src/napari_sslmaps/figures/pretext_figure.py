"""The pretext figure: one image, and each method's own task on it, from top to bottom.

After the first figure of arXiv 2603.22649, where the tasks stand in a row. Columns are encoders; the rows are
what each was given, what it gave back, and how near that comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.pretext_views import (
    Panel,
    PredictionView,
    PretextView,
    ReconstructionView,
    RestorationView,
    ViewsView,
    upsampled,
)
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import (
    FAINT,
    INK,
    Extent,
    Scale,
    draw_grid,
    draw_image,
    draw_scale_bar,
    draw_tag,
    framed,
    grid_extent,
)
from napari_sslmaps.figures.run_figure import Picture

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
        Image that the views are of, to draw.
    columns
        Columns of the figure, one per encoder.
    title
        Title above the figure.

    Returns
    -------
    Figure
        Figure that is not attached to any window; `save_figure` writes it.

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


Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Page:
    """Positions of panels, in inches from the page's left and top."""

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


Draw = Callable[[Axes, PretextView], None]
ROWS = ("given", "given back", "compared")
ERROR = Scale("magma", 0.0, 0.5)
AGREEMENT = Scale("RdBu_r", -1.0, 1.0)
_SCALES = {(0.0, 0.5): ERROR, (-1.0, 1.0): AGREEMENT, (0.0, 1.0): Scale("cividis", 0.0, 1.0)}
_MARK = "#ffd400"
_DIM = 0.35
_READABLE, _DARK = 9, 0.6


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """A panel of a view with what is drawn over it.

    Parameters
    ----------
    panel
        The pixels or tokens.
    tag
        A few words in its corner.
    over
        Functions that draw over the picture, last.
    """

    panel: Panel
    tag: str = ""
    over: Sequence[Draw] = field(default_factory=tuple)

    def draw(self, figure: Figure, box: Box, view: PretextView) -> None:
        """Draw it into a square of the page."""
        extent = _extent(view)
        axes = framed(figure, fitted(figure, box, extent), extent)
        _draw_panel(axes, self.panel, view)
        for draw in self.over:
            draw(axes, view)
        if self.tag:
            draw_tag(axes, self.tag)


@dataclass(frozen=True, eq=False, slots=True)
class MatrixCell:
    """The agreement of every crop with every other."""

    values: NDArray[np.float32]
    names: Sequence[str]

    def draw(self, figure: Figure, box: Box, view: PretextView) -> None:
        """Draw it into a square of the page."""
        del view
        left, bottom, width, height = box
        inset = 0.09
        axes = figure.add_axes((left + inset * width, bottom, (1 - inset) * width, (1 - inset) * height))
        axes.imshow(self.values, cmap=AGREEMENT.colours, vmin=AGREEMENT.low, vmax=AGREEMENT.high)
        if len(self.names) <= _READABLE:
            self._write_numbers(axes)
        axes.set_xticks(range(len(self.names)), self.names)
        axes.set_yticks(range(len(self.names)), self.names)
        axes.tick_params(labelsize=6, length=0, pad=1.5, colors=FAINT, labeltop=True, labelbottom=False)
        for spine in axes.spines.values():
            spine.set(color=INK, linewidth=0.5)

    def _write_numbers(self, axes: Axes) -> None:
        for (row, column), value in np.ndenumerate(self.values):
            text = f"{value:.2f}".replace("-", "−").replace("0.", ".")
            colour = "white" if abs(value) > _DARK else INK
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=5)


Column = tuple[Sequence[Cell | MatrixCell], ...]


def cells_of(view: PretextView) -> Column:
    """Return what stands in each of `ROWS`; panels that share a cell stand side by side."""
    panels = {panel.name: panel for panel in view.panels}
    if isinstance(view, ReconstructionView):
        hidden = f"{view.mask.mean():.0%} hidden"
        rows: Column = (
            [Cell(panels["masked input"], hidden)],
            [Cell(panels["reconstruction"])],
            [Cell(panels["error"], _mean("hidden", view.error[upsampled(view.mask, view.error.shape)]))],
        )
    elif isinstance(view, PredictionView):
        rows = (
            [Cell(panels["context"], "context, target blocks", [_draw_targets])],
            [Cell(panels["predicted"], "predicted"), Cell(panels["actual"], "actual")],
            [_agreement(view, panels)],
        )
    elif isinstance(view, ViewsView):
        rows = _views(view, panels)
    elif isinstance(view, RestorationView):
        rows = (
            [Cell(panels["distorted input"])],
            [Cell(panels["restoration"])],
            [Cell(panels["error"], _mean("error", view.error))],
        )
    else:
        raise TypeError(f"no cells are known for a {type(view).__name__}")
    return rows


def _agreement(view: PredictionView, panels: dict[str, Panel]) -> Cell:
    """Centred where there is that: a common part of all tokens makes the plain cosine high everywhere."""
    if view.centred is None:
        return Cell(panels["agreement"], _mean("cosine", view.agreement), [_draw_targets])
    return Cell(panels["centred agreement"], _mean("centred cosine", view.centred), [_draw_targets])


def fitted(figure: Figure, box: Box, extent: Extent) -> Box:
    """Shrink a box of the page, about its centre, to the shape of what it shows."""
    left, bottom, width, height = box
    inches = figure.get_size_inches()
    ratio = (extent.height / extent.width) * (width * inches[0]) / (height * inches[1])
    wide, high = (width, height * ratio) if ratio <= 1 else (width / ratio, height)
    return left + (width - wide) / 2, bottom + (height - high) / 2, wide, high


def _views(view: ViewsView, panels: dict[str, Panel]) -> Column:
    picture = Panel("picture", "picture", view.picture, 1)
    kinds = [crop.kind[0].upper() for crop in view.crops]
    names = [f"{kind}{kinds[: index + 1].count(kind)}" for index, kind in enumerate(kinds)]
    matrix = MatrixCell(view.agreement, names)
    given = Cell(picture, "global and local crops", [_draw_crops])
    if view.patch_agreement is None:
        return [given], [matrix], [Cell(panels["view agreement"], "of each local crop")]
    compared = Cell(panels["patch agreement"], _mean("hidden patches", view.patch_agreement))
    return [given], [matrix], [compared]


def _mean(what: str, values: NDArray[np.float32]) -> str:
    known = values[np.isfinite(values)]
    return f"{what}, mean {known.mean():.2f}".replace("-", "−") if known.size else what


def _extent(view: PretextView) -> Extent:
    (y, x), (height, width) = view.grid.origin_yx, view.grid.extent_yx
    return Extent(y, x, height, width)


def _draw_panel(axes: Axes, panel: Panel, view: PretextView) -> None:
    grid = view.placed(panel)
    if panel.kind == "picture":
        draw_image(axes, panel.values, grid_extent(grid))
        return
    draw_image(axes, 1 - _DIM * (1 - view.picture), _extent(view))
    scale = None if panel.limits is None else _SCALES.get(panel.limits, Scale("cividis", *panel.limits))
    draw_grid(axes, panel.values, grid, scale)


def _draw_targets(axes: Axes, view: PretextView) -> None:
    if not isinstance(view, PredictionView):
        return
    (y, x), (sy, sx) = view.grid.origin_yx, view.grid.stride_yx
    for block in view.targets:
        _outline(axes, Extent(y + block.row * sy, x + block.col * sx, block.height * sy, block.width * sx))


def _draw_crops(axes: Axes, view: PretextView) -> None:
    if not isinstance(view, ViewsView):
        return
    (y, x), (height, width) = view.grid.origin_yx, view.grid.extent_yx
    fy, fx = height / view.region.height, width / view.region.width
    for crop in view.crops:
        place = Extent(
            y + (crop.region.y - view.region.y) * fy,
            x + (crop.region.x - view.region.x) * fx,
            crop.region.height * fy,
            crop.region.width * fx,
        )
        _outline(axes, place, "-" if crop.kind == "global" else (0, (2, 1.5)))


def _outline(axes: Axes, place: Extent, style: str | tuple[int, tuple[float, ...]] = "-") -> None:
    corner = (place.x - 0.5, place.y - 0.5)
    for colour, width in (("black", 2.0), (_MARK, 1.0)):
        axes.add_patch(
            Rectangle(
                corner, place.width, place.height, fill=False, edgecolor=colour, lw=width, linestyle=style
            )
        )
