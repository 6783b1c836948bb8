"""Embedding with a cache: found again, resumed, and never wrong."""

import logging
import os
import resource
from contextlib import contextmanager

import imageio.v3 as iio
import numpy as np
import pytest
import zarr
from cache_kit import TILED, assert_same, noise, stop_after
from encoders_factory import Counting, write_encoder

from napari_sslmaps.cache.store import Cache
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import Cancelled, UnsupportedImageError
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.open import open_image

METHODS = ("mae", "ijepa", "dira")
BATCH = 16


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: load_encoder(
            write_encoder(folder / f"{method}.safetensors", method), device="cpu", precision="float32"
        )
        for method in METHODS
    }


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 10**9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tiling", [TILED, Tiling(8, 2, "blend"), Tiling(100, 0)], ids=str)
def test_a_second_call_computes_nothing_and_gives_the_same_bits(encoders, cache, method, tiling):
    image, reports = noise(130, 170, 3), []
    reference = embed(image, encoders[method], tiling=tiling)
    first = embed(image, encoders[method], tiling=tiling, cache=cache)
    again = Counting(encoders[method])
    second = embed(image, again, tiling=tiling, cache=cache, on_progress=reports.append)
    assert again.tiles == 0
    assert [(report.done, report.restored, report.seconds_left) for report in reports] == [
        (reports[0].total, reports[0].total, 0)
    ]
    assert_same(first, reference)
    assert_same(second, reference)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stitching", ["drop", "blend"])
def test_a_stopped_run_is_taken_up_where_it_was(encoders, cache, method, stitching):
    image, tiling, reports = noise(250, 300, 3), Tiling(8, 2, stitching), []
    reference = embed(image, encoders[method], tiling=tiling)
    first, second = Counting(encoders[method]), Counting(encoders[method])
    with pytest.raises(Cancelled):
        embed(image, first, tiling=tiling, cache=cache, on_progress=stop_after(1))
    found = embed(image, second, tiling=tiling, cache=cache, on_progress=reports.append)
    assert 0 < first.tiles < reports[0].total
    assert first.tiles + second.tiles == reports[0].total
    assert reports[0].done == reports[0].restored == first.tiles
    assert_same(found, reference)
    assert [item.finished for item in cache.embeddings()] == [True]


def test_a_run_stopped_near_a_point_leaves_gaps_that_are_filled(encoders, cache):
    image, encoder = noise(250, 300, 3), Counting(encoders["mae"])
    with pytest.raises(Cancelled):
        embed(image, encoder, tiling=TILED, cache=cache, focus_yx=(200, 200), on_progress=stop_after(1))
    before = encoder.tiles
    found, whole = embed(image, encoder, tiling=TILED, cache=cache), Counting(encoders["mae"])
    assert_same(found, embed(image, whole, tiling=TILED))
    assert 0 < before < encoder.tiles == whole.tiles


def _other_weights(tmp_path):
    path = write_encoder(tmp_path / "other.safetensors", "mae", seed=1)
    return load_encoder(path, device="cpu", precision="float32")


def test_whatever_decides_the_numbers_is_part_of_the_key(encoders, cache, tmp_path):
    image, mae = noise(100, 120, 3), encoders["mae"]
    changed = image.copy()
    changed[99, 119, 2] ^= 1
    calls = [
        ((image, mae), {}),
        ((changed, mae), {}),
        ((image, _other_weights(tmp_path)), {}),
        ((image, encoders["ijepa"]), {}),
        ((image, mae), {"window": (0, 254)}),
        ((image, mae), {"region": (0, 0, 100, 112)}),
        ((image, mae), {"tiling": Tiling(9, 2)}),
        ((image, mae), {"tiling": Tiling(8, 3)}),
        ((image, mae), {"tiling": Tiling(8, 2, "blend")}),
        ((image, load_encoder(mae.spec.path, device="cpu", precision="bfloat16")), {}),
        ((image, load_encoder(mae.spec.path, device="cpu", precision="float32", num_heads=1)), {}),
        ((image, load_encoder(mae.spec.path, device="cpu", precision="float32", normalisation="unit")), {}),
    ]
    for arguments, options in calls:
        embed(*arguments, **{"tiling": TILED, "cache": cache, **options})
    keys = {item.key for item in cache.embeddings()}
    assert len(keys) == len(calls)


