"""Chunks that are bounded give the numbers that zarr gives."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_sslmaps.sources.zarr_bounds import bounded

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


def test_an_array_of_zarr_2_is_read_as_it_is(tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=NOISE.shape, dtype="u2", zarr_format=2)
    array[:] = NOISE
    np.testing.assert_array_equal(bounded(zarr.open_array(tmp_path / "a.zarr", mode="r"))[:], NOISE)
