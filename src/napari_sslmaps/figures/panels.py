"""Panels of a figure: pixels and tokens where they are, marks, scale bar, and the page's layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Stroke, withStroke
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.maps.classes import CLASS_COLOURS

INK, FAINT = "#1a1a1a", "#5c5c5c"
POSITIVE, NEGATIVE = "#e3001b", "#1363df"
_NICE = (1, 2, 5)
_BAR_SHARE = 0.28
_CONTOURED = 2
"""Pixels a side that a contour needs at least."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A rectangle in pixels of level 0; pixel centres are at integers."""

    y: float
    x: float
    height: float
    width: float

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top as `imshow` takes them for rows that run downwards."""
        top, left = self.y - 0.5, self.x - 0.5
        return left, left + self.width, top + self.height, top


@dataclass(frozen=True, slots=True)
class Scale:
    """Colour map of values: its name, and the values of its two ends."""

    colours: str
    low: float
    high: float

    @property
    def mappable(self) -> ScalarMappable:
        """Mappable for a colour bar."""
        return ScalarMappable(Normalize(self.low, self.high), self.colours)


def grid_extent(grid: TokenGrid) -> Extent:
    """Return the rectangle that all tokens cover, padding included."""
    y, x = grid.origin_yx
    return Extent(y, x, grid.rows * grid.stride_yx[0], grid.cols * grid.stride_yx[1])


def framed(figure: Figure, box: tuple[float, float, float, float], extent: Extent) -> Axes:
    """Add axes that show `extent`, without ticks, with a thin frame."""
    axes = figure.add_axes(box)
    left, right, bottom, top = extent.edges
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=0.5)
    return axes


def draw_image(axes: Axes, pixels: NDArray[np.float32], extent: Extent) -> None:
    """Draw (h, w) or (h, w, 3) pixels in [0, 1] over `extent`."""
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        np.clip(pixels, 0, 1),
        extent=extent.edges,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="antialiased",
        aspect="auto",
    )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def draw_grid(axes: Axes, values: NDArray[np.float32], grid: TokenGrid, scale: Scale | None = None) -> None:
    """Draw (rows, cols) values through `scale`, or (rows, cols, 3) RGB, each token over its pixels.

    Tokens that are NaN stay empty; what reaches into padding is cut off by the axes.
    """
    style: dict[str, Any] = {"interpolation": "nearest", "aspect": "auto"}
    limits = axes.get_xlim(), axes.get_ylim()
    if scale is None:
        known = np.isfinite(values).all(axis=-1, keepdims=True)
        shown = np.concatenate([np.where(known, np.clip(values, 0, 1), 0), known], axis=-1)
        axes.imshow(shown, extent=grid_extent(grid).edges, **style)
    else:
        axes.imshow(
            values,
            extent=grid_extent(grid).edges,
            cmap=scale.colours,
            vmin=scale.low,
            vmax=scale.high,
            **style,
        )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def label_colours(labels: NDArray[np.int32], palette: Sequence[str]) -> NDArray[np.float32]:
    """Return (rows, cols) labels from 1 on as (rows, cols, 3) colours; NaN where there is none."""
    table = np.array([(np.nan,) * 3, *(to_rgb(colour) for colour in palette)], np.float32)
    coloured: NDArray[np.float32] = table[labels]
    return coloured


def draw_anchors(
    axes: Axes,
    anchors: Sequence[tuple[float, float]],
    negative: Sequence[tuple[float, float]] = (),
) -> None:
    """Mark (row, column) pixels: a red × for each anchor, a blue bar for each negative one."""
    for points, colour, marker, size in ((anchors, POSITIVE, "x", 7), (negative, NEGATIVE, "_", 9)):
        if points:
            y, x = np.asarray(points, float).T
            axes.plot(
                x,
                y,
                linestyle="none",
                marker=marker,
                markersize=size,
                markeredgewidth=1.8,
                color=colour,
                path_effects=[Stroke(linewidth=3.2, foreground="white"), Stroke(linewidth=1.8)],
            )


def draw_outlines(
    axes: Axes,
    labels: NDArray[np.integer[Any]],
    extent: Extent,
    names: Sequence[str],
    *,
    named: bool = True,
) -> None:
    """Outline classes of (h, w) labels over `extent`; if `named`, say below which is which of 1, 2, …."""
    height, width = labels.shape
    left, right, bottom, top = extent.edges
    x = left + (np.arange(width) + 0.5) * (right - left) / width
    y = top + (np.arange(height) + 0.5) * (bottom - top) / height
    limits = axes.get_xlim(), axes.get_ylim()
    lines = []
    for number, name in enumerate(names, start=1):
        inside = labels == number
        if not inside.any() or min(inside.shape) < _CONTOURED:
            continue
        colour = CLASS_COLOURS[(number - 1) % len(CLASS_COLOURS)]
        axes.contour(x, y, inside.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.1)
        lines.append(Line2D([], [], color=colour, linewidth=1.4, label=name))
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    if lines and named:
        axes.legend(
            handles=lines,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=3,
            fontsize=6.5,
            frameon=False,
            handlelength=1.2,
        )


_EM = 0.6
"""Width of a letter over the size of its font, on average."""


def letters_across(inches: float, points: float) -> int:
    """Return how many letters of a size stand beside each other."""
    return max(8, int(72 * inches / (_EM * points)))


def draw_tag(axes: Axes, text: str) -> None:
    """Write a small tag into the lower left corner, smaller still where the panel is narrow."""
    points = 72 * axes.bbox.width / axes.figure.dpi
    axes.text(
        0.025,
        0.025,
        text,
        transform=axes.transAxes,
        fontsize=min(6.5, points / (_EM * (len(text) + 1.5))),
        color="white",
        ha="left",
        va="bottom",
        bbox={"facecolor": INK, "alpha": 0.72, "edgecolor": "none", "boxstyle": "round,pad=0.25"},
    )


def draw_scale_bar(axes: Axes, extent: Extent, um_per_pixel: float) -> None:
    """Draw a bar of a round length, about a quarter of the width, in the lower right corner."""
    length_um = nice_length(_BAR_SHARE * extent.width * um_per_pixel)
    share = length_um / um_per_pixel / extent.width
    style: dict[str, Any] = {"transform": axes.transAxes, "zorder": 5}
    halo = withStroke(linewidth=2, foreground="black")
    axes.add_patch(
        Rectangle((0.955 - share, 0.04), share, 0.022, facecolor="white", edgecolor="black", lw=0.5, **style)
    )
    axes.text(
        0.955 - share / 2,
        0.075,
        length_text(length_um),
        fontsize=6.5,
        color="white",
        ha="center",
        va="bottom",
        path_effects=[halo],
        **style,
    )


def nice_length(longest_um: float) -> float:
    """Return the largest of 1, 2, 5 × 10ⁿ micrometres that is not above `longest_um`."""
    power = 10.0 ** np.floor(np.log10(longest_um))
    return float(max(step * power for step in _NICE if step * power <= longest_um * (1 + 1e-9)))


def length_text(length_um: float) -> str:
    """Write micrometres in nm, µm, mm or cm."""
    for unit, size in (("cm", 1e4), ("mm", 1e3), ("µm", 1.0)):
        if length_um >= size:
            return f"{length_um / size:g} {unit}"
    return f"{length_um * 1e3:g} nm"


Box = tuple[float, float, float, float]
_PANEL, _GAP, _LABEL, _HEAD, _TITLE, _FOOT, _EDGE = 1.72, 0.06, 0.86, 0.26, 0.30, 0.54, 0.10
_TALLEST = 2.6
_PAGE, _LOWEST = 10.6, 0.62
"""Inches that a page is high at most, as long as a row leaves room for the words beside it."""
_LEAD = 1.5
"""Size of the leading picture over that of a panel, beside several rows."""


@dataclass(frozen=True, slots=True)
class PanelLayout:
    """A grid of panels of one size, with room for labels at the left, headings above and bars below.

    A picture that all rows share can lead: it stands before the labels, at half the height of the rows.

    Parameters
    ----------
    rows, columns
        Number of rows and columns of panels.
    panel_width, panel_height
        Size of a panel in inches.
    title_height
        Inches; 0 without a title.
    lead
        Size of the leading picture over that of a panel; 0 without one.
    """

    rows: int
    columns: int
    panel_width: float
    panel_height: float
    title_height: float
    lead: float = 0.0

    @classmethod
    def fitting(
        cls,
        extent: Extent,
        rows: int,
        columns: int,
        *,
        titled: bool,
        panel: float = _PANEL,
        leading: bool = False,
    ) -> Self:
        """Choose the panel's size for the image's shape: `panel` inches wide, but not too tall for a page."""
        above = (_TITLE if titled else 0.0) + _HEAD + _FOOT
        of_page = max((_PAGE - above) / rows - _GAP, _LOWEST)
        ratio, tallest = extent.height / extent.width, min(panel * _TALLEST / _PANEL, of_page)
        width = max(min(panel, tallest / ratio), 0.35 * panel)
        height = max(0.175 * panel, min(width * ratio, 2 * tallest))
        lead = 0.0 if not leading else _LEAD if rows > 1 else 1.0
        return cls(rows, columns, width, height, _TITLE if titled else 0.0, lead)

    @property
    def width(self) -> float:
        """Width of the page, in inches."""
        return self._before + self.columns * (self.panel_width + _GAP) - _GAP + _EDGE

    @property
    def height(self) -> float:
        """Height of the page, in inches."""
        return self.title_height + _HEAD + self._rows_height + _FOOT

    @property
    def _rows_height(self) -> float:
        return self.rows * (self.panel_height + _GAP) - _GAP

    @property
    def _before(self) -> float:
        """Room before the first column of panels."""
        return _LABEL + (_EDGE + self.lead * self.panel_width if self.lead else 0.0)

    def leading(self) -> Box:
        """Where the leading picture lies."""
        wide, high = self.lead * self.panel_width, self.lead * self.panel_height
        top = self.title_height + _HEAD + (self._rows_height - high) / 2
        return self._fractions(_EDGE, top, wide, high)

    def panel(self, row: int, column: int) -> Box:
        """Left, bottom, width and height of a panel, as fractions of the page."""
        left = self._before + column * (self.panel_width + _GAP)
        top = self.title_height + _HEAD + row * (self.panel_height + _GAP)
        return self._fractions(left, top, self.panel_width, self.panel_height)

    def bar(self, column: int) -> Box:
        """Where the colour bar of a column lies."""
        left = self._before + column * (self.panel_width + _GAP)
        top = self.height - _FOOT + 0.10
        return self._fractions(left + 0.14, top, self.panel_width - 0.28, 0.075)

    def heading(self, column: int) -> tuple[float, float]:
        """Centre of a column's heading."""
        return self.above(self.panel(0, column))

    def above(self, box: Box) -> tuple[float, float]:
        """Centre of the heading of a panel or picture."""
        left, bottom, width, height = box
        return left + width / 2, bottom + height + 0.5 * _HEAD / self.height

    def label(self, row: int) -> tuple[float, float]:
        """Right end of a row's label, at half height of its panels."""
        left, bottom, _, height = self.panel(row, 0)
        return left - 0.09 / self.width, bottom + height / 2

    def title(self) -> tuple[float, float]:
        """Centre of the title."""
        left = self.leading()[0] if self.lead else self.panel(0, 0)[0]
        right = 1 - _EDGE / self.width
        return (left + right) / 2, 1 - 0.58 * self.title_height / self.height

    def _fractions(self, left: float, top: float, width: float, height: float) -> Box:
        bottom = self.height - top - height
        return (
            left / self.width,
            bottom / self.height,
            width / self.width,
            height / self.height,
        )
