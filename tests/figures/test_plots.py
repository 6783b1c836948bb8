"""A plot of findings becomes lines and bands of axes."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from napari_sslmaps.core.findings import Curve, Plot
from napari_sslmaps.figures.plots import COLOURS, draw_plot, rows_below, size_of


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


def test_controls_are_dashed_without_bands_and_a_twin_has_its_encoders_colour() -> None:
    x = np.array([0, 1], np.float32)
    curves = (
        Curve("mae", x, x, x, x + 1),
        Curve("mae-untrained", x, x / 2, x, x + 1, beside="mae"),
        Curve("colour", x, x / 3, beside=""),
        Curve("position", x, x / 4, beside=""),
    )
    axes = Figure().subplots()
    draw_plot(axes, Plot("score", "strength", "cosine", curves), faint="#888888")
    mae, twin, colour, position = axes.lines
    assert twin.get_color() == mae.get_color() == COLOURS[0]
    assert colour.get_color() == position.get_color() == "#888888"
    assert (mae.is_dashed(), twin.is_dashed(), colour.is_dashed()) == (False, True, True)
    assert len(axes.collections) == 1


def test_the_legend_of_many_curves_stands_below_them() -> None:
    x = np.array([0, 1], np.float32)
    few, many = (Plot("s", "x", "y", (Curve("mae", x, x),) * count) for count in (4, 9))
    figure = Figure(figsize=size_of(many), layout="constrained")
    axes = figure.subplots()
    draw_plot(axes, many)
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().y1 < axes.get_window_extent().y0
    assert axes.get_legend().get_window_extent().y0 >= 0
    assert (rows_below(few), rows_below(many)) == (0, 5)
    assert size_of(few)[1] < size_of(many)[1]


def test_a_plot_without_curves_has_no_legend() -> None:
    axes = Figure().subplots()
    draw_plot(axes, Plot("score", "strength", "cosine", ()))
    assert axes.get_legend() is None


def test_a_heat_map_has_a_row_of_numbers_for_each_curve() -> None:
    x = np.array([0, 1, 12.5], np.float32)
    curves = tuple(
        Curve(label, x, np.array(values, np.float32))
        for label, values in (("mae", (0.5, 0.75, 1.0)), ("distance alone", (0.6, 0.6, np.nan)))
    )
    plot = Plot("Score", "scale", "AUROC", curves, key="heat", heat=True)
    axes = Figure().add_subplot()
    draw_plot(axes, plot)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["mae", "distance alone"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "12.5"]
    assert [text.get_text() for text in axes.texts] == ["0.50", "0.75", "1.00", "0.60", "0.60"]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(np.nan), [c.y for c in curves])
    assert axes.get_legend() is None
    assert not any(line.get_visible() for line in axes.get_xgridlines())
    assert size_of(plot)[1] < size_of(replace(plot, curves=curves * 10))[1]
