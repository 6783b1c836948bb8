import gc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from slide_kit import write_bare, write_slide
from viewer_kit import noise

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.viewer.canvas import npe2
from napari_sslmaps.viewer.canvas.image_layer import LayerSource
from napari_sslmaps.viewer.canvas.lazy_array import LazyArray, lazy_levels

STACK = np.random.default_rng(3).integers(0, 255, (4, 13, 17, 3), np.uint8)


class Counting(ArraySource):
    """Remembers what was read."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.asked: list[Region] = []
        super().__init__(*args, **options)

    def _decode(self, region: Region) -> Any:
        self.asked.append(region)
        return super()._decode(region)


def lazy(array: Any, **options: Any) -> tuple[LazyArray, Counting]:
    source = Counting(array, **options)
    return lazy_levels(source)[0], source


keys = st.lists(
    st.one_of(
        st.integers(-3, 2),
        st.builds(slice, *[st.none() | st.integers(-20, 20)] * 2, st.sampled_from([None, 1, 2, -1, -3])),
    ),
    max_size=4,
)


@given(keys, st.booleans(), st.lists(st.integers(0, 1), max_size=2))
def test_it_is_cut_as_numpy_cuts(key: list[Any], ellipsis: bool, then: list[int]) -> None:
    array, _ = lazy(STACK, frames=True)
    whole: Any = tuple(key[:2]) + ((Ellipsis,) if ellipsis else ()) + tuple(key[2:])
    expected = STACK[whole]
    found = array[whole]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)
    if all(expected.shape[: len(then)]) and len(then) <= expected.ndim and min(expected.shape, default=2) > 1:
        np.testing.assert_array_equal(np.asarray(found[tuple(then)]), expected[tuple(then)])


def test_other_keys_read_first() -> None:
    array, _ = lazy(STACK[0])
    np.testing.assert_array_equal(array[[1, 2], [3, 4]], STACK[0][[1, 2], [3, 4]])
    np.testing.assert_array_equal(array[STACK[0] > 200], STACK[0][STACK[0] > 200])
    with pytest.raises(IndexError, match="at most 3 indices"):
        array[0, 0, 0, 0]
    with pytest.raises(IndexError):
        array[13]


def test_cutting_reads_nothing_and_reading_reads_no_more_than_needed() -> None:
    array, source = lazy(STACK, frames=True)
    part = array[1:, 2:9:3][..., 5, :]
    assert (part.ndim, part.size, part.nbytes, len(part)) == (3, 27, 27, 3)
    assert source.asked == []
    np.testing.assert_array_equal(np.asarray(part[1]), STACK[2, 2:9:3, 5])
    assert source.asked == [Region(2, 5, 7, 1, 0, 2)]


def test_it_looks_like_an_array() -> None:
    array, _ = lazy(STACK[..., 0], frames=True)
    assert array.dtype == np.uint8
    assert array.chunks == (1, 512, 512)
    assert array[0].chunks == (512, 512)
    assert repr(array[:, 2:]) == "<LazyArray array, level 0, (4, 11, 17) uint8>"
    assert [frame.shape for frame in array] == [(13, 17)] * 4
    assert np.asarray(array, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="read into a new array"):
        np.array(array, copy=False)


def test_a_whole_slide_is_never_read_at_once(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs")
    level = lazy_levels(open_image(slide.path))[0]
    with pytest.raises(UnsupportedImageError, match=r"24\.0 GB of level 0 were asked for at once\. Choose"):
        np.asarray(level)
    with pytest.raises(UnsupportedImageError, match="asked for at once"):
        np.asarray(level[::1000, ::1000])


def test_the_file_is_closed_when_the_last_layer_is_gone(tmp_path: Path) -> None:
    path = write_bare(tmp_path / "a.tif", 3000, 9000, strips=30)
    here = psutil.Process()
    viewer = ViewerModel()
    data, options, _ = npe2.read(str(path))[0]
    layer = viewer.add_image(data, **options)
    source = LayerSource(layer)
    assert str(path) in {file.path for file in here.open_files()}
    viewer.layers.clear()
    del data, layer, viewer
    gc.collect()
    assert source.read(Region(0, 0, 4, 4)).shape == (4, 4, 3)
    del source
    gc.collect()
    assert str(path) not in {file.path for file in here.open_files()}


def test_a_layer_source_reads_through_it(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", ((9000, 7000), (2250, 1750)))
    data, options, _ = npe2.read(str(slide.path))[0]
    source = LayerSource(Image(data, **options))
    assert source.spacing_um_yx == pytest.approx((0.25, 0.25))
    for level in (0, 1):
        pixels = source.read(Region(500, 300, 400, 600, level))
        np.testing.assert_array_equal(pixels, slide.pixels(level, 500, 300, 400, 600))


def test_a_layer_source_knows_its_file_where_its_pixels_can_be_no_others(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", ((9000, 7000), (2250, 1750)))
    data, options, _ = npe2.read(str(slide.path))[0]
    assert LayerSource(Image(data, **options)).file == FileIdentity.of(slide.path)
    part = [level[level.shape[0] // 2 :] for level in data]
    assert LayerSource(Image(part, rgb=True, multiscale=True)).file is None
    assert LayerSource(Image(data[1:], rgb=True, multiscale=True)).file is None
    assert LayerSource(Image(np.asarray(data[1]), rgb=True)).file is None


def test_zooming_shows_the_pixels_of_the_right_level(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "a.svs", ((9000, 7000), (2250, 1750)))
    data, options, _ = npe2.read(str(slide.path))[0]
    layer = Image(data, **options)
    layer._update_draw(1 / 0.25, np.array([[5000, 3000], [5400, 3500]]) * 0.25, (400, 500))
    assert layer.data_level == 0
    top, left = layer.corner_pixels[0]
    shown = layer._slice.image.raw
    assert shown.shape[0] >= 400
    assert shown.shape[1] >= 500
    np.testing.assert_array_equal(shown, slide.pixels(0, int(top), int(left), *shown.shape[:2]))


def test_levels_that_a_file_lacks_are_means_of_the_finer_ones() -> None:
    fine = (noise(1500, 2101, 3) * 255).astype(np.uint8)
    levels = [np.asarray(level) for level in lazy_levels(npe2.CoarserLevels(ArraySource(fine)))]
    assert [level.shape for level in levels] == [(1500, 2101, 3), (750, 1051, 3), (375, 526, 3)]
    for finer, coarser in pairwise(levels):
        even = finer[:, : finer.shape[1] // 2 * 2].astype(float)
        if even.shape[0] % 2:
            even = even[:-1]
        means = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, 3).mean((1, 3))
        close = np.abs(coarser[: means.shape[0], : means.shape[1]] - means)
        assert close.max() <= 0.5
    np.testing.assert_array_equal(
        levels[1][:, -1], np.round(levels[0][:, -1].reshape(750, 2, 3).mean(1) + 1e-6)
    )


def test_damage_under_the_view_is_told_and_the_rest_can_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(STACK[0].repeat(90, 0).repeat(90, 1), tile=(256, 256), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    level = lazy_levels(open_image(path))[0]
    assert np.asarray(level[:256, :256]).shape == (256, 256, 3)
    with pytest.raises(UnsupportedImageError, match="damaged or truncated"):
        np.asarray(level[-9:, -9:])
