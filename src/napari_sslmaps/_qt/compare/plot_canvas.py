"""A plot of a comparison, drawn by matplotlib; a module of its own, so that the dock opens without it."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QEvent
from qtpy.QtGui import QPaintEvent, QPalette

from napari_sslmaps.core.findings import Plot
from napari_sslmaps.figures.plots import draw_plot, rows_below

_FAINT = "#8a8f99"
_PLOT_HEIGHT, _ROW_HEIGHT = 180, 16
"""Of a plot without a legend below it, and of a row of one, in pixels."""


class PlotCanvas(FigureCanvasQTAgg):
    """Shows one plot at a time."""

    _plot: Plot | None = None  # of the class: Qt tells of a change before the instance is made
    _stale = False

    def __init__(self) -> None:
        super().__init__(Figure(layout="constrained"))  # type: ignore[no-untyped-call]  # not annotated
        self.figure.patch.set_alpha(0)
        self.setStyleSheet("background: transparent;")
        self.setMinimumHeight(_PLOT_HEIGHT)

    def set_plot(self, plot: Plot) -> None:
        """Draw a plot in place of the last one."""
        self._plot = plot
        self.setMinimumHeight(_PLOT_HEIGHT + _ROW_HEIGHT * rows_below(plot))
        self._draw()

    def draw_idle(self, *_arguments: object, **_options: object) -> None:
        """Draw when Qt next paints; matplotlib's timer would outlive a window that is closed meanwhile."""
        self._stale = True
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the figure, drawn anew if it changed."""
        if self._stale:
            self._stale = False
            FigureCanvasAgg.draw(self)  # type: ignore[no-untyped-call]  # not annotated
        super().paintEvent(event)  # type: ignore[no-untyped-call]  # not annotated

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw anew when the window changes between light and dark."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.PaletteChange and self._plot is not None:
            self._draw()

    def _draw(self) -> None:
        self.figure.clear()
        if self._plot is not None:
            ink = self.palette().color(QPalette.ColorRole.WindowText).name()
            draw_plot(self.figure.subplots(), self._plot, ink=ink, faint=_FAINT)
        self.draw_idle()
