"""Similarity to anchors against scikit-learn's areas, pixel by pixel."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.core.tokens import HalfTokens
from napari_sslmaps.errors import AnnotationError, InvalidAnchorError, InvalidOptionError
from napari_sslmaps.evaluation import anchor_scores as anchor_areas
from napari_sslmaps.evaluation.anchor_scores import STRATA, draw_anchors, middle_anchor, score_anchors
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.maps.similarity import similarity_map

SHAPE = (48, 64)
REGION = Region(0, 0, *SHAPE)


def embedded(seed, stride=8, *, ties=False, unknown=0.0):
    rng = np.random.default_rng(seed)
    grid = TokenGrid.covering(REGION, stride)
    tokens = rng.normal(size=(*grid.shape, 3)).astype(np.float32)
    if ties:
        tokens = np.eye(3, dtype=np.float32)[tokens.argmax(axis=-1)]
    tokens[rng.random(grid.shape) < unknown] = np.nan
    return Embedding(tokens, grid)


def blocks(seed, shape=SHAPE):
    """Labels −1 to 2 in blocks that do not align with tokens."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(-1, 3, (shape[0] // 6 + 1, shape[1] // 5 + 1)), np.ones((6, 5), int))
    return Annotation.from_labels(labels[: shape[0], : shape[1]], shape)


def area_over_pixels(values, grid, annotation, anchor, inside):
    """Area among the pixels of tokens that are `inside`, less the anchor's own token."""
    kind = annotation.labels_at([anchor])[0]
    pixels = np.argwhere(np.ones(annotation.shape_yx))
    tokens = np.floor(grid.pixel_to_token(pixels) + 0.5).astype(int)
    labels, scores = annotation.labels_at(pixels), values[tuple(tokens.T)]
    counts = (labels >= 0) & np.isfinite(scores) & inside[tuple(tokens.T)]
    counts &= (tokens != grid.token_at(anchor)).any(axis=1)
    truth = labels[counts] == kind
    return roc_auc_score(truth, scores[counts]) if 0 < truth.sum() < len(truth) else np.nan


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([6, 8]), st.booleans(), st.sampled_from([0.0, 0.2]))
def test_areas_are_scikit_learn_s_over_pixels(seed, stride, centred, unknown):
    embedding = embedded(seed, stride, ties=not centred, unknown=unknown)
    annotation = blocks(seed)
    assume(len(annotation.classes) == 2)
    found = score_anchors(embedding, annotation, count=4, seed=seed, centred=centred, bounds=(14.0, 28.0))
    grid = embedding.grid
    centres = grid.token_to_pixel(np.moveaxis(np.indices(grid.shape), 0, -1))
    for index, anchor in enumerate(found.anchors):
        lengths = np.linalg.norm(centres - anchor, axis=-1)
        strata = {
            "all": lengths >= 0,
            "near": lengths < 14,
            "middle": (lengths >= 14) & (lengths < 28),
            "far": lengths >= 28,
        }
        known = np.isfinite(embedding.tokens[grid.token_at(anchor)]).all()
        if known:
            cosines = similarity_map(embedding, [anchor], centred=centred).values
        closeness = np.where(np.isfinite(embedding.tokens[..., 0]), -lengths, np.nan)
        for stratum in STRATA:
            where = annotation, anchor, strata[stratum]
            near = area_over_pixels(closeness, grid, *where)
            assert found.nearness[stratum][index] == pytest.approx(near, nan_ok=True)
            wanted = area_over_pixels(cosines, grid, *where) if known else np.nan
            assert found.areas[stratum][index] == pytest.approx(wanted, nan_ok=True)


def halves(stride, seed=0, noise=0.0):
    labels = np.ones(SHAPE, int)
    labels[:, 32:] = 2
    annotation = Annotation.from_labels(labels, SHAPE)
    grid = TokenGrid.covering(REGION, stride)
    tokens = np.eye(3, dtype=np.float32)[annotation.token_labels(grid)]
    rng = np.random.default_rng(seed)
    noisy = tokens + noise * rng.normal(size=tokens.shape).astype(np.float32)
    return Embedding(noisy, grid), annotation


def test_tokens_that_know_the_class_find_it_and_nearness_finds_less():
    embedding, annotation = halves(8)
    found = score_anchors(embedding, annotation)
    for stratum in STRATA:
        assert np.nanmin(found.areas[stratum]) == 1
    assert np.nanmean(found.nearness["all"]) < 1
    gain = found.above_nearness()
    assert gain.excludes_zero
    assert gain.value == pytest.approx(
        1 - found.mean().value + found.mean().value - found.nearness["all"].mean()
    )
    assert found.mean("near").value == 1


