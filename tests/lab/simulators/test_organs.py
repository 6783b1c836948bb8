"""Organs have the arrangement that a reader knows them by."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, label

from napari_sslmaps.lab.simulators.anatomy import (
    FLUID,
    KIDNEY,
    LESION,
    PARENCHYMA,
    SHADOW,
    WALL,
    Anatomy,
    Oval,
    place,
)
from napari_sslmaps.lab.simulators.organs import (
    ANECHOIC,
    bones,
    paint_body_wall,
    paint_heart,
    paint_kidney,
    paint_lesions,
    paint_parenchyma,
    paint_pool,
    paint_vessels,
)

SIZE = 160
seeds, inner = st.integers(0, 2**32), st.floats(40, 120)


def liver(rng: np.random.Generator, wall: float = -1.0) -> Anatomy:
    """Parenchyma under a flat transducer at the top, below a body wall of so many pixels."""
    depth = np.repeat(np.arange(SIZE, dtype=np.float32)[:, None], SIZE, axis=1)
    field = Anatomy(
        labels=np.zeros((SIZE, SIZE), dtype=np.uint8),
        echo=np.zeros((SIZE, SIZE), dtype=np.float32),
        depth=depth,
        across=depth.T.copy(),
        visible=np.ones((SIZE, SIZE), dtype=bool),
        zoom=1.0,
        wall=depth - np.float32(wall),
    )
    paint_parenchyma(rng, field)
    return field


@given(
    long=st.floats(8, 60),
    flat=st.floats(0.3, 1.0),
    angle=st.floats(0, np.pi),
    at=st.tuples(inner, inner),
)
def test_an_oval_s_radius_is_1_at_its_border(long, flat, angle, at):
    oval = Oval(at, long, long * flat, angle)
    radius = oval.radius(SIZE)
    for turn in (0.3, 1.9, 4.0):
        along, across = long * np.cos(turn), long * flat * np.sin(turn)
        y = at[0] + np.sin(angle) * along + np.cos(angle) * across
        x = at[1] + np.cos(angle) * along - np.sin(angle) * across
        row, column = round(y), round(x)
        if 0 <= row < SIZE and 0 <= column < SIZE:
            assert radius[row, column] == pytest.approx(1, abs=0.75 / (long * flat))
    assert (radius < 1).sum() <= np.pi * long * long * flat * 1.1 + 10


@settings(max_examples=25)
@given(seed=seeds)
def test_a_place_lies_in_the_region(seed):
    rng = np.random.default_rng(seed)
    region = rng.random((20, 20)) < 0.05
    row, column = place(rng, region)
    assert region[int(row), int(column)] or not region.any()
    assert place(rng, np.zeros((20, 20), dtype=bool)) == (10, 10)


def test_kidneys_have_a_bright_sinus_and_dark_pyramids():
    """Nearly always: an uneven one may hide its sinus, and a dilated pelvis takes its place."""
    spread = []
    for seed in range(30):
        field = liver(np.random.default_rng(seed))
        paint_kidney(np.random.default_rng(seed), field)
        kidney = field.labels == KIDNEY
        whole = not (kidney[[0, -1]].any() or kidney[:, [0, -1]].any())
        if whole and not (field.labels == FLUID).any():
            assert label(kidney)[1] == 1
            dark, middle, bright = np.quantile(field.echo[kidney], [0.05, 0.5, 0.98])
            spread.append((bright - middle > 2) & (middle - dark > 1.5))
    assert len(spread) > 5
    assert np.mean(spread) > 0.8


@settings(max_examples=25)
@given(seed=seeds)
def test_heart_chambers_are_walled(seed):
    field = liver(np.random.default_rng(seed))
    paint_heart(np.random.default_rng(seed), field)
    chambers = field.labels == FLUID
    assert chambers.any()
    rim = binary_dilation(chambers, iterations=2) & ~chambers
    assert (field.labels[rim] == WALL).all()


@settings(max_examples=25)
@given(seed=seeds)
def test_a_pool_is_dark_and_in_one_piece(seed):
    field = liver(np.random.default_rng(seed))
    paint_pool(np.random.default_rng(seed), field)
    pool = field.labels == FLUID
    assert label(pool)[1] == 1
    assert field.echo[pool].max() <= -12
    assert field.echo[pool].min() == ANECHOIC


@settings(max_examples=25)
@given(seed=seeds)
def test_vessels_run_through_parenchyma_only(seed):
    rng = np.random.default_rng(seed)
    field = liver(rng)
    field.labels[:, :80] = KIDNEY
    paint_vessels(rng, field)
    assert (field.labels[:, :80] == KIDNEY).all()
    assert set(np.unique(field.labels[:, 80:])) <= {PARENCHYMA, FLUID}


@settings(max_examples=25)
@given(seed=seeds)
def test_lesions_are_coarser_than_their_host(seed):
    rng = np.random.default_rng(seed)
    field = liver(rng)
    host = field.echo.copy()
    paint_lesions(rng, field)
    lesion = field.labels == LESION
    assert lesion.any()
    assert field.echo[lesion].std() > host[lesion].std()


@settings(max_examples=25)
@given(seed=seeds, thickness=st.floats(20, 60))
def test_the_body_wall_is_as_thick_as_it_was_drawn(seed, thickness):
    rng = np.random.default_rng(seed)
    field = liver(rng, thickness)
    paint_body_wall(rng, field)
    assert np.array_equal(field.labels == WALL, field.depth < thickness)
    levels = field.echo[: int(thickness), 0]
    assert len(np.unique(levels)) >= 2  # skin or fascia, and at least one layer


@settings(max_examples=25)
@given(seed=seeds)
def test_bone_is_marked_and_bright(seed):
    rng = np.random.default_rng(seed)
    field = liver(rng)
    bone = bones(rng, field)
    assert np.array_equal(field.labels == SHADOW, bone)
    assert bone.any()
    assert field.echo[bone].min() >= 10
    deep = replace(field, visible=field.depth > 60)
    assert bones(rng, deep).any()
