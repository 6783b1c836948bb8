import numpy as np
import pytest
from pretext_kit import GRID, REGION, SIDE, all_views, reconstruction, restoration, views

from napari_sslmaps.errors import ExportError
from napari_sslmaps.figures.panels import Extent
from napari_sslmaps.figures.pretext_figure import (
    AGREEMENT,
    ERROR,
    MatrixCell,
    PretextColumn,
    cells_of,
    compose_pretext_figure,
)
from napari_sslmaps.figures.run_figure import Picture
from napari_sslmaps.records.map_files import read_map, write_panel

IMAGE = Picture(np.full((128, 160, 3), 0.5, np.float32), Extent(0, 0, 128, 160), (0.5, 0.5))


def composed(made):
    columns = [PretextColumn(view.method.upper(), f"{view.method}-made", view) for view in made]
    figure = compose_pretext_figure(IMAGE, columns, title="a title")
    figure.canvas.draw()
    return figure


def rendered(figure):
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def pixel_of(figure, axes, y, x):
    """Rendered colour at a pixel of level 0, from what was painted."""
    across, up = axes.transData.transform((x, y))
    canvas = rendered(figure)
    return canvas[round(canvas.shape[0] - up), round(across)]


def test_every_method_fills_three_rows():
    for view in all_views():
        rows = cells_of(view)
        assert len(rows) == 3
        assert all(rows)


def test_masked_patches_are_grey_where_the_mask_is():
    view = reconstruction()
    figure = composed([view])
    given = next(axes for axes in figure.axes if any("hidden" in text.get_text() for text in axes.texts))
    row, col = np.argwhere(view.mask & (np.arange(GRID.rows)[:, None] < GRID.rows - 2))[0]
    y, x = GRID.token_to_pixel((row, col))
    np.testing.assert_allclose(pixel_of(figure, given, y, x), 0.5, atol=0.01)


def test_a_frame_on_the_image_shows_where_an_encoder_looked():
    figure = composed(all_views())
    frame = figure.axes[0].patches[-len(all_views()) :][0]
    assert (frame.get_x(), frame.get_y()) == (REGION.x - 0.5, REGION.y - 0.5)
    assert frame.get_width() == SIDE


def test_error_and_agreement_have_the_same_ends_in_every_figure():
    assert (ERROR.low, ERROR.high) == (0.0, 0.5)
    assert (AGREEMENT.low, AGREEMENT.high) == (-1.0, 1.0)
    for view in all_views():
        for panel in view.panels:
            assert panel.limits in {None, (0.0, 0.5), (-1.0, 1.0), (0.0, 1.0)}


def test_crops_are_named_by_kind():
    matrix = cells_of(views())[1][0]
    assert isinstance(matrix, MatrixCell)
    assert list(matrix.names) == ["G1", "G2", "L1", "L2"]


def test_without_a_mask_token_the_local_crops_are_compared():
    assert cells_of(views(patches=False))[2][0].panel.name == "view agreement"


def test_no_view_is_a_sentence():
    with pytest.raises(ExportError, match="at least one pretext view"):
        compose_pretext_figure(IMAGE, [])


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.method)
def test_panels_come_back_from_their_files(view, tmp_path):
    for panel in view.panels:
        path = tmp_path / f"{panel.name}.tif"
        write_panel(path, view, panel, spacing_um_yx=(0.5, 0.5))
        stored = read_map(path)
        np.testing.assert_array_equal(stored.values, panel.values)
        assert stored.kind == panel.name
        assert stored.grid == view.placed(panel)
        assert stored.provenance == view.provenance


def test_panels_cover_the_region_they_show():
    for view in all_views():
        for panel in view.panels:
            grid = view.placed(panel)
            assert grid.shape == panel.values.shape[:2]
            assert grid.origin_yx == (REGION.y, REGION.x)
            np.testing.assert_allclose(np.multiply(grid.shape, grid.stride_yx), (SIDE, SIDE))


def test_the_restoration_has_its_scores_over_the_whole_region():
    view = restoration()
    scores = view.panels[-1]
    assert scores.name == "discriminator"
    assert view.placed(scores).stride_yx == pytest.approx((SIDE / 7, SIDE / 7))
