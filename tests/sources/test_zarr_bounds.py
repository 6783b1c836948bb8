"""Chunks that are bounded give the numbers that zarr gives."""

import json
import lzma
import os
import zipfile
from contextlib import closing
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
import zarr.codecs.numcodecs
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.storage import ZipStore

from napari_sslmaps.sources.zarr_bounds import _Bounded, bounded

NOISE = np.random.default_rng(0).integers(0, 2**16, (100, 130), dtype=np.uint16)


@pytest.mark.parametrize("shards", [None, (64, 128)])
@pytest.mark.parametrize("codec", [GzipCodec(), ZstdCodec(), BloscCodec(), None])
def test_pixels_are_those_of_zarr(codec, shards, tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=NOISE.shape, chunks=(32, 64), shards=shards, dtype="u2", compressors=codec
    )
    array[:] = NOISE
    found = bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))
    np.testing.assert_array_equal(found[:], NOISE)
    np.testing.assert_array_equal(found[40:70, 60:129], NOISE[40:70, 60:129])


PACKED_2 = {
    "zlib": numcodecs.Zlib(),
    "gzip": numcodecs.GZip(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
    "raw lzma": numcodecs.LZMA(format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}]),
    "zstd": numcodecs.Zstd(),
    "blosc": numcodecs.Blosc("lz4"),
    "lz4": numcodecs.LZ4(),
    "none": None,
}
FILTERS = [numcodecs.Delta("u2", "i8"), numcodecs.Shuffle(8), numcodecs.CRC32()]


@pytest.mark.parametrize("filters", [None, FILTERS], ids=["alone", "filtered"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("codec", PACKED_2)
def test_pixels_of_zarr_2_are_those_of_zarr(codec, order, filters, tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=NOISE.shape,
        chunks=(32, 64),
        dtype="u2",
        zarr_format=2,
        compressors=PACKED_2[codec],
        filters=filters,
        order=order,
    )
    array[:] = NOISE
    found = bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))
    np.testing.assert_array_equal(found[:], NOISE)
    np.testing.assert_array_equal(found[40:70, 60:129], NOISE[40:70, 60:129])


@pytest.mark.parametrize("codec", [name for name, codec in PACKED_2.items() if codec])
def test_a_chunk_of_zarr_2_that_unpacks_to_more_is_refused(codec, tmp_path: Path) -> None:
    packed = PACKED_2[codec]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(32, 64), chunks=(32, 64), dtype="u2", zarr_format=2, compressors=packed
    )
    array[:] = 1
    (tmp_path / "a.zarr/0.0").write_bytes(packed.encode(bytes(3_000_000)))
    with pytest.raises((ValueError, RuntimeError), match=r"unpacks to|too small"):
        bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))[:]


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("name", ["blosc", "lz4", "zstd", "zlib", "gzip", "bz2", "lzma"])
def test_codecs_of_numcodecs_in_zarr_3_give_the_same_and_are_bounded(name, tmp_path: Path) -> None:
    kind = {
        kind.codec_name: kind for kind in vars(zarr.codecs.numcodecs).values() if hasattr(kind, "codec_name")
    }[f"numcodecs.{name}"]
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=NOISE.shape, chunks=(128, 256), dtype="u2", compressors=kind()
    )
    array[:] = NOISE
    opened = bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))
    np.testing.assert_array_equal(opened[:], NOISE)
    (tmp_path / "a.zarr/c/0/0").write_bytes(kind()._codec.encode(bytes(3_000_000)))
    with pytest.raises((ValueError, RuntimeError), match=r"unpacks to|too small"):
        opened[:]


def test_a_pickle_is_refused() -> None:
    with pytest.raises(ValueError, match="could run anything"):
        _Bounded(numcodecs.Pickle(), 10**6)


def test_a_filter_that_makes_long_values_is_refused(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=NOISE.shape,
        dtype="u2",
        zarr_format=2,
        filters=[numcodecs.AsType("u2", "u2")],
    )
    array[:] = NOISE
    about = json.loads((tmp_path / "a.zarr/.zarray").read_text())
    about["filters"][0]["decode_dtype"] = "<U100000"
    (tmp_path / "a.zarr/.zarray").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="U100000"):
        bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))


def test_a_chunk_of_many_gigabytes_that_take_no_room_is_not_read(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=NOISE.shape, chunks=NOISE.shape, dtype="u2")
    array[:] = NOISE
    os.truncate(tmp_path / "a.zarr/c/0/0", 10**11)
    with pytest.raises(OSError, match="c/0/0 in it is longer"):
        bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))[:]


def test_a_chunk_that_a_zip_file_packs_small_is_not_unpacked_beyond_its_pixels(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=NOISE.shape, chunks=NOISE.shape, dtype="u2")
    array[:] = NOISE
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "a.zarr/zarr.json", "zarr.json")
        file.writestr("c/0/0", bytes(3_000_000))
    with closing(ZipStore(tmp_path / "a.zip", mode="r")) as store, pytest.raises(OSError, match="longer"):
        bounded(zarr.open_array(store, mode="r"))[:]


def test_shards_of_small_packed_chunks_may_be_longer_than_their_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sslmaps.sources.zarr_bounds._MORE", 0)
    shape, chunk = (32, 32), (2, 2)
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=shape, chunks=chunk, shards=shape, dtype="u1", compressors=None
    )
    array[:] = NOISE[:32, :32].astype(np.uint8)
    assert (tmp_path / "a.zarr/c/0/0").stat().st_size > 2 * 32**2
    np.testing.assert_array_equal(bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))[:], array[:])
