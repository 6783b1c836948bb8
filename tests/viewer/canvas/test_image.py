import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image
from viewer_kit import noise

from napari_sslmaps.core.region import Region
from napari_sslmaps.viewer.canvas.image_layer import LayerSource, frame_of, is_own, lead_of_frame, shows_plane


def test_grey_rgb_and_rgba() -> None:
    grey = LayerSource(Image(noise(20, 30)))
    assert (grey.channels, grey.levels[0].shape_yx, grey.frames) == (1, (20, 30), 1)
    pixels = (noise(20, 30, 4) * 255).astype(np.uint8)
    for count in (3, 4):
        source = LayerSource(Image(pixels[..., :count], rgb=True))
        assert source.channels == 3
        np.testing.assert_array_equal(source.read(Region(2, 3, 5, 6)), pixels[2:7, 3:9, :3])


@pytest.mark.parametrize("lazy", ["dask", "zarr"])
def test_lazy_arrays_are_read_by_region(lazy: str) -> None:
    pixels = noise(3, 40, 50)
    data = da.from_array(pixels, chunks=(1, 16, 16)) if lazy == "dask" else zarr.array(pixels)
    source = LayerSource(Image(data))
    assert source.frames == 3
    block = source.read(Region(4, 5, 6, 7, 0, 2))
    assert type(block) is np.ndarray
    np.testing.assert_array_equal(block, pixels[2, 4:10, 5:12])


def test_multiscale_levels() -> None:
    fine = noise(64, 80)
    source = LayerSource(Image([fine, fine[::2, ::2], fine[::4, ::4]], multiscale=True))
    assert [level.shape_yx for level in source.levels] == [(64, 80), (32, 40), (16, 20)]
    assert source.levels[2].downsample_yx == (4.0, 4.0)
    np.testing.assert_array_equal(source.read(Region(1, 2, 3, 4, 1)), fine[2:8:2, 4:12:2])


def test_time_and_z_count_as_frames() -> None:
    viewer = ViewerModel()
    stack = viewer.add_image(noise(2, 3, 16, 20))
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 2)
    frame = frame_of(viewer, stack)
    assert frame == 5
    assert lead_of_frame(stack, frame) == (1, 2)
    np.testing.assert_array_equal(
        LayerSource(stack).read(Region(0, 0, 4, 4, 0, frame)), stack.data[1, 2, :4, :4]
    )


def test_frame_of_a_scaled_stack() -> None:
    viewer = ViewerModel()
    stack = viewer.add_image(noise(7, 16, 20), scale=(2.5, 0.5, 0.5), translate=(10, 0, 0))
    viewer.dims.set_current_step(0, 4)
    assert frame_of(viewer, stack) == 4


def test_spacing_comes_from_scale_and_units() -> None:
    assert LayerSource(Image(noise(8, 8), scale=(2, 3))).spacing_um_yx is None
    spacing = LayerSource(Image(noise(8, 8), scale=(2, 3), units=("mm", "um"))).spacing_um_yx
    assert spacing == pytest.approx((2000.0, 3.0))


def test_planes_in_three_dimensions_are_not_clickable() -> None:
    viewer = ViewerModel()
    stack = viewer.add_image(noise(7, 16, 20))
    assert shows_plane(viewer, stack)
    viewer.dims.ndisplay = 3
    assert not shows_plane(viewer, stack)
    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 0, 2)
    assert not shows_plane(viewer, stack)


def test_a_users_layer_is_not_ours() -> None:
    assert not is_own(Image(noise(8, 8)))
