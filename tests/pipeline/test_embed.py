"""Embedding a region: geometry, tiling, precision, progress and refusals."""

import copy
import os
import pickle
import threading
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import zarr
from encoders_factory import write_encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import (
    Cancelled,
    CheckpointError,
    DeviceMemoryError,
    InvalidOptionError,
    RegionError,
    UnsupportedImageError,
)
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.pipeline.planning import plan
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.resampled import ResampledLevel


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(8, 8, 3), (9, 31, 3), (65, 100, 3), (40, 8)])
def test_any_size_from_one_patch_gives_ceil_of_size_over_stride(encoders, method, shape):
    embedding = embed(noise(*shape), encoders[method])
    rows, cols = -(-shape[0] // 8), -(-shape[1] // 8)
    assert embedding.tokens.shape[:2] == embedding.grid.shape == (rows, cols)
    assert embedding.tokens.dtype == np.float32
    assert np.isfinite(embedding.tokens).all()
    assert embedding.grid.extent_yx == shape[:2]


@pytest.mark.parametrize("method", METHODS)
def test_a_single_pass_is_the_encoder_on_the_whole_image(encoders, method):
    image, encoder = noise(64, 96, 3), encoders[method]
    embedding = embed(image, encoder)
    features = encoder.encode(image[None].astype(np.float32) / 255)
    np.testing.assert_allclose(embedding.tokens, features.tokens[0], atol=1e-5)
    if method == "dira":
        assert embedding.attention is None
        np.testing.assert_allclose(embedding.activation, features.activation[0], atol=1e-5)
    else:
        assert embedding.attention.shape == (2, 8, 12)
        np.testing.assert_allclose(embedding.attention, features.attention[0], atol=1e-6)
        np.testing.assert_allclose(embedding.prefix_attention, features.prefix_attention[0], atol=1e-6)


@pytest.mark.parametrize("tiling", [Tiling(), Tiling(1, 0), Tiling(2, 1)])
@pytest.mark.parametrize("shape", [(20, 27), (17, 25), (9, 8)])
def test_padding_mirrors_the_region_whatever_the_tiling(encoders, tiling, shape):
    image = noise(*shape, 3)
    missing = [(0, -side % 8) for side in shape]
    mirrored = np.pad(image, [*missing, (0, 0)], mode="reflect")
    padded, whole = (embed(each, encoders["mae"], tiling=tiling) for each in (image, mirrored))
    np.testing.assert_array_equal(padded.tokens, whole.tokens)
    np.testing.assert_array_equal(padded.foreground, whole.foreground)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(8, 70),
    st.integers(8, 70),
    st.integers(1, 5),
    st.sampled_from(["drop", "blend"]),
    st.sampled_from(list(METHODS)),
    st.data(),
)
def test_every_token_is_computed_whatever_the_tiling(encoders, h, w, tile, stitching, method, data):
    tiling = Tiling(tile, data.draw(st.integers(0, tile - 1)), stitching)
    embedding = embed(noise(h, w), encoders[method], tiling=tiling)
    assert np.isfinite(embedding.tokens).all()
    assert embedding.foreground.all()
    assert embedding.provenance.stitching == stitching


def test_tiles_without_overlap_are_embedded_each_on_its_own(encoders):
    image = noise(64, 96, 3)
    embedding = embed(image, encoders["dinov3"], tiling=Tiling(4, 0))
    corner = embed(image[32:64, 64:96], encoders["dinov3"])
    np.testing.assert_allclose(embedding.tokens[4:, 8:], corner.tokens, atol=1e-5)
    np.testing.assert_allclose(embedding.attention[:, 4:, 8:], corner.attention, atol=1e-6)


def test_a_region_is_the_image_cut_out_and_lies_where_it_was(encoders):
    image = noise(100, 120, 3)
    region = embed(image, encoders["mae"], region=(17, 30, 41, 50))
    cut = embed(image[17:58, 30:80], encoders["mae"])
    np.testing.assert_array_equal(region.tokens, cut.tokens)
    np.testing.assert_array_equal(region.grid.token_to_pixel((0, 0)), (20.5, 33.5))
    assert region.provenance.region == Region(17, 30, 41, 50)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.int16])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_every_documented_kind_of_image(encoders, dtype, channels):
    image = noise(24, 32, *channels).astype(dtype)
    embedding = embed(image, encoders["mae"])
    assert embedding.tokens.shape == (3, 4, 32)


