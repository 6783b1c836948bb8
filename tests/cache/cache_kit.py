"""An image, stops and comparisons, for tests of the cache."""

import numpy as np

from napari_sslmaps.core.tiling import Tiling
from napari_sslmaps.errors import Cancelled

TILED = Tiling(8, 2)
ARRAYS = ("tokens", "attention", "prefix_attention", "activation", "foreground")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


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