def test_constant_tokens_are_chance():
    embedding, annotation = halves(8)
    constant = Embedding(np.ones_like(embedding.tokens) / 3, embedding.grid)
    for centred in (False, True):
        found = score_anchors(constant, annotation, centred=centred)
        assert set(found.areas["all"].tolist()) == {0.5}


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_anchors_are_drawn_in_balance_and_alike_for_every_stride(seed):
    annotation = blocks(seed)
    assume(annotation.classes == (1, 2))
    anchors = draw_anchors(annotation, embedded(0, 8).grid, count=20, seed=seed)
    np.testing.assert_array_equal(anchors, draw_anchors(annotation, embedded(0, 5).grid, count=20, seed=seed))
    assert np.bincount(annotation.labels_at(anchors)).tolist() == [0, 10, 10]
    assert len(np.unique(anchors, axis=0)) == 20
    grid = embedded(0, 8).grid
    assert all(grid.contains(anchor) for anchor in anchors)
    assert not np.array_equal(anchors, draw_anchors(annotation, grid, count=20, seed=seed + 1))


def test_small_classes_get_as_many_anchors_as_they_have_pixels():
    labels = np.zeros(SHAPE, int)
    labels[5, 5:8], labels[20:30, 20:40] = 1, 2
    annotation = Annotation.from_labels(labels, SHAPE)
    kinds = annotation.labels_at(draw_anchors(annotation, embedded(0).grid, count=16))
    assert np.bincount(kinds).tolist() == [0, 3, 8]


def test_anchors_stay_inside_parts_and_coarser_levels_and_coarse_masks():
    labels = np.random.default_rng(0).integers(0, 3, (12, 16))
    annotation = Annotation.from_labels(labels, SHAPE)
    for grid in (
        TokenGrid.covering(Region(7, 9, 21, 30), 5),
        TokenGrid.covering(Region(3, 3, 10, 9), 2, (3.7, 3.7)),
    ):
        anchors = draw_anchors(annotation, grid, count=50)
        assert all(grid.contains(anchor) for anchor in anchors)
        assert (annotation.labels_at(anchors) > 0).all()


def test_micrometres_scale_the_strata():
    embedding, annotation = halves(8, noise=0.5)
    pixels = score_anchors(embedding, annotation, bounds=(10.0, 30.0))
    lengths = score_anchors(embedding, annotation, bounds=(5.0, 15.0), spacing_um_yx=(0.5, 0.5))
    assert (pixels.unit, lengths.unit) == ("px", "µm")
    for stratum in STRATA:
        np.testing.assert_array_equal(pixels.areas[stratum], lengths.areas[stratum])
    default = score_anchors(embedding, annotation)
    scaled = score_anchors(embedding, annotation, spacing_um_yx=(2.0, 2.0))
    np.testing.assert_allclose(scaled.bounds, np.multiply(default.bounds, 2))


def test_default_strata_are_terciles_of_all_distances_and_know_no_encoder():
    (fine, annotation), (coarse, _) = halves(4, noise=1), halves(8, noise=1)
    found = [score_anchors(embedding, annotation) for embedding in (fine, coarse)]
    assert found[0].bounds == found[1].bounds
    places = np.argwhere(np.ones(SHAPE))
    lengths = np.linalg.norm(found[0].anchors[:, None] - places, axis=-1)
    np.testing.assert_allclose(found[0].bounds, np.quantile(lengths, [1 / 3, 2 / 3]), rtol=0.02)


def test_anchors_find_their_class_in_another_image():
    (first, annotation), (second, mirrored) = halves(8, noise=0.1), halves(8, seed=1, noise=0.1)
    swapped = Annotation.from_labels(3 - mirrored.labels, SHAPE)
    flipped = Embedding(second.tokens[:, ::-1], second.grid)
    found = score_anchors(first, annotation, across=(flipped, swapped))
    assert np.nanmin(found.across) == 1
    wrong = score_anchors(first, annotation, across=(second, swapped))
    assert np.nanmax(wrong.across) == 0
    assert np.isnan(score_anchors(first, annotation).across).all()
    other = Embedding(second.tokens, second.grid, Provenance(encoder="other"))
    with pytest.raises(InvalidOptionError, match="by the same encoder, ''; got one by 'other'"):
        score_anchors(first, annotation, across=(other, annotation))


def test_tokens_in_half_precision_score_nearly_the_same():
    embedding, annotation = halves(4, noise=1)
    half = Embedding(HalfTokens(embedding.tokens.astype(np.float16)), embedding.grid)
    found, wanted = (score_anchors(e, annotation, across=(e, annotation)) for e in (half, embedding))
    for stratum in STRATA:
        np.testing.assert_allclose(found.areas[stratum], wanted.areas[stratum], atol=0.01)
    np.testing.assert_allclose(found.across, wanted.across, atol=0.01)


def test_chunks_change_nothing(monkeypatch):
    embedding, annotation = halves(4, noise=1)
    whole = score_anchors(embedding, annotation, across=(embedding, annotation))
    monkeypatch.setattr(anchor_areas, "_CHUNK", 400)
    parts = score_anchors(embedding, annotation, across=(embedding, annotation))
    for stratum in STRATA:
        np.testing.assert_allclose(parts.areas[stratum], whole.areas[stratum], atol=1e-4)
        np.testing.assert_array_equal(parts.nearness[stratum], whole.nearness[stratum])
    np.testing.assert_allclose(parts.across, whole.across, atol=1e-4)