def test_kinds_that_mean_the_same_give_the_same(encoders):
    grey = noise(24, 32)
    rgb = np.stack([grey] * 3, axis=-1)
    rgba = np.concatenate([rgb, np.full((24, 32, 1), 255, np.uint8)], axis=-1)
    reference = embed(grey, encoders["mae"]).tokens
    for image in (grey[..., None], rgb, rgba, torch.from_numpy(rgb), (rgb / 255).astype(np.float32)):
        np.testing.assert_allclose(embed(image, encoders["mae"]).tokens, reference, atol=1e-5)


def test_a_given_window_is_used_and_recorded(encoders):
    image = noise(24, 32).astype(np.uint16)
    wide = embed(image, encoders["mae"], window=(0, 255))
    np.testing.assert_allclose(wide.tokens, embed(image.astype(np.uint8), encoders["mae"]).tokens, atol=1e-5)
    assert wide.provenance.window == (0.0, 255.0)
    with pytest.raises(InvalidOptionError, match="low < high"):
        embed(image, encoders["mae"], window=(5, 5))


def test_float32_repeats_bit_for_bit(encoders):
    image = noise(80, 90, 3)
    first, second = (embed(image, encoders["dinov3"], tiling=Tiling(6, 2)) for _ in range(2))
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.attention, second.attention)
    assert first.provenance == second.provenance


def test_provenance_names_what_decided_the_numbers(encoders):
    image = noise(24, 32)
    provenance = embed(image, encoders["mae"]).provenance
    assert provenance.weights_sha256 == encoders["mae"].spec.sha256
    assert provenance.precision == "float32"
    assert provenance.normalisation == "imagenet"
    other = image.copy()
    other[0, 0] += 1
    assert embed(other, encoders["mae"]).provenance.image_sha256 != provenance.image_sha256


def test_progress_counts_tiles_and_shows_what_there_is(encoders):
    seen = []

    def watch(progress):
        computed = np.isfinite(progress.embedding.tokens[..., 0]).mean()
        seen.append((progress.done, progress.total, computed, progress.seconds_left))

    final = embed(noise(8 * 30, 8 * 30), encoders["mae"], tiling=Tiling(10, 0), on_progress=watch)
    assert [done for done, *_ in seen] == [9]
    tiled = []
    embed(
        noise(8 * 100, 8 * 100),
        encoders["mae"],
        tiling=Tiling(25, 0),
        on_progress=lambda progress: tiled.append((progress.done, progress.total)),
    )
    assert tiled[-1] == (16, 16)
    assert len(tiled) > 1
    assert seen[0][2] == 1
    assert seen[0][3] == 0
    assert np.isfinite(final.tokens).all()


def test_cancelling_stops_and_leaves_what_was_computed(encoders):
    kept = []

    def stop(progress):
        kept.append(progress.embedding)
        raise Cancelled("Stopped on request.")

    with pytest.raises(Cancelled):
        embed(noise(800, 800), encoders["mae"], tiling=Tiling(25, 0), on_progress=stop)
    computed = np.isfinite(kept[0].tokens[..., 0])
    assert 0 < computed.mean() < 1


class Greedy:
    """An encoder whose device has room for a few tiles only."""

    def __init__(self, encoder, room):
        self._encoder, self.room, self.batches = encoder, room, []

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, tiles):
        self.batches.append(len(tiles))
        if len(tiles) > self.room:
            raise torch.OutOfMemoryError("no room")
        return self._encoder.encode(tiles)


class Elsewhere(Greedy):
    """An encoder on another device than the processor: what it gives is taken up behind it."""

    device = "mps"


