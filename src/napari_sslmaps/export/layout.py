"""Where panels, headings and colour bars lie on the page, in inches."""

from dataclasses import dataclass
from typing import Self

from napari_sslmaps.export.panels import Extent

Box = tuple[float, float, float, float]
_PANEL, _GAP, _LABEL, _HEAD, _TITLE, _FOOT, _EDGE = 1.72, 0.06, 0.86, 0.26, 0.30, 0.50, 0.10
_TALLEST = 2.6


@dataclass(frozen=True, slots=True)
class Layout:
    """A grid of panels of one size, with room for labels at the left, headings above and bars below.

    Parameters
    ----------
    rows, columns
        Of panels.
    panel_width, panel_height
        Inches.
    title_height
        Inches; 0 without a title.
    """

    rows: int
    columns: int
    panel_width: float
    panel_height: float
    title_height: float

    @classmethod
    def fitting(cls, extent: Extent, rows: int, columns: int, *, titled: bool, panel: float = _PANEL) -> Self:
        """Choose the panel's size for the image's shape: `panel` inches wide, but not too tall."""
        ratio, tallest = extent.height / extent.width, panel * _TALLEST / _PANEL
        width = max(min(panel, tallest / ratio), 0.35 * panel)
        height = max(0.175 * panel, min(width * ratio, 2 * tallest))
        return cls(rows, columns, width, height, _TITLE if titled else 0.0)

    @property
    def width(self) -> float:
        """Of the page, in inches."""
        return _LABEL + self.columns * (self.panel_width + _GAP) - _GAP + _EDGE

    @property
    def height(self) -> float:
        """Of the page, in inches."""
        panels = self.rows * (self.panel_height + _GAP) - _GAP
        return self.title_height + _HEAD + panels + _FOOT

    def panel(self, row: int, column: int) -> Box:
        """Left, bottom, width and height of a panel, as fractions of the page."""
        left = _LABEL + column * (self.panel_width + _GAP)
        top = self.title_height + _HEAD + row * (self.panel_height + _GAP)
        return self._fractions(left, top, self.panel_width, self.panel_height)

    def bar(self, column: int) -> Box:
        """Where the colour bar of a column lies."""
        left = _LABEL + column * (self.panel_width + _GAP)
        top = self.height - _FOOT + 0.10
        return self._fractions(left + 0.14, top, self.panel_width - 0.28, 0.075)

    def heading(self, column: int) -> tuple[float, float]:
        """Centre of a column's heading."""
        left, bottom, width, height = self.panel(0, column)
        return left + width / 2, bottom + height + 0.5 * _HEAD / self.height

    def label(self, row: int) -> tuple[float, float]:
        """Right end of a row's label, at half height of its panels."""
        left, bottom, _, height = self.panel(row, 0)
        return left - 0.09 / self.width, bottom + height / 2

    def title(self) -> tuple[float, float]:
        """Centre of the title."""
        left = self.panel(0, 0)[0]
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
