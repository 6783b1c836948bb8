import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from figures_kit import ANCHOR, picture, row
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import Extent, draw_grid, framed, length_text, nice_length
from napari_sslmaps.figures.run_figure import FigureRow, compose_figure, save_figure


def drawn(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def pixel_of(figure: Figure, axes_index: int, y: float, x: float) -> tuple[int, int]:
    """Row and column on the drawn page of an image position in one panel."""
    right, up = figure.axes[axes_index].transData.transform((x, y))
    return round(figure.bbox.height - up), round(right)


def texts(figure: Figure) -> list[str]:
    within = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in figure.texts] + within


def test_tokens_are_drawn_over_exactly_their_pixels() -> None:
    """Every edge between tokens lies half a pixel before the first pixel of the next one."""
    region = Region(40, 16, 60, 90)
    grid = TokenGrid.covering(region, 8)
    values = np.indices(grid.shape).sum(axis=0) % 2
    colours = np.repeat(values[..., None], 3, axis=-1).astype(np.float32)
    figure = Figure(figsize=(9, 6), dpi=100)
    framed(figure, (0, 0, 1, 1), Extent(40, 16, 60, 90))
    draw_grid(figure.axes[0], colours, grid)
    page = drawn(figure)
    for pixel_y in range(41, 99):
        for pixel_x in range(17, 105, 3):
            token = grid.token_at((pixel_y, pixel_x))
            page_y, page_x = pixel_of(figure, 0, pixel_y, pixel_x)
            assert page[page_y, page_x, 0] == 255 * values[token]


def test_tokens_not_computed_stay_empty() -> None:
    grid = TokenGrid.covering(Region(0, 0, 16, 16), 8)
    figure = Figure(figsize=(1, 1), dpi=100)
    framed(figure, (0, 0, 1, 1), Extent(0, 0, 16, 16))
    colours = np.zeros((2, 2, 3), np.float32)
    colours[0, 1] = np.nan
    draw_grid(figure.axes[0], colours, grid)
    page = drawn(figure)
    assert page[25, 75].tolist() == [255, 255, 255]
    assert page[75, 75].tolist() == [0, 0, 0]


def test_anchors_are_red_where_they_are_in_every_panel() -> None:
    figure = compose_figure(picture(), [row()], anchors=[ANCHOR], negative=[(90.0, 100.0)])
    page = drawn(figure).astype(int)
    for panel in range(4):
        red, green, blue = page[pixel_of(figure, panel, *ANCHOR)]
        assert red > 2 * max(green, blue)
        red, green, blue = page[pixel_of(figure, panel, 90.0, 100.0)]
        assert blue > 2 * red


def test_the_figure_names_methods_maps_and_units() -> None:
    figure = compose_figure(
        picture(), [row("one"), replace(row("two", cnn=True), method="DiRA")], anchors=[ANCHOR], title="IHC"
    )
    written = texts(figure)
    for expected in ("IHC", "MAE", "DiRA", "one", "two", "Image", "Attention", "PCA", "Similarity"):
        assert written.count(expected) == 1
    assert "CLS query" in written
    assert "activation (CNN)" in written
    assert "10 µm" in written  # a quarter of 45 µm, rounded down


def test_columns_without_maps_are_left_out() -> None:
    bare = FigureRow("MAE", "x", {"attention": row().maps["attention"]})
    assert "Similarity" not in texts(compose_figure(picture(), [bare]))
    assert "Similarity" in texts(compose_figure(picture(), [bare, row()]))


def test_the_image_is_drawn_once_beside_all_rows() -> None:
    figure = compose_figure(picture(), [row("a"), row("b"), row("c")], anchors=[ANCHOR])
    image, *panels = (axes for axes in figure.axes if axes.images)
    assert len(panels) == 9
    assert len(image.lines) == 1  # the anchor
    box, rows = image.get_position(), [axes.get_position() for axes in panels]
    assert box.x1 < min(other.x0 for other in rows)
    assert (box.y0 + box.y1) / 2 == pytest.approx((rows[0].y1 + rows[-1].y0) / 2)
    assert box.width / box.height == pytest.approx(rows[0].width / rows[0].height)


def test_similarity_has_one_range_for_all_encoders() -> None:
    low, high = row("a"), row("b")
    similar = low.maps["similarity"]
    low = replace(low, maps={**low.maps, "similarity": replace(similar, values=similar.values / 10)})
    figure = compose_figure(picture(), [low, high])
    limits = {figure.axes[panel].images[0].get_clim() for panel in (3, 6)}
    assert len(limits) == 1
    both = np.concatenate([found.maps["similarity"].values.ravel() for found in (low, high)])
    assert limits.pop() == pytest.approx(tuple(np.percentile(both, (1, 99))))


@pytest.mark.parametrize("shape", [(4000, 20), (20, 4000), (1, 1)])
def test_odd_shapes_make_a_page_of_sane_size(shape: tuple[int, int]) -> None:
    odd = replace(picture(), pixels=np.ones(shape, np.float32), extent=Extent(0, 0, *shape))
    width, height = compose_figure(odd, [row()]).get_size_inches()
    assert 1 < width < 20
    assert 1 < height < 20


def test_many_rows_stay_on_a_page() -> None:
    figure = compose_figure(picture(), [row(f"encoder-{number}") for number in range(12)])
    assert figure.get_size_inches()[1] <= 10.61


def test_an_annotation_is_outlined_on_the_image_and_on_every_map() -> None:
    shown = picture()
    labels = np.zeros(shown.pixels.shape[:2], int)
    labels[10:30, 10:30] = 1
    shown = replace(shown, labels=labels, class_names=("gland",))
    figure = compose_figure(shown, [row()])
    panels = [axes for axes in figure.axes if axes.images]
    assert [len(axes.collections) for axes in panels] == [1] * len(panels)
    assert [axes.get_legend() is not None for axes in panels] == [True, *[False] * (len(panels) - 1)]


def test_a_figure_needs_a_row() -> None:
    with pytest.raises(ExportError, match="at least one encoder"):
        compose_figure(picture(), [])


def test_letters_in_a_pdf_are_outlines_that_journals_take(tmp_path):
    path = tmp_path / "figure.pdf"
    save_figure(compose_figure(picture(), [row()]), path)
    assert b"/Type3" not in path.read_bytes()
    assert b"/FontFile2" in path.read_bytes()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_suffixes_choose_the_format(suffix: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix}"
    save_figure(compose_figure(picture(), [row()], anchors=[ANCHOR]), path, dpi=72)
    assert path.read_bytes().startswith(start)


def test_png_has_the_resolution_asked_for(tmp_path: Path) -> None:
    figure = compose_figure(picture(), [row()])
    save_figure(figure, tmp_path / "a.png", dpi=100)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == pytest.approx(figure.get_size_inches() * 100, abs=1)


def test_other_suffixes_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ending in png, pdf, svg, .*got figure\.docx"):
        save_figure(compose_figure(picture(), [row()]), tmp_path / "figure.docx")


def test_pyplot_is_left_alone() -> None:
    compose_figure(picture(), [row()])
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize(
    ("longest", "length", "text"),
    [
        (1.0, 1.0, "1 µm"),
        (4.99, 2.0, "2 µm"),
        (730.0, 500.0, "500 µm"),
        (2100.0, 2000.0, "2 mm"),
        (9e4, 5e4, "5 cm"),
        (0.3, 0.2, "200 nm"),
    ],
)
def test_scale_bars_have_round_lengths(longest: float, length: float, text: str) -> None:
    assert nice_length(longest) == pytest.approx(length)
    assert length_text(nice_length(longest)) == text