@pytest.mark.parametrize("stitching", ["drop", "blend"])
def test_a_device_that_is_not_kept_waiting_gives_the_same_tokens_and_progress(encoders, stitching, tmp_path):
    image, seen = noise(200, 200), {}
    for name, encoder in (("cpu", encoders["mae"]), ("elsewhere", Elsewhere(encoders["mae"], room=4))):
        done = seen[name] = []
        found = embed(
            image,
            encoder,
            tiling=Tiling(5, 1, stitching=stitching),
            cache=Cache(tmp_path / name),
            on_progress=lambda progress, done=done: done.append(
                (progress.done, int(np.isfinite(progress.embedding.tokens[..., 0]).sum()))
            ),
        )
        seen[name] = (found, done)
    (one, counts), (other, behind) = seen["cpu"], seen["elsewhere"]
    np.testing.assert_allclose(one.tokens, other.tokens, atol=1e-5)  # batches of another size round otherwise
    assert counts[-1] == behind[-1]
    assert [tiles for tiles, _ in behind] == sorted(tiles for tiles, _ in behind)


def test_cancelling_on_another_device_leaves_what_was_computed(encoders):
    kept = []

    def stop(progress):
        kept.append(np.isfinite(progress.embedding.tokens[..., 0]).mean())
        raise Cancelled("Stopped on request.")

    with pytest.raises(Cancelled):
        embed(noise(200, 200), Elsewhere(encoders["mae"], room=4), tiling=Tiling(5, 0), on_progress=stop)
    assert 0 < kept[0] < 1
    assert not [thread for thread in threading.enumerate() if "napari-sslmaps-" in thread.name]


def test_running_out_of_memory_halves_the_batch_and_goes_on(encoders):
    image = noise(200, 200)
    greedy = Greedy(encoders["mae"], room=3)
    found = embed(image, greedy, tiling=Tiling(5, 0))
    np.testing.assert_allclose(
        found.tokens, embed(image, encoders["mae"], tiling=Tiling(5, 0)).tokens, atol=1e-4
    )
    assert greedy.batches[:4] == [16, 8, 4, 2]
    assert max(greedy.batches[4:]) == 2


def test_one_tile_too_many_is_said(encoders):
    with pytest.raises(DeviceMemoryError, match="Choose smaller tiles"):
        embed(noise(64, 64), Greedy(encoders["mae"], room=0))


def test_the_foreground_leaves_flat_tokens_out(encoders):
    image = noise(64, 64)
    image[:, :32] = 240
    foreground = embed(image, encoders["mae"]).foreground
    assert not foreground[:, :4].any()
    assert foreground[:, 4:].all()


def test_a_uniform_region_is_refused_unless_wanted_as_a_control(encoders):
    black = np.zeros((64, 64), np.uint8)
    with pytest.raises(UnsupportedImageError, match="every pixel of this one is 0"):
        embed(black, encoders["mae"])
    assert np.isfinite(embed(black, encoders["mae"], allow_uniform=True).tokens).all()


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((3, 64, 64), np.uint8), "channel"),
        (np.zeros((2, 3, 4, 64, 64), np.uint8), "Expected"),
        (np.zeros((0, 64), np.uint8), "Expected"),
        (np.full((64, 64), np.nan, np.float32), "NaN"),
        (np.full((64, 64), np.inf), "infinite"),
        (np.zeros((64, 64), complex), "Expected"),
        (np.array([["a"]], object), "Expected"),
    ],
    ids=["channel first", "5-D", "empty", "NaN", "inf", "complex", "objects"],
)
def test_unusable_images_get_a_sentence(encoders, image, sentence):
    with pytest.raises(UnsupportedImageError, match=sentence):
        embed(image, encoders["mae"])


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        ((0, 0, 65, 10), "inside the image of 64 × 64 px"),
        ((60, 60, 10, 10), "inside the image"),
        ((0, 0, 1, 1), "at least one patch"),
        (Region(0, 0, 8, 8, level=1), "level below 1"),
        (Region(0, 0, 8, 8, frame=1), "frame below 1"),
        ((0, 0, 8), "Expected a region as"),
    ],
)
def test_impossible_regions_get_a_sentence(encoders, region, sentence):
    with pytest.raises(RegionError, match=sentence):
        embed(noise(64, 64), encoders["mae"], region=region)


def test_one_pixel_is_smaller_than_a_patch(encoders):
    with pytest.raises(RegionError, match="at least one patch"):
        embed(np.ones((1, 1), np.uint8), encoders["mae"], allow_uniform=True)


