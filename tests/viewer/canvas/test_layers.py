from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from strategies import grids
from viewer_kit import noise

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.maps.attention import AttentionMap
from napari_sslmaps.maps.contrast import robust_limits
from napari_sslmaps.maps.pca import ComponentBasis, ComponentMap
from napari_sslmaps.maps.similarity import SimilarityMap
from napari_sslmaps.viewer.canvas.image_layer import pixel_to_world, world_to_pixel
from napari_sslmaps.viewer.canvas.map_layers import LayerManager, draw, draw_all, placement

scales = st.floats(0.05, 20)
shifts = st.floats(-100, 100)
UNITS = st.sampled_from(["pixel", "nm", "um", "mm"])


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Image layers with any scale, place, rotation, shear, affine and unit."""
    unit = draw(UNITS)
    affine = np.eye(3)
    affine[:2, :2] = draw(st.sampled_from([np.eye(2), [[0.9, 0.3], [-0.2, 1.1]], [[0, -1], [1, 0]]]))
    affine[:2, 2] = draw(shifts), draw(shifts)
    return Image(
        np.zeros((171, 173), np.uint8),
        scale=(draw(scales), draw(scales)),
        translate=(draw(shifts), draw(shifts)),
        rotate=draw(st.floats(0, 360)),
        shear=[draw(st.sampled_from([0.0, 0.25]))],
        affine=affine,
        units=(unit, unit),
    )


@given(image=images(), grid=grids())
@settings(deadline=None, max_examples=60)
def test_token_edges_lie_on_pixel_edges(image: Image, grid: TokenGrid) -> None:
    overlay = Image(np.zeros(grid.shape, np.float32), **placement(image, grid))
    tolerance = 1e-9 * np.abs(image.data_to_world((500, 500))).max() + 1e-6
    for token in [(0, 0), (grid.rows, 0), (0, grid.cols), (grid.rows, grid.cols)]:
        pixel = np.asarray(grid.origin_yx) + np.asarray(token) * grid.stride_yx
        np.testing.assert_allclose(
            overlay.data_to_world(np.asarray(token) - 0.5),
            image.data_to_world(pixel - 0.5),
            atol=tolerance,
        )
    assert overlay.units == image.units


@given(image=images(), other=UNITS, pixel=st.tuples(st.floats(-5, 180), st.floats(-5, 180)))
@settings(deadline=None, max_examples=30)
def test_canvas_and_pixels_agree_in_any_units(image: Image, other: str, pixel: tuple[float, float]) -> None:
    viewer = ViewerModel()
    viewer.add_layer(image)
    viewer.add_image(np.zeros((8, 8)), units=(other, other))
    world = pixel_to_world(viewer, image, pixel)
    np.testing.assert_allclose(world_to_pixel(viewer, image, world), pixel, atol=1e-6)


def test_a_micrometre_image_beside_a_nanometre_one_is_clicked_where_it_is_drawn() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(noise(256, 256), scale=(0.5, 0.5), units=("um", "um"))
    viewer.add_image(noise(8, 8), units=("nm", "nm"))
    assert str(viewer.dims.units[0]) == "nanometer"
    np.testing.assert_allclose(world_to_pixel(viewer, image, (99_500.0, 1_000.0)), (199.0, 2.0))


GRID = TokenGrid(4, 5, (8.0, 8.0), (0.0, 0.0), (32.0, 40.0))
PROVENANCE = Provenance(encoder="mae-demo", method="mae")


def similarity(values: np.ndarray) -> SimilarityMap:
    return SimilarityMap(values=values, grid=GRID, provenance=PROVENANCE, anchors=((1.0, 2.0),))


@pytest.fixture
def layer_manager() -> LayerManager:
    viewer = ViewerModel()
    viewer.add_image(noise(32, 40), name="tissue")
    return LayerManager(viewer)


def test_update_is_in_place_and_keeps_the_look(layer_manager: LayerManager) -> None:
    image = layer_manager._viewer.layers[0]
    layer = layer_manager.show(image, draw(similarity(noise(4, 5))))
    layer.opacity, layer.colormap, array = 0.2, "gray", layer.data
    again = layer_manager.show(image, draw(similarity(np.zeros((4, 5), np.float32))))
    assert again is layer
    assert layer.data is array
    assert not array.any()
    assert layer.opacity == 0.2
    assert layer.colormap.name == "gray"


def test_a_layer_does_not_share_memory_with_its_map(layer_manager: LayerManager) -> None:
    values = noise(4, 5)
    layer = layer_manager.show(layer_manager._viewer.layers[0], draw(similarity(values)))
    assert not np.shares_memory(layer.data, values)


def test_another_grid_moves_the_layer(layer_manager: LayerManager) -> None:
    image = layer_manager._viewer.layers[0]
    layer = layer_manager.show(image, draw(similarity(noise(4, 5))))
    grid = TokenGrid(2, 2, (4.0, 4.0), (16.0, 8.0), (8.0, 8.0))
    result = SimilarityMap(values=noise(2, 2), grid=grid, provenance=PROVENANCE, anchors=((17.0, 9.0),))
    assert layer_manager.show(image, draw(result)) is layer
    np.testing.assert_allclose(layer.data_to_world((-0.5, -0.5)), (15.5, 7.5))
    np.testing.assert_allclose(layer.data_to_world((1.5, 1.5)), (23.5, 15.5))


def test_only_what_is_another_of_its_place_is_set(layer_manager: LayerManager) -> None:
    """As napari slices every layer for each; a drag and its end change the grid, never the turn."""
    image = layer_manager._viewer.layers[0]
    image.rotate, image.affine = 30, [[0.9, 0.3, 5.0], [-0.2, 1.1, 2.0], [0, 0, 1]]
    layer = layer_manager.show(image, draw(similarity(np.zeros((4, 5), np.float32))))
    told: list[str] = []
    for name in ("scale", "translate", "rotate", "shear", "affine", "units"):
        getattr(layer.events, name).connect(lambda _, name=name: told.append(name))
    coarse = replace(similarity(np.zeros((2, 3), np.float32)), grid=GRID.coarser(1))
    layer_manager.show(image, draw(coarse))
    assert set(told) == {"scale", "translate"}
    for name, value in placement(image, coarse.grid).items():
        if name not in ("affine", "units"):
            np.testing.assert_array_equal(getattr(layer, name), value)
    assert (layer.affine, layer.units) == (image.affine, image.units)


def test_pca_is_rgba_and_transparent_where_not_computed(layer_manager: LayerManager) -> None:
    colours = noise(4, 5, 3)
    colours[2:] = np.nan
    basis = ComponentBasis(np.zeros(3), np.eye(3), np.ones(3), np.zeros(3), np.ones(3), "mae-demo")
    result = ComponentMap(values=colours, grid=GRID, provenance=PROVENANCE, basis=basis, rendering="stretch")
    layer = layer_manager.show(layer_manager._viewer.layers[0], draw(result))
    assert layer.rgb
    np.testing.assert_array_equal(layer.data[..., 3], [[1] * 5] * 2 + [[0] * 5] * 2)
    assert np.isfinite(layer.data).all()


def test_attention_contrast_is_robust_to_a_sink() -> None:
    values = np.full((40, 50), 0.01, np.float32) + noise(40, 50) * 0.01
    values[3, 4] = 0.9
    result = AttentionMap(
        values=values, grid=GRID, provenance=PROVENANCE, kind="cls", reduction="mean", prefix_attention=0.1
    )
    low, high = draw(result).limits
    assert 0.009 < low < high < 0.021


def test_limits_are_never_equal_and_ignore_what_is_missing() -> None:
    assert robust_limits([np.full((2, 2), np.nan)]) == (0.0, 1.0)
    low, high = robust_limits([np.full((2, 2), 0.5)])
    assert low < high


def test_shared_contrast_is_the_same_for_all() -> None:
    maps = [similarity(noise(4, 5)), similarity(noise(4, 5) - 1)]
    first, second = draw_all(maps, "shared")
    assert first.limits == second.limits
    one, other = draw_all(maps, "each")
    assert one.limits != other.limits
    assert draw_all(maps, "fixed")[0].limits == (-1.0, 1.0)
    assert first.record["contrast"]["limits"] == list(first.limits)
