"""Scanning a region keeps none of its pixels, also where they are read ahead."""

import tracemalloc

import numpy as np
import pytest

from napari_sslmaps.core.region import Region
from napari_sslmaps.pipeline.reading import scan_ahead
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.scan import scan_region


class Generated(ArraySource):
    """Pixels made when they are read, so that only the scan can keep them."""

    def _decode(self, region):
        rows = np.arange(region.y, region.y + region.height, dtype=np.uint16)
        return np.repeat(rows[:, None], region.width, axis=1)


@pytest.mark.parametrize("scan_with", [scan_region, scan_ahead])
def test_peak_memory_of_a_scan_does_not_grow_with_the_region(scan_with):
    source = Generated(np.broadcast_to(np.uint16(0), (40_000, 2_000)))
    peaks = []
    for height in (4_000, 40_000):
        tracemalloc.start()
        scan = scan_with(source, Region(0, 0, height, 2_000))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (scan.low, scan.high) == (0, height - 1)
    assert peaks[1] < peaks[0] + 100e6  # the whole is 160 MB as it is, and 640 MB as the floats of a quantile


def test_a_scan_that_reads_ahead_sees_the_same():
    source = Generated(np.broadcast_to(np.uint16(0), (9_000, 2_000)))
    region = Region(3, 5, 8_500, 1_900)
    assert scan_ahead(source, region) == scan_region(source, region)
