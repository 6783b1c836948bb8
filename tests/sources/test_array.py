import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image

DTYPES = ["bool", "uint8", "uint16", "int16", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1), (3, 7, 3)])
def test_usable_arrays_are_read_as_they_are(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape)) % 2).reshape(shape).astype(dtype)
    source = open_image(array)
    grey = len(shape) == 2 or shape[2] == 1
    expected = array.reshape(shape[:2]) if grey else array[..., :3]
    pixels = source.read(Region(0, 0, *shape[:2]))
    assert (source.channels, pixels.dtype) == (1 if grey else 3, np.dtype(dtype))
    np.testing.assert_array_equal(pixels, expected)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 8), st.integers(0, 8), st.sampled_from([None, 3]))
def test_regions_are_slices(height: int, width: int, y: int, x: int, channels: int | None) -> None:
    shape = (y + height + 1, x + width + 2) + (() if channels is None else (channels,))
    array = np.arange(np.prod(shape)).reshape(shape)
    pixels = ArraySource(array).read(Region(y, x, height, width))
    np.testing.assert_array_equal(pixels, array[y : y + height, x : x + width])


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 20, 30), r"channel-first\. Move the channels last with numpy\.moveaxis"),
        ((1, 20, 30), r"channel-first"),
        ((4, 20, 30), r"channel-first"),
        ((7, 20, 30), r"looks like a stack\. Choose one slice, image\[0\], or pass frames=True"),
        ((7, 20, 30, 3), r"looks like a stack"),
        ((20, 30, 2), r"two channels\. Choose one of them"),
        ((2, 3, 4, 20, 30), r"5 dimensions\. Choose one plane"),
        ((2, 5, 20, 30), r"4 dimensions"),
        ((20,), r"Give a two-dimensional image"),
        ((), r"Give a two-dimensional image"),
        ((0, 30), r"empty array of shape \(0, 30\)"),
    ],
)
def test_unusable_shapes_get_a_sentence(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(UnsupportedImageError, match=sentence):
        open_image(np.zeros(shape))


@pytest.mark.parametrize("shape", [(7, 20, 30), (7, 20, 30, 3), (3, 20, 30)])
def test_stacks_are_frames_when_asked_for(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    source = open_image(array, frames=True)
    assert source.frames == shape[0]
    np.testing.assert_array_equal(source.read(Region(2, 3, 4, 5, frame=2)), array[2, 2:6, 3:8])


@pytest.mark.parametrize("dtype", ["complex64", "object", "U3", "datetime64[s]", "longdouble"])
def test_unusable_types_get_a_sentence(dtype: str) -> None:
    with pytest.raises(UnsupportedImageError, match="Expected bool, integer or real float pixels"):
        open_image(np.zeros((4, 4)).astype(dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_arrays_in_memory_are_checked_at_once(bad: float) -> None:
    array = np.zeros((8, 8), np.float32)
    array[5, 6] = bad
    with pytest.raises(UnsupportedImageError, match=r"numpy\.nan_to_num"):
        open_image(array)


def test_lazy_arrays_are_checked_where_they_are_read() -> None:
    array = np.zeros((8, 8), np.float32)
    array[5, 6] = np.nan
    source = open_image(zarr.array(array))
    assert source.read(Region(0, 0, 4, 8)).shape == (4, 8)
    with pytest.raises(UnsupportedImageError, match="NaN or infinite"):
        source.read(Region(4, 0, 4, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_tensors_are_images(dtype: torch.dtype) -> None:
    tensor = torch.arange(12, dtype=dtype).reshape(3, 4)
    np.testing.assert_array_equal(open_image(tensor).read(Region(0, 0, 3, 4)), np.arange(12).reshape(3, 4))


def test_a_channel_first_tensor_is_told_to_permute() -> None:
    with pytest.raises(UnsupportedImageError, match=r"tensor\.permute\(1, 2, 0\)"):
        open_image(torch.zeros(3, 20, 30))


def test_levels_must_agree() -> None:
    with pytest.raises(UnsupportedImageError, match="same channels and frames"):
        open_image([np.zeros((8, 8)), np.zeros((4, 4, 3))])
    with pytest.raises(UnsupportedImageError, match="empty list"):
        open_image([])


@pytest.mark.parametrize("thing", [3, None, {"a": 1}])
def test_things_that_are_no_image_get_a_sentence(thing: object) -> None:
    with pytest.raises(UnsupportedImageError, match=f"got {type(thing).__name__}"):
        open_image(thing)


def test_a_source_is_returned_as_it_is() -> None:
    source = ArraySource(np.zeros((4, 4)))
    assert open_image(source) is source
