"""Tokens closer than patches: where they lie, what they are computed from, cache, masks and partial maps."""

import numpy as np
import pytest
from encoders_factory import write_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.grid import TokenGrid, patch_shifts
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.encoders.controls import Control
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, InvalidOptionError, RegionError
from napari_sslmaps.pipeline.attention import attend
from napari_sslmaps.pipeline.class_activation import class_activation
from napari_sslmaps.pipeline.controls import embed_control
from napari_sslmaps.pipeline.cost import cost_of, work_of, work_of_plan
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan, stride_of
from napari_sslmaps.pipeline.token_store import TokenBudget
from napari_sslmaps.sources.open import open_image

PATCH = 8


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: load_encoder(
            write_encoder(folder / f"{method}.safetensors", method), device="cpu", precision="float32"
        )
        for method in METHODS
    }


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@given(
    st.sampled_from([(1, 14), (2, 14), (7, 14), (1, 16), (4, 16), (8, 16), (2, 8), (4, 8)]),
    st.integers(16, 80),
    st.integers(16, 80),
    st.integers(0, 9),
)
def test_a_token_lies_at_the_middle_of_the_patch_that_it_is_computed_from(pair, height, width, y):
    stride, patch = pair
    region = Region(y, 3, height, width)
    grid = TokenGrid.covering(region, stride, patch=patch)
    shifts = patch_shifts(stride, patch)
    count = len(shifts)
    assert grid.shape == (-(-height // stride), -(-width // stride))
    for row in range(grid.rows):
        first_pixel = y + shifts[row % count] + (row // count) * patch
        middle = first_pixel + (patch - 1) / 2
        assert grid.token_to_pixel((row, 0))[0] == pytest.approx(middle)
    for i in range(count):
        part = grid.every(count, (i, 0))
        np.testing.assert_allclose(part.token_to_pixel((1, 1)), grid.token_to_pixel((i + count, count)))
    for pixel in ((y, 3), (y + height - 1, 3 + width - 1)):
        grid.token_at(pixel)


def by_hand(image, encoder, stride):
    """Each pass apart: shift the mirrored image, encode it whole, and put its tokens where they belong."""
    height, width = image.shape[:2]
    shifts = patch_shifts(stride, PATCH)
    count = len(shifts)
    rows, cols = -(-height // stride), -(-width // stride)
    woven = np.full((rows, cols, encoder.spec.architecture.token_width), np.nan, np.float32)
    margin = 2 * PATCH
    wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect").astype(np.float32)
    for i, down in enumerate(shifts):
        for j, across in enumerate(shifts):
            tall, broad = -(-(rows - i) // count), -(-(cols - j) // count)
            top, left = margin + down, margin + across
            part = wide[top : top + tall * PATCH, left : left + broad * PATCH]
            woven[i::count, j::count] = encoder.encode(part[None] / np.float32(255)).tokens[0]
    return woven


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("stride", "shape"), [(4, (40, 56)), (2, (24, 29)), (4, (9, 31))])
def test_tokens_are_those_of_each_shifted_pass(encoders, method, stride, shape):
    image = noise(*shape, 3)
    embedding = embed(image, encoders[method], stride=stride)
    np.testing.assert_allclose(embedding.tokens, by_hand(image, encoders[method], stride), atol=2e-5)
    assert embedding.provenance.stride == stride
    assert embedding.grid.stride_yx == (stride, stride)
    assert embedding.grid.extent_yx == shape
    flat = embedding.flat.astype(np.float64)
    np.testing.assert_allclose(embedding.moments.mean, flat.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(embedding.moments.covariance, np.cov(flat.T, bias=True), atol=1e-4)
    if embedding.attention is not None:
        assert np.isfinite(embedding.attention).all()
        assert embedding.prefix_attention.shape == (len(embedding.attention),)


def test_one_token_per_patch_is_the_plain_embedding(encoders):
    image, encoder = noise(40, 56, 3), encoders["mae"]
    plain, same = embed(image, encoder), embed(image, encoder, stride=PATCH)
    np.testing.assert_array_equal(plain.tokens, same.tokens)
    assert plain.provenance == same.provenance
    assert "stride" not in plain.provenance.to_dict()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 1000), st.booleans(), st.sampled_from([2, 4]))
def test_tiles_and_masks_give_the_same_tokens_wherever_they_are_wanted(seed, blend, stride):
    encoder = load_encoder("dinov3-histology", device="cpu", precision="float32")
    rng = np.random.default_rng(seed)
    image = noise(72, 88, 3, seed=seed)
    tiling = Tiling(4, 2, "blend" if blend else "drop")
    whole = embed(image, encoder, stride=stride, tiling=tiling)
    mask = np.zeros(whole.grid.shape, bool)
    row, col = (int(rng.integers(0, size - 3)) for size in mask.shape)
    mask[row : row + 3, col : col + 9] = True
    some = embed(image, encoder, stride=stride, tiling=tiling, mask=mask, window=whole.provenance.window)
    assert (np.isfinite(some.tokens[..., 0]) == mask).all()
    np.testing.assert_allclose(some.tokens[mask], whole.tokens[mask], atol=0.5 if blend else 2e-4)
    assert some.provenance.mask_sha256


def test_a_stopped_run_is_taken_up_pass_by_pass_and_the_second_is_all_from_the_cache(encoders, tmp_path):
    image, encoder = noise(64, 64, 3), encoders["dino"]
    cache, tiling = Cache(tmp_path), Tiling(4, 1)
    expected = embed(image, encoder, stride=4, tiling=tiling)
    seen = []

    def stop(progress):
        seen.append(progress)
        if progress.done >= progress.total * 0.6:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        embed(image, encoder, stride=4, tiling=tiling, cache=cache, on_progress=stop)
    seen.clear()
    again = embed(image, encoder, stride=4, tiling=tiling, cache=cache, on_progress=seen.append)
    assert seen[-1].restored >= 0.5 * seen[-1].total
    assert (
        seen[-1].done
        == seen[-1].total
        == plan(open_image(image), encoder.spec, None, tiling, stride=4).tile_count
    )
    np.testing.assert_array_equal(again.tokens, expected.tokens)
    seen.clear()
    third = embed(image, encoder, stride=4, tiling=tiling, cache=cache, on_progress=seen.append)
    assert seen[-1].restored == seen[-1].total
    np.testing.assert_array_equal(third.tokens, expected.tokens)
    np.testing.assert_allclose(third.moments.mean, expected.moments.mean)


def test_until_a_pass_has_come_its_tokens_are_those_beside_them(encoders):
    image, encoder = noise(64, 64, 3), encoders["mae"]
    seen = []
    embed(
        image, encoder, stride=4, on_progress=lambda progress: seen.append(progress.embedding.tokens.copy())
    )
    assert len(seen) == 4
    coarse = seen[0]
    assert np.isfinite(coarse).all()
    np.testing.assert_array_equal(coarse[0::2, 0::2], coarse[1::2, 1::2])
    assert not np.array_equal(seen[-1][0::2, 0::2], seen[-1][1::2, 1::2])


def test_many_tokens_are_woven_in_half_precision(encoders, tmp_path):
    image, encoder = noise(64, 64, 3), encoders["mae"]
    expected = embed(image, encoder, stride=2)
    for memory in (10**9, 0):
        half = embed(
            image,
            encoder,
            stride=2,
            budget=TokenBudget(0, memory, tmp_path),
            cache=Cache(tmp_path / f"{memory}"),
        )
        assert isinstance(half.tokens, HalfTokens)
        np.testing.assert_allclose(np.asarray(half.tokens), expected.tokens, atol=5e-3)


def test_a_plan_says_what_all_passes_cost(encoders):
    spec = encoders["mae"].spec
    source = open_image(noise(512, 512, 3))
    plain, fine = plan(source, spec), plan(source, spec, stride=2)
    assert fine.grid.shape == (256, 256)
    assert fine.tile_count == 16 * plain.tile_count
    assert fine.computed_tokens == 16 * plain.computed_tokens
    assert work_of_plan(spec.architecture, fine) == 16 * work_of(spec.architecture, plain.tiles)
    assert cost_of([spec], [fine], [None]).megabytes > 10 * cost_of([spec], [plain], [None]).megabytes
    assert f"{fine.tile_count} tiles" in fine.describe()
    assert "256 × 256 tokens" in fine.describe()


def test_a_stride_that_does_not_divide_the_patch_is_refused(encoders):
    with pytest.raises(InvalidOptionError, match=r"divides the patch of mae.*8 px: 1, 2, 4, 8; got 3"):
        embed(noise(32, 32, 3), encoders["mae"], stride=3)
    with pytest.raises(RegionError, match="one patch"):
        embed(noise(32, 32, 3), encoders["mae"], region=(0, 0, 6, 20), stride=4)


def test_what_runs_the_encoder_again_asks_for_whole_patches(encoders):
    image = noise(32, 32, 3)
    fine = embed(image, encoders["mae"], stride=4)
    with pytest.raises(InvalidOptionError, match="stride of 4 px"):
        attend(fine, encoders["mae"], block=1)
    cnn = embed(image, encoders["dira"], stride=4)
    with pytest.raises(InvalidOptionError, match="stride of 4 px"):
        class_activation(image, encoders["dira"], cnn, np.ones(cnn.tokens.shape[-1], np.float32))


@pytest.mark.parametrize("kind", ["pixels", "colour", "position", "untrained", "constant"])
def test_controls_lie_on_the_same_grid(encoders, kind):
    image, encoder = noise(40, 29, 3), encoders["mae"]
    control = Control.of_encoder(kind, encoder.spec)
    fine = embed_control(control, image, encoder, stride=2)
    assert fine.grid == embed(image, encoder, stride=2).grid
    assert np.isfinite(fine.tokens).all()
    if kind == "colour":
        wide = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect") / np.float32(255)
        for row, col in ((0, 0), (3, 7), (19, 14)):
            top, left = 8 + 2 * row - 3, 8 + 2 * col - 3
            patch = wide[top : top + 8, left : left + 8]
            expected = np.r_[patch.mean(axis=(0, 1)), patch.std(axis=(0, 1))]
            np.testing.assert_allclose(fine.tokens[row, col], expected, atol=1e-5)
        grey = embed_control(control, image[..., 0], stride=4)
        assert grey.tokens.shape == (10, 8, 2)


def test_detail_is_tokens_along_a_patch_where_it_divides():
    assert [stride_of(detail, 8) for detail in (1, 2, 4)] == [None, 4, 2]
    assert [stride_of(detail, 14) for detail in (1, 2, 4)] == [None, 7, 7]
    assert stride_of(4, 16) == 4
