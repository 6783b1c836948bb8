"""An image, an encoder and a count of what is computed, for tests of the cache."""

import numpy as np

from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.errors import Cancelled

TILED = Tiling(8, 2)
ARRAYS = ("tokens", "attention", "prefix_attention", "activation", "foreground")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Counting:
    """An encoder that counts the tiles it computes."""

    def __init__(self, encoder):
        self._encoder, self.tiles = encoder, 0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode(self, tiles):
        self.tiles += len(tiles)
        return self._encoder.encode(tiles)


def stop_after(tiles):
    """Return a callback that stops an embedding once so many tiles are done."""

    def stop(progress):
        if progress.done >= tiles:
            raise Cancelled("Stopped on request.")

    return stop


def assert_same(found, reference):
    for name in ARRAYS:
        first, second = getattr(found, name), getattr(reference, name)
        assert (first is None) == (second is None)
        if first is not None:
            np.testing.assert_array_equal(first, second)
    assert found.provenance == reference.provenance
    assert found.grid == reference.grid