def test_nearness_is_taken_over_from_a_method_that_ranked_the_same_tokens_alone():
    (first, annotation), (second, _) = halves(8, noise=1), halves(8, seed=1, noise=1)
    model = score_anchors(first, annotation)
    found = score_anchors(second, annotation, like=model)
    assert found.nearness is model.nearness
    alone = score_anchors(second, annotation)
    for stratum in STRATA:
        np.testing.assert_array_equal(found.nearness[stratum], alone.nearness[stratum])
        np.testing.assert_array_equal(found.areas[stratum], alone.areas[stratum])
    holes = np.array(second.tokens)
    holes[0, 0] = np.nan
    for other, options in (
        (halves(4)[0], {}),
        (Embedding(holes, second.grid), {}),
        (second, {"seed": 1}),
        (second, {"bounds": (10.0, 20.0)}),
    ):
        different = score_anchors(other, annotation, like=model, **options)
        np.testing.assert_array_equal(
            different.nearness["near"], score_anchors(other, annotation, **options).nearness["near"]
        )
        assert different.nearness is not model.nearness


def test_fewer_tokens_are_those_of_every_other_row_and_column():
    embedding, annotation = halves(4, noise=1)
    found = score_anchors(embedding, annotation, most_tokens=48)
    rows, cols = np.divmod(found.ranked, embedding.grid.cols)
    np.testing.assert_array_equal(np.unique(rows), np.arange(0, 12, 2))
    np.testing.assert_array_equal(np.unique(cols), np.arange(0, 16, 2))
    whole = score_anchors(embedding, annotation)
    assert found.mean().value == pytest.approx(whole.mean().value, abs=0.1)
    assert len(whole.ranked) == 12 * 16


def test_anchors_of_a_person_are_taken_as_they_are():
    embedding, annotation = halves(8, noise=0.3)
    found = score_anchors(embedding, annotation, anchors=[(10, 10), (10, 50)])
    np.testing.assert_array_equal(found.kinds, [1, 2])
    np.testing.assert_array_equal(found.anchors, [(10, 10), (10, 50)])


def test_what_cannot_be_scored_is_refused():
    embedding, annotation = halves(8)
    with pytest.raises(InvalidAnchorError, match="Expected an anchor on the region"):
        score_anchors(embedding, annotation, anchors=[(10, 100)])
    with pytest.raises(InvalidAnchorError, match="Expected anchors on annotated pixels; got none"):
        score_anchors(embedding, annotation, anchors=[])
    labels = np.array(annotation.labels)
    labels[:4] = -1
    ignored = Annotation.from_labels(labels, SHAPE)
    with pytest.raises(InvalidAnchorError, match=r"annotated pixels; got \(2.0, 3.0\)"):
        score_anchors(embedding, ignored, anchors=[(20, 20), (2, 3)])
    with pytest.raises(InvalidOptionError, match="two rising distances"):
        score_anchors(embedding, annotation, bounds=(20.0, 10.0))
    single = Annotation.from_labels(np.ones(SHAPE, int), SHAPE)
    with pytest.raises(AnnotationError, match="all are 'class 1'"):
        score_anchors(embedding, single)
    with pytest.raises(AnnotationError, match="annotated class in the region to sample anchors from"):
        draw_anchors(Annotation.from_labels(np.zeros(SHAPE, int), SHAPE), embedding.grid)


def test_the_middle_anchor_lies_deepest_in_the_first_class_of_a_region():
    labels = np.zeros((40, 60), np.uint8)
    labels[4:9, 2:58] = 2
    labels[15:36, 20:41] = 1
    annotation = Annotation.from_labels(labels, (80, 120))
    whole = TokenGrid.covering(Region(0, 0, 80, 120), 8)
    assert middle_anchor(annotation, whole) == (51.0, 61.0)
    above = TokenGrid.covering(Region(0, 0, 24, 120), 8)
    row, column = middle_anchor(annotation, above)
    assert annotation.labels_at([(row, column)]) == 2
    assert middle_anchor(annotation, TokenGrid.covering(Region(72, 0, 8, 120), 8)) is None


def test_the_middle_anchor_lies_where_every_encoder_has_tokens():
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:40, 8:56] = 1
    annotation = Annotation.from_labels(labels, SHAPE)
    fine, coarse = embedded(0, 8), embedded(0, 16)
    fine.tokens[:, :4] = np.nan
    coarse.tokens[:2] = np.nan
    row, column = middle_anchor(annotation, fine.grid, (fine, coarse))
    assert labels[int(row), int(column)] == 1
    assert row >= 32
    assert column >= 32
    fine.tokens[:] = np.nan
    assert middle_anchor(annotation, fine.grid, (fine, coarse)) is None


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 2)))
def test_the_middle_anchor_is_of_the_class_wherever_there_is_one(labels):
    annotation = Annotation.from_labels(labels, labels.shape)
    place = middle_anchor(annotation, TokenGrid.covering(Region(0, 0, *labels.shape), 1))
    if annotation.classes:
        assert annotation.labels_at([place]) == annotation.classes[0]
    else:
        assert place is None