def test_names_and_places_are_no_part_of_the_key(encoders, cache, tmp_path):
    image, counting = noise(100, 120, 3), Counting(encoders["mae"])
    for name in ("first", "second"):
        iio.imwrite(tmp_path / f"{name}.png", image)
        embed(tmp_path / f"{name}.png", counting, tiling=TILED, cache=cache)
    assert len(cache.embeddings()) == 1
    np.testing.assert_array_equal(
        embed(image, counting, tiling=TILED, cache=cache).tokens,
        embed(image, encoders["mae"], tiling=TILED).tokens,
    )


def _age(path, seconds=3600):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - seconds * 10**9))


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(encoders, cache, tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    iio.imwrite(path, noise(100, 120, 3))
    _age(path)
    first = embed(path, encoders["mae"], tiling=TILED, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr("napari_sslmaps.sources.base.SourceBase.read", None)
        assert_same(embed(path, encoders["mae"], tiling=TILED, cache=cache), first)
    iio.imwrite(path, noise(100, 120, 3, seed=1))
    _age(path, 1800)
    other = embed(path, encoders["mae"], tiling=TILED, cache=cache)
    assert_same(other, embed(path, encoders["mae"], tiling=TILED))
    assert other.provenance.image_sha256 != first.provenance.image_sha256


def test_an_opened_file_is_known_again_unless_it_was_changed_since(encoders, cache, tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    iio.imwrite(path, noise(100, 120, 3))
    _age(path)
    first = embed(path, encoders["mae"], tiling=TILED, cache=cache)
    with open_image(path) as source, monkeypatch.context() as patch:
        patch.setattr("napari_sslmaps.sources.base.SourceBase.read", None)
        assert_same(embed(source, encoders["mae"], tiling=TILED, cache=cache), first)
    with open_image(path) as source:
        _age(path, 1800)
        assert FileIdentity.of(source) is None
        assert_same(embed(source, encoders["mae"], tiling=TILED, cache=cache), first)


def test_a_file_changed_while_it_is_embedded_is_refused_and_not_kept(encoders, cache, tmp_path):
    path = tmp_path / "image.png"
    iio.imwrite(path, noise(250, 300, 3))
    with pytest.raises(UnsupportedImageError, match="it was changed meanwhile"):
        embed(path, encoders["mae"], tiling=TILED, cache=cache, on_progress=lambda _: _age(path, 7))
    assert not cache.embeddings()


def _damage(path, how):
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "flipped bit"])
@pytest.mark.parametrize("what", ["tokens/c/*/*/*", "attention/c/*/*/*", "tokens/zarr.json", "zarr.json"])
def test_a_damaged_embedding_is_said_and_computed_again(encoders, cache, caplog, how, what):
    image, counting = noise(100, 120, 3), Counting(encoders["mae"])
    reference = embed(image, counting, tiling=TILED, cache=cache)
    tiles = counting.tiles
    _damage(next(cache.embeddings()[0].path.glob(what)), how)
    assert_same(embed(image, counting, tiling=TILED, cache=cache), reference)
    assert counting.tiles == 2 * tiles
    assert "damaged" in caplog.text
    assert_same(embed(image, counting, tiling=TILED, cache=cache), reference)
    assert counting.tiles == 2 * tiles


@pytest.mark.parametrize("how", ["cut", "empty", "flipped bit"])
def test_a_damaged_tile_is_said_and_its_batch_computed_again(encoders, cache, caplog, how):
    image, first, second = noise(250, 300, 3), Counting(encoders["mae"]), Counting(encoders["mae"])
    with pytest.raises(Cancelled):
        embed(image, first, tiling=TILED, cache=cache, on_progress=stop_after(17))
    _damage(next(cache.embeddings()[0].path.glob("0-*.npz")), how)
    found, whole = embed(image, second, tiling=TILED, cache=cache), Counting(encoders["mae"])
    assert_same(found, embed(image, whole, tiling=TILED))
    assert second.tiles == whole.tiles - first.tiles + BATCH
    assert "damaged" in caplog.text


@contextmanager
def files_no_larger_than(size):
    """Let writing beyond `size` bytes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_once_and_the_work_goes_on(encoders, cache, caplog):
    image = noise(250, 300, 3)
    with files_no_larger_than(3000):
        found = embed(image, encoders["mae"], tiling=TILED, cache=cache)
    assert_same(found, embed(image, encoders["mae"], tiling=TILED))
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "The work goes on without the cache" in said[0]
    assert not list(cache.folder.glob("*.zarr"))


def test_a_folder_that_cannot_be_made_is_said_once_and_the_work_goes_on(encoders, tmp_path, caplog):
    (tmp_path / "file").touch()
    image = noise(250, 300, 3)
    found = embed(image, encoders["mae"], tiling=TILED, cache=Cache(tmp_path / "file" / "cache", 10**9))
    assert_same(found, embed(image, encoders["mae"], tiling=TILED))
    assert caplog.text.count("The work goes on without the cache") == 1


def test_what_is_larger_than_the_cache_is_not_kept(encoders, tmp_path, caplog):
    cache = Cache(tmp_path, 1000)
    embed(noise(250, 300, 3), encoders["mae"], tiling=TILED, cache=cache)
    assert "larger than the cache may be" in caplog.text
    assert not cache.embeddings()


def test_without_a_cache_nothing_is_written(encoders, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path / "cache"))
    embed(noise(100, 120, 3), encoders["mae"])
    assert not (tmp_path / "cache").exists()
    embed(noise(100, 120, 3), encoders["mae"], cache=True)
    assert len(Cache().embeddings()) == 1


def test_the_finished_embedding_is_an_ome_zarr_that_others_can_read(encoders, cache):
    image = noise(100, 120, 3)
    embedding = embed(image, encoders["mae"], region=(16, 24, 80, 90), tiling=TILED, cache=cache)
    group = zarr.open_group(cache.embeddings()[0].path, mode="r", zarr_format=3)
    ome = group.attrs["ome"]
    assert ome["version"] == "0.5"
    tokens = next(image for image in ome["multiscales"] if image["name"] == "tokens")
    assert [axis["name"] for axis in tokens["axes"]] == ["c", "y", "x"]
    assert tokens["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [1.0, 8.0, 8.0]},
        {"type": "translation", "translation": [0.0, 19.5, 27.5]},
    ]
    stored = group[tokens["datasets"][0]["path"]]
    np.testing.assert_array_equal(stored[...], np.moveaxis(embedding.tokens, -1, 0))
    np.testing.assert_array_equal(group["attention"][...], embedding.attention)
    assert group.attrs["napari_sslmaps"]["weights_sha256"] == encoders["mae"].spec.sha256


def test_with_a_spacing_tokens_are_placed_in_micrometres_at_any_level(encoders, cache):
    levels = [noise(256, 256, 3), noise(128, 128, 3, seed=1)]
    source = ArraySource(levels, "slide", (0.5, 0.25))
    expected = [((4, 2), (1.75 + 8, 0.875 + 6)), ((8, 4), (3.75 + 16, 1.875 + 12))]
    for level, (scale, centre) in enumerate(expected):
        embed(source, encoders["mae"], region=Region(16, 24, 100, 96, level), tiling=TILED, cache=cache)
        group = zarr.open_group(cache.embeddings()[0].path, mode="r")
        image = group.attrs["ome"]["multiscales"][0]
        assert [axis.get("unit") for axis in image["axes"]] == [None, "micrometer", "micrometer"]
        found = image["datasets"][0]["coordinateTransformations"]
        np.testing.assert_allclose(found[0]["scale"], (1, *scale))
        np.testing.assert_allclose(found[1]["translation"], (0, *centre))
        cache.clear()
