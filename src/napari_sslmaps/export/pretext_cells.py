"""What stands in the cells of a pretext figure's column: panels of a view, with blocks and crops drawn in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from napari_sslmaps.core.pretext import (
    Panel,
    PredictionView,
    PretextView,
    ReconstructionView,
    RestorationView,
    ViewsView,
    upsampled,
)
from napari_sslmaps.export.panels import (
    FAINT,
    INK,
    Extent,
    Scale,
    draw_grid,
    draw_image,
    draw_tag,
    framed,
    grid_extent,
)

Box = tuple[float, float, float, float]
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
        Drawn last.
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
