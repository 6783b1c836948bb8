"""Hypothesis strategies shared by the tests."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.tiling import Tiling

finite = st.floats(-100, 100, allow_nan=False, width=32)
positive = st.floats(0.05, 20, allow_nan=False)
points = st.tuples(finite, finite)


@st.composite
def grids(draw: st.DrawFn) -> TokenGrid:
    """Grids over regions of odd and even sizes, on any level."""
    stride = draw(st.integers(1, 17))
    region = Region(
        draw(st.integers(0, 50)),
        draw(st.integers(0, 50)),
        draw(st.integers(stride, 120)),
        draw(st.integers(stride, 120)),
    )
    downsample = draw(st.sampled_from([(1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (2.0, 4.0), (3.7, 3.7)]))
    return TokenGrid.covering(region, stride, downsample)


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    """Tile sizes and overlaps that are allowed together."""
    tile = draw(st.integers(1, 12))
    return Tiling(tile, draw(st.integers(0, tile - 1)), draw(st.sampled_from(["drop", "blend"])))


@st.composite
def token_arrays(draw: st.DrawFn, *, min_dim: int = 2) -> np.ndarray:
    """(rows, cols, dim) float32 arrays of moderate numbers, none of them a zero token."""
    shape = draw(st.tuples(st.integers(2, 6), st.integers(2, 6), st.integers(min_dim, 8)))
    values = draw(hnp.arrays(np.float32, shape, elements=st.floats(-10, 10, width=32)))
    values[..., 0] += 20
    return values
