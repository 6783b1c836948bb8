"""One pass over a region before anything is computed: what its pixels are, and whether they can be used."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.baselines import structured_tokens, unit_pixels
from napari_sslmaps.core.preprocess import FEW_BITS, Window, auto_window, check_finite
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.colour import sample_windows
from napari_sslmaps.sources.protocol import ImageSource

_STRIP_PIXELS = 4_000_000
_SAMPLES_PER_STRIP = 1_000_000
_SAMPLES = 8_000_000
_PATCH, _LATTICE = 16, 24
"""Pixels along a patch, and patches along a side, by which it is estimated how much is empty."""
MUCH_EMPTY = 0.25
"""Share of empty tokens from which maps of the tissue or field of view alone are proposed."""


@dataclass(frozen=True, slots=True)
class RegionScan:
    """Intensities and hash that a scan of a region found.

    Parameters
    ----------
    sha256
        Hash of shape, dtype and pixels, as hexadecimal.
    low, high
        Smallest and largest pixel value.
    window
        Intensities that become 0 and 1, as `choose_window` chooses them.
    """

    sha256: str
    low: float
    high: float
    window: Window


def scan_region(
    source: ImageSource,
    region: Region,
    strips: Iterable[NDArray[Any]] | None = None,
    parts: Sequence[Region] | None = None,
) -> RegionScan:
    """Read a region once, strip by strip, so that memory does not grow with it.

    Parameters
    ----------
    source, region
        Image, and the region of it to scan.
    strips
        Pixels of `parts`, in order, from whoever reads them faster; read here, one by one, if omitted.
    parts
        The only parts of the region that will be used; all of it, `strips_of`, if omitted.

    Raises
    ------
    UnsupportedImageError
        If a pixel is NaN or infinite, or cannot be decoded.
    """
    digest = hashlib.sha256(f"{region.shape_yx}{source.channels}{source.dtype}".encode())
    if parts is not None:
        digest.update(
            str([(part.y - region.y, part.x - region.x, *part.shape_yx) for part in parts]).encode()
        )
    wanted = strips_of(region) if parts is None else parts
    lows, highs, samples = [], [], []
    sparse = sum(part.height * part.width for part in wanted) * source.channels // _SAMPLES
    for strip in map(source.read, wanted) if strips is None else strips:
        check_finite(strip)
        digest.update(np.ascontiguousarray(strip).data)
        lows.append(float(strip.min()))
        highs.append(float(strip.max()))
        step = max(1, strip.size // _SAMPLES_PER_STRIP, sparse)
        samples.append(strip.reshape(-1)[::step].copy())  # a view would keep the whole strip
    low, high = min(lows), max(highs)
    return RegionScan(
        digest.hexdigest(), low, high, choose_window(source, np.concatenate(samples), low, high)
    )


def empty_share(source: ImageSource, region: Region) -> float:
    """Estimate in which share of a region nothing varies, by patches on a lattice; for pixels in memory.

    Parameters
    ----------
    source, region
        Image, and the region of it to look at.

    Returns
    -------
    float
        Share of patches that are flat, as `embed` tells them; 0 for a region that is smaller than a patch.

    Raises
    ------
    UnsupportedImageError
        If it cannot be read.
    """
    rows, cols = (side // _PATCH for side in region.shape_yx)
    if not rows or not cols:
        return 0.0
    step_y, step_x = (-(-count // _LATTICE) for count in (rows, cols))
    found = []
    for top in range(0, rows, step_y):
        strip = source.read(region.part(top * _PATCH, 0, _PATCH, cols * _PATCH))
        cells = strip.reshape(_PATCH, cols, _PATCH, -1)[:, ::step_x]
        found.append(cells.reshape(_PATCH, -1, *strip.shape[2:]))
    pixels = np.concatenate(found)
    check_finite(pixels)
    window = choose_window(source, pixels.reshape(-1), float(pixels.min()), float(pixels.max()))
    return float(1 - structured_tokens(unit_pixels(pixels, window), _PATCH).mean())


def choose_window(source: ImageSource, sample: NDArray[Any], low: float, high: float) -> Window:
    """Choose the intensities that become 0 and 1: those that the file says, if any pixel is within.

    Parameters
    ----------
    source
        Image to scan.
    sample, low, high
        Sample size and percentiles, as `auto_window`, which chooses otherwise, takes them.
    """
    said: Window | None = getattr(source, "window", None)
    inside = said is not None and said[0] < high and low < said[1]
    return said if said is not None and inside else auto_window(sample, low, _brightest(source, high))


def _brightest(source: ImageSource, high: float) -> float:
    """Return the largest value of a dark region, or of a sample of all its image if that is larger.

    Few bits are a fact of the image: the black corner of an ultrasound frame is black, not faint.
    """
    if source.dtype != np.uint8 or high >= 2**FEW_BITS:
        return high
    try:
        return max(high, *(float(window.max()) for window in sample_windows(source)))
    except (UnsupportedImageError, OSError):  # elsewhere than what is asked for
        return high


def strips_of(region: Region) -> list[Region]:
    """Cut a region into strips of rows, small enough to be held in memory one by one."""
    height = max(1, _STRIP_PIXELS // region.width)
    return [
        region.part(y, 0, min(height, region.height - y), region.width)
        for y in range(0, region.height, height)
    ]
