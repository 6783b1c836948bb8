"""Several threads, one source."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import numpy as np
import pytest
import tifffile
from case_kit import picture
from numpy.typing import NDArray

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.base import ImageLayout, SourceBase
from napari_sslmaps.sources.decoded_cache import DecodedCache
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.protocol import Level

WAIT = 10.0
ONE = Region(0, 0, 4, 4)


class Meeting(SourceBase):
    """Decodes only when `count` threads do so at once."""

    def __init__(self, count: int) -> None:
        super().__init__("meeting", ImageLayout((Level((4, 4)),), 1, np.dtype(np.uint8)))
        self.barrier, self.released = Barrier(count), False

    def _decode(self, region: Region) -> NDArray[Any]:
        self.barrier.wait(WAIT)
        return np.zeros(region.shape_yx, np.uint8)

    def _release(self) -> None:
        self.released = True


def test_threads_decode_at_once() -> None:
    with Meeting(3) as source, ThreadPoolExecutor(3) as pool:
        assert [pixels.shape for pixels in pool.map(source.read, [ONE] * 3)] == [(4, 4)] * 3


def test_the_last_reader_lets_go_of_a_closed_file() -> None:
    source = Meeting(2)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(source.read, ONE)
        while source.barrier.n_waiting == 0:
            pass
        source.close()
        assert not source.released
        with pytest.raises(UnsupportedImageError, match="has been closed"):
            source.read(ONE)
        source.barrier.wait(WAIT)
        assert reading.result(WAIT).shape == (4, 4)
    assert source.released


def test_a_tiff_decodes_different_tiles_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pixels = tmp_path / "a.tif", picture((64, 64))
    tifffile.imwrite(path, pixels, tile=(32, 32), compression="zlib")
    with open_image(path) as source, ThreadPoolExecutor(2) as pool:
        plane = source._planes[0]
        decode, barrier = plane._decode, Barrier(2)

        def meet(*args: Any) -> NDArray[Any]:
            barrier.wait(WAIT)
            return decode(*args)

        monkeypatch.setattr(plane, "_decode", meet)
        regions = [Region(0, 0, 8, 8), Region(40, 40, 8, 8)]
        first, second = pool.map(source.read, regions)
    np.testing.assert_array_equal(first, pixels[:8, :8])
    np.testing.assert_array_equal(second, pixels[40:48, 40:48])


def test_a_piece_is_decoded_once_however_many_ask() -> None:
    kept, calls, begun, go = DecodedCache(10**6), [], Event(), Event()

    def decode() -> NDArray[Any]:
        calls.append(1)
        begun.set()
        assert go.wait(WAIT)
        return np.ones(3)

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(kept.get, "piece", decode) for _ in range(4)]
        assert begun.wait(WAIT)
        go.set()
        assert [piece.result(WAIT).sum() for piece in waiting] == [3.0] * 4
    assert len(calls) == 1


def test_the_pieces_used_last_are_kept() -> None:
    kept, calls = DecodedCache(limit_bytes=30), []

    def get(key: int) -> None:
        def decode() -> NDArray[Any]:
            calls.append(key)
            return np.zeros(10, np.uint8)

        kept.get(key, decode)

    for key in (1, 2, 3, 1, 4, 1, 2):
        get(key)
    assert calls == [1, 2, 3, 4, 2]
    kept.clear()
    get(1)
    assert calls[-1] == 1


def test_a_piece_that_cannot_be_decoded_is_tried_again() -> None:
    kept = DecodedCache(100)

    def fail() -> NDArray[Any]:
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            kept.get(0, fail)
    assert kept.get(0, lambda: np.ones(2)).sum() == 2
    big = np.zeros(1000, np.uint8)
    assert kept.get(1, lambda: big) is big
    assert kept.get(1, fail) is big
