import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_sslmaps import Annotation, Embedding
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidAnchorError
from napari_sslmaps.evaluation.locality import (
    annotation_scale,
    autocorrelation,
    autocorrelation_length,
    similarity_scale,
)


def by_definition(fields, known):
    """Every pair of known cells, one by one."""
    centred = [np.where(known, field - field[known].mean(), 0) for field in fields]
    cells = np.argwhere(known)
    products = np.array([field[known] for field in centred])
    lags = 1 + min(known.shape) // 2
    total, count = np.zeros(lags), np.zeros(lags)
    for first, cell in enumerate(cells):
        for second, other in enumerate(cells):
            distance = round(float(np.hypot(*(cell - other))))
            if distance < lags:
                total[distance] += products[:, first] @ products[:, second]
                count[distance] += 1
    covariance = np.divide(total, count, out=np.zeros(lags), where=count > 0)
    return covariance / covariance[0]


@given(
    arrays(np.float64, (2, 6, 7), elements=st.floats(-1, 1, width=16)),
    arrays(np.bool_, (6, 7), elements=st.booleans()),
)
@settings(max_examples=25, deadline=None)
def test_it_is_the_definition(fields, known):
    known[0, :2] = True
    fields[0, 0, 0], fields[0, 0, 1] = 0.25, 0.75
    np.testing.assert_allclose(autocorrelation(fields, known), by_definition(fields, known), atol=1e-9)


def discs(radius, side=256, share=0.3, seed=0):
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint8)
    for row, col in rng.uniform(0, side, (int(share * side**2 / (np.pi * radius**2)), 2)):
        labels[(rows - row) ** 2 + (cols - col) ** 2 < radius**2] = 1
    return labels


def scale_of(labels, stride=8, shape=None):
    shape = shape or labels.shape
    grid = TokenGrid.covering(Region(0, 0, *shape), stride)
    return annotation_scale(Annotation.from_labels(labels, shape), grid)


@pytest.mark.parametrize("radius", [4, 8, 16])
def test_of_scattered_discs_it_is_about_their_radius(radius):
    scale = scale_of(discs(radius))
    assert scale.length_px == pytest.approx(radius, rel=0.25)
    assert scale.tokens == pytest.approx(scale.length_px / 8)
    assert scale.share == pytest.approx(scale.length_px / 256)


def test_the_reach_is_told_in_words():
    halves = np.zeros((256, 256), np.uint8)
    halves[:, 128:] = 1
    assert scale_of(discs(5)).reach == "local"
    assert scale_of(discs(22)).reach == "between"
    assert scale_of(halves).reach == "global"
    assert scale_of(halves).share == pytest.approx(0.35, abs=0.03)


def test_nothing_annotated_has_no_scale():
    scale = scale_of(np.ones((64, 64), np.uint8))
    assert np.isnan(scale.length_px)
    assert scale.reach == "unknown"


def test_a_coarse_mask_and_a_large_one_have_the_scale_of_the_image():
    labels = discs(16, 128)
    expected = scale_of(labels).length_px
    assert scale_of(labels, shape=(256, 256)).length_px == pytest.approx(2 * expected, rel=0.01)
    for factor in (8, 34):
        large = np.kron(labels, np.ones((factor, factor), np.uint8))
        assert scale_of(large, 64).length_px == pytest.approx(factor * expected, rel=0.05)


def test_ignored_pixels_are_no_signal():
    labels = discs(8).astype(np.int16)
    hidden = labels.copy()
    hidden[:, 200:] = -1
    assert scale_of(hidden).length_px == pytest.approx(scale_of(labels).length_px, rel=0.15)


def test_similarity_has_the_scale_of_what_is_similar():
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(2, 16))
    labels = discs(6, 64)
    embedding = Embedding.from_tokens(kinds[labels], stride=8)
    anchor = np.argwhere(labels)[0] * 8 + 3.5
    cells = autocorrelation_length(labels[None].astype(float))
    found = similarity_scale(embedding, [anchor])
    assert found.tokens == pytest.approx(cells, rel=1e-3)
    assert found.length_px == pytest.approx(8 * cells, rel=1e-3)
    holed = kinds[labels]
    holed[:5] = np.nan
    anchor = np.argwhere(labels[5:])[0] * 8 + 43.5
    assert similarity_scale(Embedding.from_tokens(holed, stride=8), [anchor]).tokens == pytest.approx(
        cells, rel=0.1
    )
    with pytest.raises(InvalidAnchorError, match="on the region"):
        similarity_scale(embedding, [(900, 2)])


def test_a_signal_that_never_falls_is_as_long_as_can_be_seen():
    ramp = np.zeros((1, 20, 20))
    ramp[0, 0, 0] = 1
    assert autocorrelation_length(ramp) < 1
    rows = np.repeat(np.arange(200.0)[:, None], 8, axis=1)
    assert autocorrelation_length(rows[None]) == 4