def test_the_image_is_not_changed(encoders):
    image = noise(24, 32, 3)
    before = image.copy()
    embed(image, encoders["mae"])
    np.testing.assert_array_equal(image, before)


def test_the_plan_says_what_will_happen(encoders):
    source = open_image(noise(2048, 2048, 3))
    planned = plan(source, encoders["mae"].spec)
    assert planned.describe() == "2048 × 2048 px → 256 × 256 tokens, 100 tiles"
    assert planned.computed_tokens == 100 * 33 * 33
    assert plan(source, encoders["mae"].spec, (0, 0, 64, 64)).describe().endswith("1 tile")


def test_tiles_near_the_focus_come_first_and_the_result_is_the_same(encoders):
    image, first = noise(8 * 100, 8 * 100), []

    def watch(progress):
        if not first:
            first.append(np.isfinite(progress.embedding.tokens[..., 0]))

    focused = embed(
        image, encoders["mae"], tiling=Tiling(25, 4), focus_yx=(8 * 90, 8 * 10), on_progress=watch
    )
    assert first[0][90, 10]
    assert not first[0][10, 10]
    reference = embed(image, encoders["mae"], tiling=Tiling(25, 4))
    np.testing.assert_array_equal(focused.tokens, reference.tokens)
    np.testing.assert_array_equal(focused.attention, reference.attention)
    np.testing.assert_array_equal(focused.prefix_attention, reference.prefix_attention)
    assert focused.provenance == reference.provenance


def test_tiles_of_rotary_encoders_are_square_in_a_narrow_region(encoders):
    source = open_image(noise(80, 8 * 200))
    rotary, added = (plan(source, encoders[name].spec, tiling=Tiling(32)).tiles for name in ("dinov3", "mae"))
    assert {tile.shape for tile in rotary} == {(32, 32)}
    assert {tile.shape for tile in added} == {(10, 32)}
    assert np.isfinite(embed(source, encoders["dinov3"]).tokens).all()


def test_reading_stops_with_the_computing(encoders):
    def stop(progress):
        raise Cancelled("Stopped on request.")

    with pytest.raises(Cancelled):
        embed(noise(800, 800), encoders["mae"], tiling=Tiling(25, 0), on_progress=stop)
    assert not [thread for thread in threading.enumerate() if "napari-sslmaps-read" in thread.name]


@pytest.mark.parametrize(
    "asked", [{"resolution": 1.0}, {"short_side": 48}, {"resolution": Resolution(short_side=48)}]
)
def test_a_region_is_read_at_the_resolution_that_is_asked_for(asked, encoders):
    encoder = encoders["mae"]
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    source = ArraySource(pixels, spacing_um_yx=(0.5, 0.5))
    found = embed(source, encoder, **asked)
    coarse = ResampledLevel(ArraySource(pixels), (2.0, 2.0))
    expected = embed(coarse.read(Region(0, 0, 48, 64, 1)), encoder)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert found.grid.stride_yx == (16.0, 16.0)
    assert found.provenance.region == Region(0, 0, 48, 64, 1)
    np.testing.assert_array_equal(found.pixels(found.provenance.region), coarse.read(Region(0, 0, 48, 64, 1)))


def test_a_region_lies_where_it_lay(encoders):
    encoder = encoders["mae"]
    source = ArraySource(np.random.default_rng(0).integers(0, 255, (96, 128), dtype=np.uint8))
    found = embed(source, encoder, region=(32, 48, 64, 64), short_side=48)
    assert found.grid.origin_yx == (32.0, 48.0)
    assert found.grid.extent_yx == (64.0, 64.0)
    assert found.grid.shape == (4, 4)


def test_trained_is_native_where_nothing_is_known_and_the_encoder_s_own_where_it_is(encoders):
    encoder = encoders["mae"]
    pixels = np.random.default_rng(0).integers(0, 255, (96, 128), dtype=np.uint8)
    assert embed(pixels, encoder, resolution="trained").grid.shape == (12, 16)
    trained = replace(encoder, spec=replace(encoder.spec, trained=Resolution(short_side=48)))
    found = embed(pixels, trained, resolution="trained")
    assert found.grid.shape == (6, 8)
    np.testing.assert_array_equal(found.tokens, embed(pixels, encoder, short_side=48).tokens)


