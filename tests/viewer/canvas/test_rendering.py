"""Pictures of layers, and where they lie on the canvas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from viewer_kit import noise

from napari_sslmaps.viewer.canvas.cell_camera import CellCamera, cells_of
from napari_sslmaps.viewer.canvas.rendering import Backdrop, Box, coloured, edges_of, render, value_at

WHOLE = Box((-1000.0, -1000.0), (1000.0, 1000.0), 1.0)


def test_colours_are_those_of_naparis_own_colormap() -> None:
    values = np.array([[0.0, 0.25], [0.5, np.nan]], np.float32)
    layer = Image(values, colormap="viridis", contrast_limits=(0, 0.5))
    found = coloured(layer, values)
    wanted = np.rint(255 * layer.colormap.map(np.array([0, 0.5, 1.0])))
    np.testing.assert_allclose(found.reshape(4, 4)[:3], wanted, atol=2)
    assert found[1, 1].tolist() == [0, 0, 0, 0]


def test_labels_have_their_palette_and_none_for_the_background() -> None:
    values = np.array([[0, 1], [2, 1]], np.int32)
    colours = DirectLabelColormap(
        color_dict={None: "transparent", 0: "transparent", 1: "#ff0000", 2: "#0000ff"}
    )
    found = coloured(Labels(values, colormap=colours), values)
    assert found[..., 3].tolist() == [[0, 255], [255, 255]]
    assert found[0, 1].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_rgb_of_any_depth_is_drawn_as_it_is(dtype: type) -> None:
    top = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    values = np.zeros((2, 3, 3), dtype)
    values[0, 0] = top
    found = coloured(Image(values, rgb=True), values)
    assert found[0, 0].tolist() == [255] * 4
    assert found[1, 1].tolist() == [0, 0, 0, 255]


@given(
    scale=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)),
    shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    rotate=st.floats(-180, 180),
)
def test_a_picture_lies_where_napari_puts_its_layer(
    scale: tuple[float, float], shift: tuple[float, float], rotate: float
) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(noise(6, 8), scale=scale, translate=shift, rotate=rotate)
    matrix = render(viewer, layer).to_world
    for y, x in ((0, 0), (5, 7), (2.5, 3)):
        found = matrix @ [x + 0.5, y + 0.5, 1]
        np.testing.assert_allclose(found[:2][::-1], layer.data_to_world((y, x)), atol=1e-6)


def test_an_image_is_read_where_it_is_seen_at_the_resolution_of_the_screen() -> None:
    viewer = ViewerModel()
    fine = noise(256, 512)
    image = viewer.add_image([fine, fine[::4, ::4]], multiscale=True)
    backdrop = Backdrop(viewer)
    near = backdrop.render(image, Box((100.0, 200.0), (120.0, 240.0), 8.0))
    np.testing.assert_array_equal(near.colours, coloured(image, fine[100:121, 200:241]))
    np.testing.assert_allclose(near.to_world @ [0.5, 0.5, 1], [200, 100, 1])
    far = backdrop.render(image, Box((-1000.0, -1000.0), (1000.0, 1000.0), 0.25))
    assert far.colours.shape[:2] == (64, 128)
    np.testing.assert_allclose(far.to_world @ [128, 64, 1], [511.5, 255.5, 1])
    further = backdrop.render(image, Box((-1e4, -1e4), (1e4, 1e4), 0.01))
    assert max(further.colours.shape) <= 12
    np.testing.assert_allclose((further.to_world @ [0, 0, 1])[:2], [-0.5, -0.5])
    assert backdrop.render(image, Box((1000.0, 1000.0), (1100.0, 1100.0), 1.0)) is None


def test_the_frame_of_the_slider_is_drawn() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(noise(3, 8, 8))
    viewer.dims.set_current_step(0, 2)
    found = Backdrop(viewer).render(image, WHOLE)
    np.testing.assert_array_equal(found.colours, coloured(image, image.data[2]))


def test_the_value_under_the_pointer_is_the_maps() -> None:
    viewer = ViewerModel()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    values[1, 2] = np.nan
    layer = viewer.add_image(values, scale=(8, 8))
    assert value_at(viewer, layer, (0.0, 9.0)) == 1
    assert value_at(viewer, layer, (9.0, 3.0)) == 3
    assert value_at(viewer, layer, (8.0, 16.0)) is None
    assert value_at(viewer, layer, (-5.0, 0.0)) is None


@given(st.integers(1, 9), st.floats(200, 3000), st.floats(200, 2000), st.floats(0.2, 5), st.floats(0, 30))
def test_cells_fill_the_canvas_without_overlap(
    count: int, width: float, height: float, aspect: float, strip: float
) -> None:
    rects = cells_of(count, width, height, aspect, strip=strip)
    assert len(rects) == count
    for index, one in enumerate(rects):
        assert one.x >= -1e-6
        assert one.x + one.width <= width + 1e-6
        assert one.y + one.height <= height + 1e-6
        for other in rects[index + 1 :]:
            assert (
                one.x + one.width < other.x or other.y > one.y + one.height or other.x + other.width < one.x
            )


def test_what_is_said_of_a_picture_covers_none_of_it() -> None:
    rows = sorted({(rect.y, rect.height) for rect in cells_of(4, 1000, 1000, strip=20)})
    assert rows == [(20, 458), (522, 458)]  # 20 above and below each, 4 between the two
    [alone] = cells_of(1, 100, 40, strip=20)
    assert (alone.y, alone.height) == (10, 20)


def test_four_square_pictures_lie_two_by_two_and_wide_ones_below_each_other() -> None:
    assert len({rect.y for rect in cells_of(4, 1000, 1000)}) == 2
    assert len({rect.y for rect in cells_of(3, 1000, 1000, aspect=6.0)}) == 3


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.05, 20), st.floats(0.5, 2))
def test_what_is_under_the_pointer_stays_there(y: float, x: float, zoom: float, factor: float) -> None:
    rect = cells_of(2, 900, 500)[1]
    camera = CellCamera((y, x), zoom)
    at = (rect.x + 17.0, rect.y + 290.0)
    world = camera.world_at(rect, *at)
    np.testing.assert_allclose((camera.to_cell(rect) @ [world[1], world[0], 1])[:2], at, atol=1e-6)
    nearer = camera.zoomed(factor, world)
    np.testing.assert_allclose(nearer.world_at(rect, *at), world, atol=1e-6)
    moved = camera.moved(12, -7)
    np.testing.assert_allclose(moved.world_at(rect, at[0] + 12, at[1] - 7), world, atol=1e-6)


def test_edges_of_labels_are_runs_along_their_pixels() -> None:
    viewer = ViewerModel()
    values = np.zeros((6, 8), np.uint8)
    values[1:3, 2:7], values[4:, :1] = 1, 2
    layer = viewer.add_labels(values, scale=(2, 2), translate=(10, 0))
    found = edges_of(viewer, layer)
    first, second = (sorted(map(tuple, lines.reshape(-1, 4).tolist())) for lines in found.lines)
    # pixel centres lie at integers: rows 1 and 2 reach from 0.5 to 2.5, at a scale of 2 and from 10 on
    assert first == [(3, 11, 3, 15), (3, 11, 13, 11), (3, 15, 13, 15), (13, 11, 13, 15)]
    assert len(second) == 4
    np.testing.assert_allclose(found.colours, [layer.get_color(1), layer.get_color(2)])


def test_labels_without_any_have_no_edges() -> None:
    viewer = ViewerModel()
    assert edges_of(viewer, viewer.add_labels(np.zeros((4, 4), np.uint8))).lines == ()
