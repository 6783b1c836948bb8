"""Tokens brought from one grid to another."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.moments import TokenMoments
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.regrid import common_grid, regrid, regrid_embedding, regrid_map, spread_tokens
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, RegionError
from napari_sslmaps.maps.attention import AttentionMap

sizes = st.integers(17, 60)
strides = st.integers(1, 17)


def on_pixels(values, grid, region):
    """Each pixel of level 0 gets its token's value."""
    rows, cols = (
        np.arange(size) // stride
        for size, stride in zip((region.height, region.width), grid.stride_yx, strict=True)
    )
    return values[np.ix_(rows.astype(int), cols.astype(int))]


@given(sizes, sizes, strides, strides, st.integers(0, 9))
def test_a_token_is_the_mean_of_its_pixels(height, width, before, after, seed):
    region = Region(seed, 2 * seed, height, width)
    source, target = TokenGrid.covering(region, before), TokenGrid.covering(region, after)
    values = np.random.default_rng(seed).normal(size=(*source.shape, 2)).astype(np.float32)
    found = regrid(values, source, target)
    pixels = on_pixels(values.astype(float), source, region)
    for row in range(target.rows):
        for col in range(target.cols):
            part = pixels[row * after : (row + 1) * after, col * after : (col + 1) * after]
            np.testing.assert_allclose(found[row, col], part.mean(axis=(0, 1)), atol=1e-5)


@given(sizes, sizes, strides, strides)
def test_constants_stay_and_coordinates_keep_their_place(height, width, before, after):
    region = Region(0, 0, height, width)
    source, target = TokenGrid.covering(region, before), TokenGrid.covering(region, after)
    assert np.allclose(regrid(np.full(source.shape, 3.5), source, target), 3.5)
    edges = source.edges_yx[0]
    middles = np.broadcast_to(((edges[1:] + edges[:-1]) / 2)[:, None], source.shape)
    wanted = target.edges_yx[0]
    moved = regrid(np.ascontiguousarray(middles), source, target)
    reach = (before + after) / 2
    assert np.all(np.abs(moved - ((wanted[1:] + wanted[:-1]) / 2)[:, None]) <= reach)


@given(sizes, sizes, strides, strides, st.integers(0, 99))
def test_a_token_known_by_less_than_half_is_unknown(height, width, before, after, seed):
    region = Region(0, 0, height, width)
    source, target = TokenGrid.covering(region, before), TokenGrid.covering(region, after)
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(source.shape) < 0.5, np.nan, rng.normal(size=source.shape))
    found = regrid(values, source, target)
    pixels = on_pixels(values, source, region)
    for row in range(target.rows):
        for col in range(target.cols):
            part = pixels[row * after : (row + 1) * after, col * after : (col + 1) * after]
            known = np.isfinite(part).mean() >= 0.5
            assert np.isfinite(found[row, col]) == known
            if known:
                np.testing.assert_allclose(found[row, col], np.nanmean(part), atol=1e-5)


def test_bands_change_nothing(monkeypatch):
    region = Region(0, 0, 61, 43)
    source, target = TokenGrid.covering(region, 3), TokenGrid.covering(region, 7)
    values = np.random.default_rng(0).normal(size=(*source.shape, 4))
    whole = regrid(values, source, target)
    monkeypatch.setattr("napari_sslmaps.core.regrid._BAND", 1)
    np.testing.assert_array_equal(regrid(values, source, target), whole)


def test_the_coarsest_grid_is_common_also_across_levels():
    fine = TokenGrid.covering(Region(0, 0, 64, 64), 8)
    coarse = TokenGrid.covering(Region(0, 0, 16, 16), 4, (4.0, 4.0))
    assert common_grid([fine, coarse, fine]) == coarse
    assert common_grid([fine]) == fine


def test_regions_must_be_the_same():
    first = TokenGrid.covering(Region(0, 0, 64, 64), 8)
    second = TokenGrid.covering(Region(0, 32, 64, 64), 8)
    with pytest.raises(RegionError, match=r"Expected maps of one region; got rows 0–64, columns 32–96 and"):
        common_grid([first, second])
    with pytest.raises(InvalidOptionError, match="got none"):
        common_grid([])
    with pytest.raises(InvalidOptionError, match="on the grid"):
        regrid(np.zeros((2, 3)), first, first)


def test_embeddings_and_maps_come_along():
    region = Region(0, 0, 48, 48)
    source, target = TokenGrid.covering(region, 8), TokenGrid.covering(region, 16)
    rng = np.random.default_rng(0)
    attention = rng.random((2, 6, 6)).astype(np.float32)
    foreground = np.zeros((6, 6), bool)
    foreground[:2, :2] = foreground[2, 2] = True
    embedding = Embedding(
        rng.normal(size=(6, 6, 5)).astype(np.float32),
        source,
        attention=attention,
        attention_kind="cls",
        prefix_attention=np.zeros(2, np.float32),
        foreground=foreground,
        moments=TokenMoments(36, np.zeros(5), np.eye(5)),
    )
    moved = regrid_embedding(embedding, target)
    assert moved.grid == target
    np.testing.assert_allclose(moved.attention, attention.reshape(2, 3, 2, 3, 2).mean(axis=(2, 4)), rtol=1e-6)
    assert moved.foreground is not None
    np.testing.assert_array_equal(np.argwhere(moved.foreground), [[0, 0]])
    assert moved.activation is None
    assert moved.moments is None
    assert regrid_embedding(embedding, source) is embedding

    found = AttentionMap(
        values=attention[0],
        grid=source,
        provenance=Provenance(),
        kind="cls",
        reduction="0",
        prefix_attention=0.25,
    )
    assert regrid_map(found, source) is found
    there = regrid_map(found, target)
    assert (there.values.shape, there.prefix_attention) == ((3, 3), 0.25)
    labels = replace(found, values=np.zeros((6, 6), np.int32))
    with pytest.raises(InvalidOptionError, match="labels have no mean"):
        regrid_map(labels, target)


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(5, 300), st.integers(0, 99))
def test_samples_stay_within_their_limit(rows, cols, limit, seed):
    known = np.random.default_rng(seed).random(rows * cols) < 0.8
    chosen = spread_tokens(known, cols, limit)
    assert len(chosen) <= limit
    assert known[chosen].all()
    if known.sum() <= limit:
        assert len(chosen) == known.sum()
