"""Embedding what a mask wants: which tiles are read and computed, and which masks are understood."""

import numpy as np
import pytest
from encoders_factory import Counting, write_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import immunohistochemistry
from strategies import tilings

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.placed_mask import PlacedMask
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.masks import find_mask
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image

TILED = Tiling(4, 2)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    weights = write_encoder(tmp_path_factory.mktemp("weights") / "mae.safetensors", "mae")
    return load_encoder(weights, device="cpu", precision="float32")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def corner(rows, cols, size=3):
    mask = np.zeros((rows, cols), bool)
    mask[:size, :size] = True
    return mask


class Watched(ArraySource):
    """An image that notes which of its pixels are read."""

    def __init__(self, pixels):
        super().__init__(pixels)
        self.seen = np.zeros(pixels.shape[:2], int)

    def read(self, region):
        self.seen[region.y : region.y + region.height, region.x : region.x + region.width] += 1
        return super().read(region)


@settings(max_examples=20)
@given(st.integers(17, 90), st.integers(17, 90), tilings(), st.integers(0, 99))
def test_wanted_tokens_are_those_of_the_whole_and_the_others_are_nan(encoder, height, width, tiling, seed):
    image = noise(height, width, 3)
    rows, cols = -(-height // 8), -(-width // 8)
    mask = np.random.default_rng(seed).random((rows, cols)) < 0.2
    mask[seed % rows, seed % cols] = True
    window = (0.0, 255.0)
    whole = embed(image, encoder, tiling=tiling, window=window)
    part = embed(image, encoder, tiling=tiling, window=window, mask=mask)
    np.testing.assert_allclose(part.tokens[mask], whole.tokens[mask], atol=1e-5)
    np.testing.assert_allclose(part.attention[:, mask], whole.attention[:, mask], atol=1e-6)
    assert np.isnan(part.tokens[~mask]).all()
    assert np.isnan(part.attention[:, ~mask]).all()
    assert not part.foreground[~mask].any()


def test_tiles_without_a_wanted_token_are_neither_read_nor_computed(encoder):
    image, counting = Watched(noise(256, 320, 3)), Counting(encoder)
    mask = corner(32, 40)
    planned = plan(image, encoder.spec, tiling=TILED, mask=mask)
    embedding = embed(image, counting, tiling=TILED, mask=mask)
    assert counting.tiles == len(planned.tiles) == 1
    read = np.zeros_like(image.seen, bool)
    read[:32, :32] = True
    np.testing.assert_array_equal(image.seen > 0, read)
    assert (image.seen[:32, :32] == 2).all()  # seen once, then computed
    assert "1% of them in the mask" in planned.describe()
    assert np.isfinite(embedding.tokens).any(axis=-1).sum() == 9


@settings(max_examples=20)
@given(st.integers(9, 70), st.integers(9, 70), tilings(), st.integers(0, 99))
def test_what_is_looked_at_before_is_what_is_read_then_and_no_pixel_twice(
    encoder, height, width, tiling, seed
):
    image = Watched(noise(height, width, 3))
    mask = np.zeros((-(-height // 8), -(-width // 8)), bool)
    mask[seed % mask.shape[0], seed % mask.shape[1]] = True
    first = []
    embed(image, encoder, tiling=tiling, mask=mask, on_progress=lambda _: first.append(image.seen.copy()))
    seen = Watched(noise(height, width, 3))
    with pytest.raises(InterruptedError):
        embed(seen, Stopping(encoder), tiling=tiling, mask=mask)
    assert seen.seen.max() <= 1 + len(plan(image, encoder.spec, tiling=tiling, mask=mask).tiles)
    np.testing.assert_array_equal(seen.seen > 0, image.seen > 0)


class Stopping(Counting):
    def encode(self, tiles):
        raise InterruptedError(len(tiles))


def test_a_mask_may_lie_on_tokens_on_pixels_of_any_level_or_anywhere(encoder):
    fine = noise(128, 192, 3)
    image = open_image([fine, fine[::2, ::2], fine[::4, ::4]])
    region = Region(32, 64, 48, 96)
    pixels = np.zeros((128, 192), bool)
    pixels[40:56, 72:100] = True
    within = pixels[32:80, 64:160]
    tokens = np.zeros((6, 12), bool)
    tokens[1:3, 1:5] = True
    masks = [
        tokens,
        within,
        pixels,
        pixels[::2, ::2],
        pixels[::4, ::4].astype(np.uint8) * 7,
        PlacedMask(tokens, (8.0, 8.0), (32.0, 64.0)),
    ]
    for mask in masks:
        np.testing.assert_array_equal(plan(image, encoder.spec, region, mask=mask).mask, tokens)
    coarse = Region(16, 32, 24, 48, level=1)
    np.testing.assert_array_equal(
        plan(image, encoder.spec, coarse, mask=pixels).mask, tokens.reshape(3, 2, 6, 2).any(axis=(1, 3))
    )


def test_a_mask_that_leaves_nothing_out_is_none(encoder):
    image = noise(64, 64, 3)
    plain, full = embed(image, encoder), embed(image, encoder, mask=np.ones((8, 8), bool))
    assert full.provenance == plain.provenance
    assert plan(open_image(image), encoder.spec, mask=np.ones((64, 64), bool)).mask is None


@pytest.mark.parametrize(
    ("mask", "error", "sentence"),
    [
        (np.zeros((8, 8), bool), RegionError, "all of this one lies outside"),
        (np.ones((5, 7), bool), InvalidOptionError, "8 × 8, 64 × 64.*got 5 × 7"),
        (np.ones((8, 8)), InvalidOptionError, "bools or labels; got float64"),
        (np.ones((8, 8, 3), bool), InvalidOptionError, "got bool of shape"),
        ("glass", InvalidOptionError, "'auto', 'tissue', 'field-of-view', or an array; got 'glass'"),
    ],
)
def test_masks_that_do_not_fit_get_a_sentence(encoder, mask, error, sentence):
    with pytest.raises(error, match=sentence):
        embed(noise(64, 64, 3), encoder, mask=mask)


def test_a_shape_that_means_two_things_gets_a_sentence(encoder):
    image = ArraySource([noise(128, 128, 3), noise(64, 64, 3)])
    half = corner(64, 64, 20)
    with pytest.raises(InvalidOptionError, match="in two ways here"):
        plan(image, encoder.spec, Region(64, 64, 64, 64), mask=half)
    assert plan(image, encoder.spec, mask=half).mask.sum() == 25


def test_the_mask_decides_what_the_cache_finds(encoder, tmp_path):
    import imageio.v3 as iio

    cache, path = Cache(tmp_path / "cache", 10**9), tmp_path / "image.png"
    iio.imwrite(path, noise(128, 128, 3))
    mask, other = corner(16, 16), corner(16, 16, 7)
    reference = embed(path, encoder, tiling=TILED, mask=mask)
    counting = Counting(encoder)
    first = embed(path, counting, tiling=TILED, mask=mask, cache=cache)
    computed = counting.tiles
    again = embed(path, counting, tiling=TILED, mask=mask, cache=cache)
    assert counting.tiles == computed
    for found in (first, again):
        np.testing.assert_array_equal(found.tokens, reference.tokens)
        np.testing.assert_array_equal(found.attention, reference.attention)
        assert found.provenance == reference.provenance
    embed(path, counting, tiling=TILED, mask=other, cache=cache)
    embed(path, counting, tiling=TILED, cache=cache)
    assert len(cache.embeddings()) == 3


def test_auto_finds_tissue_on_glass_and_the_sector_on_black(encoder):
    glass = np.full((640, 640, 3), 242, np.uint8)
    glass[100:356, 100:356] = immunohistochemistry()[:256, :256]
    found = find_mask(ArraySource(glass))
    assert found.values[100:356, 100:356].mean() > 0.85
    assert found.values[420:].sum() == 0

    y, x = np.ogrid[:400, :600]
    sector = (np.hypot(y, x - 300) < 380) & (np.abs(x - 300) < y * 0.8)
    frame = np.where(sector, np.random.default_rng(0).integers(30, 200, (400, 600)), 0).astype(np.uint8)
    found = find_mask(ArraySource(frame))
    assert (found.values & sector).sum() / (found.values | sector).sum() > 0.9

    assert find_mask(ArraySource(immunohistochemistry() // 2)).values.all()


def test_a_mask_is_found_on_a_coarse_level_of_a_large_image():
    fine = np.full((4200, 2300, 3), 242, np.uint8)
    fine[1000:3000, 500:1500] = np.tile(immunohistochemistry(), (4, 2, 1))[:2000, :1000]
    found = find_mask(ArraySource(fine), "tissue")
    assert max(found.values.shape) <= 2048
    assert found.cell_yx == (8.0, 8.0)
    assert found.values[130:370, 65:185].mean() > 0.85
    assert found.values.sum() < 1.1 * 250 * 125
