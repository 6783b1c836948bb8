"""Statistics of readers against values of textbooks and of R, and intervals against simulated readers."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from napari_sslmaps.readers.statistics import (
    bradley_terry,
    friedman,
    holm,
    intraclass_correlation,
    items_needed,
    krippendorff_alpha,
    mean_of_images,
    rank_correlation,
    signed_rank,
    two_way_bootstrap,
    weighted_kappa,
)

# Hollander & Wolfe (1973), p. 140: the example of R's friedman.test
ROUNDING = np.fromstring(
    "5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70 5.45 5.55 5.60 "
    "5.40 5.40 5.35 5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10 5.65 5.55 5.45 "
    "5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50 5.40 5.45 5.55 5.50 5.55 5.55 5.35 5.45 5.50 5.55 "
    "5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25 ",
    sep=" ",
).reshape(22, 3)
# Agresti, Categorical Data Analysis: baseball, American League 1987; Milwaukee … Baltimore
BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ]
)
# Shrout & Fleiss (1979), table 2: six targets, four judges
SHROUT = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C
N = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


def test_friedman_as_in_r():
    statistic, p = friedman(ROUNDING)
    assert statistic == pytest.approx(11.143, abs=5e-4)
    assert p == pytest.approx(0.003805, abs=5e-7)


def test_signed_rank_as_in_r():
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    assert signed_rank(np.subtract(before, after)) == pytest.approx(2 * 0.01953, abs=2e-5)
    assert signed_rank([0, 0, 0]) == 1.0
    assert np.isnan(signed_rank([]))
    assert np.isnan(signed_rank([2.0]))


def test_holm_as_in_r():
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04]), [0.04, 0.06, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.001]), [0.5, np.nan, 0.002])


def test_bradley_terry_as_in_agresti():
    found = bradley_terry(BASEBALL)
    np.testing.assert_allclose(
        found - found[-1], [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0], atol=5e-4
    )


def test_a_method_that_was_compared_with_none_has_no_strength():
    found = bradley_terry([[0, 3, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(found, [np.log(3) / 2, -np.log(3) / 2, np.nan], atol=1e-6)
    assert np.isnan(bradley_terry(np.zeros((3, 3)))).all()


def test_a_method_that_always_wins_is_first_and_finite():
    found = bradley_terry([[0, 5, 5], [0, 0, 3], [0, 2, 0]])
    assert np.isfinite(found).all()
    assert found[0] > found[1] > found[2]


def test_intraclass_correlation_as_in_shrout_and_fleiss():
    found = intraclass_correlation(SHROUT)
    assert found.single == pytest.approx(0.29, abs=5e-3)
    assert found.mean == pytest.approx(0.62, abs=5e-3)


def test_krippendorff_as_in_his_paper():
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(KRIPPENDORFF, ordinal=False) == pytest.approx(0.849, abs=5e-4)
    assert np.isnan(krippendorff_alpha([[1, 1], [1, 1]]))


def test_weighted_kappa_as_scikit_learn_has_it():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 6, 80)
    second = np.clip(first + rng.integers(-1, 2, 80), 1, 5)
    assert weighted_kappa(first, second) == pytest.approx(
        cohen_kappa_score(first, second, weights="quadratic")
    )
    assert weighted_kappa([1, 2, 3, np.nan], [1, 2, 3, 4]) == 1.0


def test_items_needed_decide_as_often_as_said():
    rng = np.random.default_rng(1)
    needed = items_needed(rng.normal(0.5, 1.0, 4000))
    assert 30 < needed < 36
    decided = [signed_rank(rng.normal(0.5, 1.0, needed)) < 0.05 for _ in range(400)]
    assert 0.73 < np.mean(decided) < 0.87
    assert items_needed([0.0, 0.0]) is None
    assert items_needed([2.0, 2.1, 2.0]) == 6  # of five the test cannot decide, however large the difference
    assert signed_rank([1.0, 2.0, 3.0, 4.0, 5.0]) > 0.05 > signed_rank([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def test_rank_correlation():
    assert rank_correlation([(1, 2), (2, 4), (3, 9)]) == (1.0, 3)
    assert np.isnan(rank_correlation([(1, 2), (2, 2), (3, 2)])[0])


def simulated(rng, readers=4, images=16, gap=0.6):
    """Judgements of two methods, `gap` apart, by readers and images that vary in level and in the gap."""
    level = rng.normal(0, 0.7, (readers, 1, 1)) + rng.normal(0, 0.7, (1, images, 1))
    taste = rng.normal(0, 0.2, (readers, 1)) + rng.normal(0, 0.4, (1, images))
    values = level + rng.normal(0, 0.5, (readers, images, 2))
    values[..., 1] += gap + taste
    return values


def test_intervals_cover_what_simulated_readers_were_given():
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(120):
        values = simulated(rng)
        (found,) = two_way_bootstrap(
            values, lambda v: np.diff(mean_of_images(v)), draws=300, seed=int(rng.integers(10**6))
        )
        covered.append(found.low <= 0.6 <= found.high)
    assert 0.88 <= np.mean(covered) <= 1.0


def test_alpha_is_unknown_where_what_several_judged_does_not_vary():
    nan = float("nan")
    assert np.isnan(krippendorff_alpha([[1, 1, 2], [1, 1, nan]]))
    assert np.isnan(krippendorff_alpha([[1, nan], [nan, 2]]))
