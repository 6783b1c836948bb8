"""A plot of findings becomes lines and bands of axes."""

import numpy as np
from matplotlib.figure import Figure

from napari_sslmaps.core.findings import Curve, Plot
from napari_sslmaps.figures.plots import COLOURS, draw_plot


def test_each_curve_is_a_line_with_its_band() -> None:
    x = np.array([1, 10, 100], np.float32)
    curves = (Curve("mae", x, x / 100, x / 200, x / 50), Curve("dira", x, x / 150))
    axes = Figure().subplots()
    draw_plot(axes, Plot("score", "strength", "cosine", curves, x_axis="log"), ink="#ffffff")
    assert [line.get_label() for line in axes.lines] == ["mae", "dira"]
    assert [line.get_color() for line in axes.lines] == list(COLOURS[:2])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), x / 100)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == np.float32(2)
    assert len(axes.collections) == 1
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("strength", "cosine")
    assert axes.xaxis.label.get_color() == "#ffffff"


def test_a_plot_without_curves_has_no_legend() -> None:
    axes = Figure().subplots()
    draw_plot(axes, Plot("score", "strength", "cosine", ()))
    assert axes.get_legend() is None
