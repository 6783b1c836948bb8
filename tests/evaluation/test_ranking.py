"""Areas under ROC curves of many rows against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from napari_sslmaps.evaluation.auroc import auroc, stratified_auroc


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([2, 5, 1000]))
def test_areas_are_scikit_learn_s(seed, distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, (3, 20)).astype(float)
    positive = rng.integers(0, 4, (3, 20)) * (rng.random((3, 1)) < 0.9)
    negative = rng.integers(0, 4, (3, 20)) * (rng.random((3, 1)) < 0.9)
    scores[(positive == 0) & (negative == 0)] = np.nan
    for row, area in enumerate(auroc(scores, positive, negative)):
        if positive[row].any() and negative[row].any():
            known = np.isfinite(scores[row])
            truth = np.repeat([1, 0], known.sum())
            weights = np.concatenate([positive[row, known], negative[row, known]])
            wanted = roc_auc_score(truth, np.tile(scores[row, known], 2), sample_weight=weights)
            assert area == pytest.approx(wanted)
        else:
            assert np.isnan(area)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([2, 1000]))
def test_strata_are_ranked_among_themselves(seed, distinct):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, distinct, (4, 30)).astype(float)
    positive, negative = rng.integers(0, 4, (2, 4, 30))
    strata = rng.integers(0, 3, (4, 30))
    found = stratified_auroc(scores, positive, negative, strata, count=3)
    np.testing.assert_array_equal(found[0], auroc(scores, positive, negative))
    for stratum in range(3):
        inside = strata == stratum
        wanted = auroc(scores, positive * inside, negative * inside)
        np.testing.assert_allclose(found[1 + stratum], wanted)


def test_rows_may_share_weights():
    scores = np.array([[0.0, 1, 2, 3], [3, 2, 1, 0]])
    positive = np.array([False, False, True, True])
    np.testing.assert_array_equal(auroc(scores, positive, ~positive), [1, 0])


def test_constant_scores_are_chance():
    assert auroc(np.zeros((1, 9)), np.arange(9) < 3, np.arange(9) >= 3)[0] == 0.5