def changed_meanwhile(path, encoder, change):
    """Embed a file that is changed when the first tiles are there."""
    waiting = [change]
    embed(path, encoder, on_progress=lambda _: waiting.pop()() if waiting else None)


@pytest.mark.parametrize("name", ["image.npy", "image.tif"])
def test_a_file_that_changes_between_scan_and_read_is_noticed(encoders, tmp_path, name):
    path, first, later = tmp_path / name, noise(400, 900), noise(400, 900, seed=1)
    write = np.save if name.endswith("npy") else tifffile.imwrite
    write(path, first)
    with pytest.raises(UnsupportedImageError, match="was changed meanwhile"):
        changed_meanwhile(path, encoders["mae"], lambda: write(path, later))
    assert (
        embed(path, encoders["mae"]).provenance.image_sha256
        == embed(later, encoders["mae"]).provenance.image_sha256
    )


def test_a_file_that_is_truncated_while_it_is_read_is_a_sentence(encoders, tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, noise(1600, 1600))
    with pytest.raises(UnsupportedImageError, match=r"has become shorter|was changed meanwhile"):
        changed_meanwhile(path, encoders["mae"], lambda: os.truncate(path, 2000))


def test_a_folder_that_changes_while_it_is_read_is_noticed(encoders, tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(400, 900), chunks=(200, 300), dtype="u1")
    array[...] = noise(400, 900)

    def change():
        array[300:, 800:] = noise(100, 100, seed=1)

    with pytest.raises(UnsupportedImageError, match="was changed meanwhile"):
        changed_meanwhile(tmp_path / "a.zarr", encoders["mae"], change)


def test_a_mask_of_numpy_is_not_passed_over(encoders):
    image = noise(64, 64)
    with pytest.raises(UnsupportedImageError, match=r"of this masked array are masked.*mask=~numpy"):
        embed(np.ma.masked_array(image, mask=image > 100), encoders["mae"])
    unmasked = embed(np.ma.masked_array(image, mask=False), encoders["mae"])
    np.testing.assert_array_equal(unmasked.tokens, embed(image, encoders["mae"]).tokens)


def test_a_mask_of_dask_is_not_passed_over(encoders):
    image = noise(64, 64)
    masked = da.ma.masked_array(da.from_array(image, 32), mask=da.from_array(image > 100, 32))
    with pytest.raises(UnsupportedImageError, match=r"of this masked array are masked.*mask=~dask"):
        embed(masked, encoders["mae"])
    unmasked = embed(da.ma.masked_array(da.from_array(image, 32), mask=False), encoders["mae"])
    np.testing.assert_array_equal(unmasked.tokens, embed(image, encoders["mae"]).tokens)
    wanted = embed(da.ma.filled(masked, 0), encoders["mae"], mask=~da.ma.getmaskarray(masked))
    assert np.isfinite(wanted.tokens).any()


def sent(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301  # what was pickled here


def test_an_embedding_goes_to_another_process_with_what_reads_its_image(encoders, tmp_path):
    path, image, corner = tmp_path / "image.tif", noise(64, 64), Region(0, 0, 8, 8)
    tifffile.imwrite(path, image)
    for one in (path, image):
        found = embed(one, encoders["mae"])
        for again in (sent(found), copy.deepcopy(found)):
            np.testing.assert_array_equal(again.tokens, found.tokens)
            np.testing.assert_array_equal(again.pixels(corner), image[:8, :8])
    halved = sent(embed(path, encoders["mae"], short_side=32))
    level = halved.provenance.region.level
    assert halved.pixels(Region(0, 0, 32, 32, level)).shape == (32, 32)


def test_weights_that_give_no_numbers_are_named(tmp_path):
    path = write_encoder(tmp_path / "large.safetensors")
    with safe_open(path, "pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
        about = file.metadata()
    save_file(state | {"norm.weight": torch.full_like(state["norm.weight"], 3e38)}, path, metadata=about)
    encoder = load_encoder(path, device="cpu", precision="float32")
    with pytest.raises(
        CheckpointError, match=r"finite numbers; \d+ of \d+ values that large gives in float32"
    ):
        embed(noise(64, 64), encoder)
