"""The figure of heads: every head over its pixels, in lines of eight."""

import numpy as np
import pytest
from figures_kit import ANCHOR, embedding, picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.heads_figure import PER_LINE, HeadsRow, compose_heads_figure


def heads_row(count: int, name: str = "mae-test", prefix: Float32 | None = None) -> HeadsRow:
    grid = embedding().grid
    heads = np.random.default_rng(count).random((count, *grid.shape), dtype=np.float32)
    return HeadsRow("MAE", name, heads, grid, "CLS query", prefix)


def tags(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_each_encoder_shows_all_its_heads() -> None:
    rows = [heads_row(3, prefix=np.array([0.001, 0.5, 1], np.float32)), heads_row(PER_LINE + 2, "other")]
    figure = compose_heads_figure(picture(), rows, anchors=[ANCHOR], title="Heads of the last block")
    heads = [
        axes
        for axes in figure.axes
        if any("·" in tag.get_text() or tag.get_text().isdigit() for tag in axes.texts)
    ]
    assert len(heads) == 3 + PER_LINE + 2
    assert tags(figure)[-1] == str(PER_LINE + 2)
    assert {"1 · <1 %", "2 · 50 %", "3 · 100 %"} <= set(tags(figure))
    assert all(len(axes.lines) == 1 for axes in figure.axes), "the anchor is marked everywhere"
    lefts = [axes.get_position().x0 for axes in heads]
    bottoms = [axes.get_position().y0 for axes in heads]
    assert lefts[3 + PER_LINE] == pytest.approx(lefts[0]), "the ninth head begins a new line"
    assert bottoms[3 + PER_LINE] < bottoms[3] < bottoms[0]


def test_values_are_those_of_the_head() -> None:
    row = heads_row(2)
    figure = compose_heads_figure(picture(), [row])
    FigureCanvasAgg(figure).draw()
    shown = [axes.images[0].get_array() for axes in figure.axes[1:]]
    for head, values in enumerate(shown):
        np.testing.assert_array_equal(values, row.heads[head])


def test_without_heads_there_is_nothing_to_draw() -> None:
    with pytest.raises(ExportError, match="CNN"):
        compose_heads_figure(picture(), [heads_row(0)])
