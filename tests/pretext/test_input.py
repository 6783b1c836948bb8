"""Which pixels a view is made of, and how masks, targets and crops come to its tokens."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.core.pretext_views import Crop, TokenBlock, window_of
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import (
    DeviceMemoryError,
    InvalidOptionError,
    RegionError,
    SSLMapsError,
    UnsupportedImageError,
)
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pretext.input import read_input
from napari_sslmaps.pretext.selection import blocks_on_grid, cover, mask_on_grid, seen_tokens
from napari_sslmaps.pretext.view import pretext_view

SHARED = settings(max_examples=40)


def input_of(image, encoder, region=None, fit="crop", window=None, resolution="native"):
    return read_input(image, encoder, region=region, fit=fit, window=window, resolution=resolution)


def test_a_crop_is_the_middle_of_the_region_and_no_larger_than_what_was_trained_on(image, encoders):
    input_ = input_of(image, encoders["mae"])
    assert input_.region == Region(16, 24, 64, 64)
    assert input_.grid.shape == (8, 8)
    np.testing.assert_allclose(input_.picture, image[16:80, 24:88] / np.float32(255), atol=1e-6)


def test_a_small_region_is_taken_whole_less_what_makes_no_token(image, encoders):
    input_ = input_of(image, encoders["mae"], region=(3, 5, 45, 30))
    assert input_.region == Region(5, 8, 40, 24)
    assert input_.grid.shape == (5, 3)


def test_resizing_takes_the_largest_square_and_keeps_its_place(image, encoders):
    input_ = input_of(image, encoders["mae"], fit="resize")
    assert input_.region == Region(0, 8, 96, 96)
    assert input_.picture.shape == (64, 64, 3)
    assert input_.grid.stride_yx == (12.0, 12.0)
    assert input_.grid.origin_yx == (0.0, 8.0)
    # antialiased: the mean of the square survives
    assert input_.picture.mean() == pytest.approx(image[:, 8:104].mean() / 255, abs=2e-3)


def test_a_region_smaller_than_a_token_can_be_resized_and_nothing_else(image, encoders):
    assert input_of(image, encoders["mae"], region=(0, 0, 5, 5), fit="resize").picture.shape == (64, 64, 3)
    with pytest.raises(RegionError, match=r"at least 8 × 8 px.*fit='resize'"):
        input_of(image, encoders["mae"], region=(0, 0, 5, 40))


def test_the_whole_region_is_one_pass(image, encoders):
    assert input_of(image, encoders["mae"], fit="whole").grid.shape == (12, 14)
    assert input_of(image, encoders["dira"], fit="whole").picture.shape == (96, 96, 3)


def test_an_embedding_is_read_again_with_its_own_region_and_window(image, encoders):
    embedding = embed(image, encoders["mae"], region=(8, 16, 72, 80), window=(10, 200))
    again = input_of(embedding, encoders["mae"])
    direct = input_of(image, encoders["mae"], region=(8, 16, 72, 80), window=(10, 200))
    assert again.region == direct.region
    assert again.provenance == direct.provenance
    np.testing.assert_array_equal(again.picture, direct.picture)


def test_an_embedding_of_a_coarser_level_keeps_its_place_on_the_finest(image, encoders):
    pyramid = [image, image[::2, ::2]]
    embedding = embed(pyramid, encoders["mae"], region=Region(8, 0, 40, 56, level=1))
    grid = input_of(embedding, encoders["mae"]).grid
    assert grid.origin_yx == (16.0, 0.0)
    assert grid.stride_yx == (16.0, 16.0)
    assert grid == embedding.grid


def test_pixels_are_read_at_the_resolution_asked_for_and_lie_where_they_lay(image, encoders):
    input_ = input_of(image, encoders["mae"], region=(8, 16, 80, 64), fit="whole", resolution="48px")
    assert input_.region == Region(4, 8, 40, 32, level=1)
    assert input_.picture.shape == (40, 32, 3)
    assert input_.grid.origin_yx == (8.0, 16.0)
    assert input_.grid.stride_yx == (16.0, 16.0)
    assert input_.provenance.resolution == "48 px across"
    embedded = embed(image, encoders["mae"], region=(8, 16, 80, 64), resolution="48px")
    assert input_of(embedded, encoders["mae"], fit="whole").grid == input_.grid == embedded.grid
    with pytest.raises(
        RegionError, match=r"got 6 × 6 px when read at 48 px on the whole image's shorter side"
    ):
        input_of(image, encoders["mae"], region=(0, 0, 12, 12), resolution="48px")


@SHARED
@given(data=st.data(), side=st.integers(30, 150))
def test_pixels_of_the_file_find_their_tokens_at_any_resolution(image, encoders, data, side):
    input_ = input_of(image, encoders["mae"], region=(3, 5, 90, 101), fit="whole", resolution=f"{side}px")
    (top, left), (bottom, right) = input_.shown_yx
    y = data.draw(st.integers(max(3, int(np.ceil(top))), min(92, int(bottom) - 1)))
    x = data.draw(st.integers(max(5, int(np.ceil(left))), min(105, int(right) - 1)))
    painted = np.zeros((90, 101), bool)
    painted[y - 3, x - 5] = True
    mask = mask_on_grid(painted, input_)
    assert mask[input_.grid.token_at((y, x))]
    assert mask.sum() <= np.prod(np.ceil(1 + 1 / np.array(input_.grid.stride_yx)))
    (block,) = blocks_on_grid([(y, x, 1, 1)], input_)
    token = np.array(input_.grid.pixel_to_token((y, x)))
    assert (np.abs(token - (block.row, block.col)) <= 1).all()


def test_crops_in_pixels_of_the_file_are_brought_to_what_is_read(image, encoders):
    asked = [Crop(Region(0, 8, 96, 96), "global"), Crop(Region(20, 30, 32, 40), "local")]
    view = pretext_view(image, encoders["dinov3"], fit="whole", resolution="48px", crops=asked)
    assert [crop.region for crop in view.crops] == [Region(0, 4, 48, 48, 1), Region(10, 15, 16, 20, 1)]
    again = pretext_view(image, encoders["dinov3"], fit="whole", resolution="48px", crops=view.crops)
    np.testing.assert_array_equal(again.agreement, view.agreement)
    beyond = [*asked, Crop(Region(80, 0, 32, 32), "local")]
    with pytest.raises(RegionError, match="rows 0–96 and columns 0–112 of level 0"):
        pretext_view(image, encoders["dinov3"], fit="whole", resolution="48px", crops=beyond)


def test_a_region_of_another_level_than_the_embeddings_is_refused(image, encoders):
    embedding = embed([image, image[::2, ::2]], encoders["mae"], region=Region(8, 0, 40, 56, level=1))
    with pytest.raises(RegionError, match=r"of level 1.*got one of level 0"):
        pretext_view(embedding, encoders["mae"], region=(0, 0, 64, 64))


def test_a_device_that_is_full_gets_a_sentence(image, encoders, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(encoders["mae"].extractor.network.blocks[0], "forward", full)
    with pytest.raises(DeviceMemoryError, match="64 × 64 px does not fit into the memory of cpu"):
        pretext_view(image, encoders["mae"])


def test_tokens_alone_have_no_pixels(encoders):
    tokens = Embedding.from_tokens(np.ones((4, 4, 8), np.float32))
    with pytest.raises(UnsupportedImageError, match="Pass the image"):
        pretext_view(tokens, encoders["mae"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fit": "squeeze"}, "crop, resize, whole; got 'squeeze'"),
        ({"region": (0, 0, 500, 64)}, "inside the image"),
        ({"region": Region(0, 0, 64, 64, level=3)}, "level below 1"),
        ({"window": (5, 5)}, "low < high"),
        ({"ratio": 1.0}, "between 0 and 1; got 1.0"),
        ({"distortion": "blur"}, "trained, cutout, outer-cutout, shuffle, none; got 'blur'"),
    ],
)
def test_bad_options_get_a_sentence(image, encoders, options, message):
    with pytest.raises(SSLMapsError, match=message):
        pretext_view(image, encoders["dira"], **options)


def test_pixels_that_are_no_numbers_are_refused(encoders):
    pixels = np.ones((64, 64), np.float32)
    pixels[30, 30] = np.nan
    with pytest.raises(UnsupportedImageError, match="NaN"):
        pretext_view(pixels, encoders["mae"])


def test_what_one_pass_cannot_take_is_refused_before_it_is_read(encoders):
    class Endless(np.ndarray):
        def __array_function__(self, *args, **kwargs):
            raise AssertionError("pixels were read")

    slide = np.broadcast_to(np.uint8(200), (40_000, 40_000)).view(Endless)
    with pytest.raises(RegionError, match="smaller region, a coarser level, or fit='crop'"):
        pretext_view(slide, encoders["mae"], fit="whole")


@SHARED
@given(data=st.data())
def test_any_pixel_of_a_token_hides_it(image, encoders, data):
    fit = data.draw(st.sampled_from(["crop", "whole", "resize"]))
    input_ = input_of(image, encoders["mae"], fit=fit)
    y = data.draw(st.integers(input_.region.y, input_.region.y + input_.region.height - 1))
    x = data.draw(st.integers(input_.region.x, input_.region.x + input_.region.width - 1))
    painted = np.zeros(input_.requested.shape_yx, bool)
    painted[y, x] = True
    mask = mask_on_grid(painted, input_)
    assert mask[input_.grid.token_at((y, x))]
    # a pixel reaches into a second token only where pixels are resampled
    assert 1 <= mask.sum() <= (4 if fit == "resize" else 1)
    own = mask_on_grid(
        painted[input_.region.y :, input_.region.x :][: input_.region.height, : input_.region.width],
        input_,
    )
    np.testing.assert_array_equal(own, mask)
    np.testing.assert_array_equal(mask_on_grid(mask, input_), mask)
    assert len(seen_tokens(mask)) == mask.size - mask.sum()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((8, 8)), "hides nothing"),
        (np.ones((8, 8)), "hides everything"),
        (np.ones((5, 6)), r"8 × 8, 64 × 64, 96 × 112.*\(5, 6\)"),
        (np.ones(64), r"shape \(64,\)"),
    ],
)
def test_masks_that_do_not_fit_get_a_sentence(image, encoders, mask, message):
    with pytest.raises(InvalidOptionError, match=message):
        mask_on_grid(mask, input_of(image, encoders["mae"]))


@SHARED
@given(
    row=st.integers(0, 7),
    col=st.integers(0, 7),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    shift=st.floats(-3.5, 3.5),
)
def test_rectangles_go_to_the_nearest_edges_of_tokens(image, encoders, row, col, height, width, shift):
    input_ = input_of(image, encoders["ijepa"])
    rectangle = (16 + 8 * row + shift, 24 + 8 * col + shift, 8 * height, 8 * width)
    (block,) = blocks_on_grid([rectangle], input_)
    assert (block.row, block.col) == (row, col)
    assert (block.height, block.width) == (min(height, 8 - row), min(width, 8 - col))
    assert cover([block], (8, 8)).sum() == block.height * block.width


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "at least one target"),
        ([(0, 0, 8, 8)], "on the pixels that are shown, rows 16–80 and columns 24–88"),
        ([(20, 30, 0, 8)], "y, x, height, width"),
        ([(20, 30, 8)], "y, x, height, width"),
        ([(20, 30, np.nan, 8)], "y, x, height, width"),
        ([TokenBlock(6, 0, 3, 3)], "inside 8 × 8 tokens"),
        ([TokenBlock(0, 0, 8, 8)], "leave some of the 64 tokens"),
    ],
)
def test_targets_that_do_not_fit_get_a_sentence(image, encoders, targets, message):
    with pytest.raises(InvalidOptionError, match=message):
        pretext_view(image, encoders["ijepa"], targets=targets)


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        ([Crop(Region(16, 24, 64, 64), "global")], "at least two"),
        ([(16, 24, 64, 64), (16, 24, 32, 32)], "at least two of Crop"),
        ([Crop(Region(16, 24, 64, 64), "global"), Crop(Region(0, 0, 32, 32), "local")], "rows 16–80"),
    ],
)
def test_crops_that_do_not_fit_get_a_sentence(image, encoders, crops, message):
    with pytest.raises(SSLMapsError, match=message):
        pretext_view(image, encoders["dinov3"], crops=crops)


@given(data=st.data())
def test_a_window_of_a_resampled_picture_covers_its_part(data):
    whole = Region(data.draw(st.integers(0, 9)), 4, data.draw(st.integers(8, 90)), 50)
    y, x = data.draw(st.integers(0, whole.height - 1)), data.draw(st.integers(0, 49))
    part = whole.part(y, x, data.draw(st.integers(1, whole.height - y)), data.draw(st.integers(1, 50 - x)))
    shape = data.draw(st.tuples(st.integers(4, 70), st.integers(4, 70)))
    rows, cols = window_of(part, whole, shape)
    for window, first, size, extent, pixels in (
        (rows, y, part.height, whole.height, shape[0]),
        (cols, x, part.width, 50, shape[1]),
    ):
        assert 0 <= window.start < window.stop <= pixels
        assert window.start <= first * pixels / extent
        assert window.stop >= (first + size) * pixels / extent - 1e-9
        assert window.stop - window.start <= size * pixels / extent + 2


def test_a_window_of_the_picture_itself_is_the_part():
    assert window_of(Region(7, 9, 3, 4), Region(5, 5, 20, 30), (20, 30)) == (slice(2, 5), slice(4, 8))


def test_views_leave_torchs_random_numbers_alone(image, encoders):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for encoder in encoders.values():
        pretext_view(image, encoder, seed=4)
    torch.testing.assert_close(torch.rand(3), expected)
