"""Statistics of judgements: differences of methods, preferences, and how far readers agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.evaluation.uncertainty import interval

Float = NDArray[np.float64]
DRAWS = 2000
_POWER = 0.8
_LEVEL = 0.05
FEWEST = 6
"""Images of which the signed-rank test can decide at that level: of five, p is 0.06 at the least."""
_WILCOXON_EFFICIENCY = 3 / np.pi
"""Of the signed-rank test beside the t test, for normal differences (Pitman)."""


def two_way_bootstrap(
    values: ArrayLike, statistic: Callable[[Float], Float], *, draws: int = DRAWS, seed: int = 0
) -> list[Estimate]:
    """Estimate numbers with intervals that hold for other readers and other images.

    Readers and images are resampled independently (the pigeonhole bootstrap; Owen, Annals of Applied
    Statistics 2007). With many of both it covers a little more than it has to; fewer than five readers do not
    show how much readers differ, and where they do it covers less: of two, 84 to 94 of 100 intervals.

    Parameters
    ----------
    values
        (readers, images, …); NaN where a reader did not judge an image.
    statistic
        Function that takes such an array and returns (k,) numbers.
    draws, seed
        Number of resamplings, and their seed.

    Returns
    -------
    list of Estimate
        Estimates, one for each number; with a single reader or a single image that is not resampled.
    """
    data = np.asarray(values, float)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        readers, images = (rng.integers(count, size=count) for count in data.shape[:2])
        drawn.append(statistic(data[readers][:, images]))
    observed = statistic(data)
    if min(data.shape[:2]) < 1 or max(data.shape[:2]) < 2:
        return [Estimate(float(value)) for value in observed]
    table = np.asarray(drawn)
    return [
        interval(float(value), column[np.isfinite(column)])
        if np.isfinite(column).any()
        else Estimate(float(value))
        for value, column in zip(observed, table.T, strict=True)
    ]


def mean_of_images(values: Float) -> Float:
    """Mean over readers, then over images, of (readers, images, k) with NaN; (k,)."""
    with np.errstate(invalid="ignore"):
        counts = np.isfinite(values).sum(axis=0)
        by_image = np.nansum(values, axis=0) / np.where(counts, counts, np.nan)
    there = np.isfinite(by_image).sum(axis=0)
    means: Float = np.nansum(by_image, axis=0) / np.where(there, there, np.nan)
    return means


def friedman(blocks: ArrayLike) -> tuple[float, float]:
    """Return Friedman's χ² and its p-value for (blocks, methods) without NaN; NaN for fewer than three."""
    table = np.asarray(blocks, float)
    if table.shape[1] < 3 or len(table) < 2 or (np.ptp(table, axis=1) == 0).all():
        return float("nan"), float("nan")
    found = stats.friedmanchisquare(*table.T)
    return float(found.statistic), float(found.pvalue)


def signed_rank(differences: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test, exact for small samples without ties.

    NaN of fewer than two.
    """
    known = np.asarray(differences, float)
    known = known[np.isfinite(known)]
    if len(known) < 2:
        return float("nan")
    if not np.any(known):
        return 1.0
    return float(stats.wilcoxon(known).pvalue)


def holm(pvalues: ArrayLike) -> Float:
    """Return p-values adjusted for their number (Holm, Scandinavian Journal of Statistics 1979); NaN stays.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(pvalues, float)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return adjusted


def bradley_terry(wins: ArrayLike) -> Float:
    """Return log strengths of methods, of mean 0 (Bradley & Terry, Biometrika 1952).

    Parameters
    ----------
    wins
        (n, n) how often the row was preferred to the column; a draw counts half for both.

    Returns
    -------
    numpy.ndarray
        (n,) by maximum likelihood; a method that won always or never is held back by a tenth of a win
        against each other one. NaN for one that was compared with none.
    """
    import choix

    table = np.asarray(wins, float)
    met = (table + table.T) > 0
    known = met.any(axis=1)
    if not known.all():
        strengths = np.full(len(table), np.nan)
        if known.any():
            strengths[known] = bradley_terry(table[np.ix_(known, known)])
        return strengths
    lost = ((table.sum(axis=1) == 0) | (table.sum(axis=0) == 0)).any() or not _connected(table)
    if lost:
        table = table + 0.1 * (met | met.T)
    found: Float = choix.ilsr_pairwise_dense(table, alpha=1e-9 if not met.all() else 0.0, max_iter=500)
    centred: Float = found - found.mean()
    return centred


def _connected(wins: Float) -> bool:
    """Whether each method has beaten each other one, if only by way of others (Ford's condition)."""
    reach = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in wins:
        reach = (reach.astype(int) @ reach.astype(int)) > 0
    return bool(reach.all())


def weighted_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Return Cohen's kappa with quadratic weights (Psychological Bulletin 1968); NaN without variation."""
    left, right = np.asarray(first, float), np.asarray(second, float)
    there = np.isfinite(left) & np.isfinite(right)
    left, right = left[there], right[there]
    if not len(left):
        return float("nan")
    # with quadratic weights kappa needs no table: it is one less the ratio of two mean squared differences
    by_chance = np.square(left[:, None] - right[None, :]).mean()
    if by_chance == 0:
        return float("nan")
    return float(1 - np.square(left - right).mean() / by_chance)


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """Shrout & Fleiss's ICC(2,1) and ICC(2,k): of one reader, and of the mean of all."""

    single: float
    mean: float


def intraclass_correlation(ratings: ArrayLike) -> IntraclassCorrelation:
    """Two-way random effects, absolute agreement (Shrout & Fleiss, Psychological Bulletin 1979).

    Parameters
    ----------
    ratings
        (targets, readers); targets with NaN are left out.
    """
    table = np.asarray(ratings, float)
    table = table[np.isfinite(table).all(axis=1)]
    count, readers = table.shape
    if count < 2 or readers < 2:
        return IntraclassCorrelation(float("nan"), float("nan"))
    grand = table.mean()
    rows = readers * np.square(table.mean(axis=1) - grand).sum()
    columns = count * np.square(table.mean(axis=0) - grand).sum()
    rest = np.square(table - grand).sum() - rows - columns
    between, judges = rows / (count - 1), columns / (readers - 1)
    error = rest / ((count - 1) * (readers - 1))
    single = between + (readers - 1) * error + readers * (judges - error) / count
    mean = between + (judges - error) / count
    return IntraclassCorrelation(
        float((between - error) / single) if single else float("nan"),
        float((between - error) / mean) if mean else float("nan"),
    )


def krippendorff_alpha(ratings: ArrayLike, *, ordinal: bool = True) -> float:
    """Return Krippendorff's alpha of (readers, targets) with NaN; NaN where nothing varies."""
    import krippendorff

    table = np.asarray(ratings, float)
    table = table[:, np.isfinite(table).sum(axis=0) > 1]  # what one reader alone judged tells nothing
    if len(np.unique(table[np.isfinite(table)])) < 2:
        return float("nan")
    return float(krippendorff.alpha(table, level_of_measurement="ordinal" if ordinal else "interval"))


def items_needed(differences: ArrayLike) -> int | None:
    """Return how many images decide such a difference in 80 of 100 studies, at the level 0.05, two-sided.

    The normal approximation for the signed-rank test, from mean and standard deviation of what was observed,
    and no fewer than that test can decide of; None where no difference was.

    Parameters
    ----------
    differences
        (images,) of two methods.
    """
    known = np.asarray(differences, float)
    known = known[np.isfinite(known)]
    if len(known) < 2 or known.mean() == 0:
        return None
    reach = stats.norm.ppf(1 - _LEVEL / 2) + stats.norm.ppf(_POWER)
    effect = abs(known.mean()) / max(known.std(ddof=1), 1e-12)
    return max(FEWEST, int(np.ceil((reach / effect) ** 2 / _WILCOXON_EFFICIENCY)))


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> tuple[float, int]:
    """Return Spearman's correlation and the number of pairs; NaN where one side does not vary."""
    known = np.asarray([pair for pair in pairs if np.isfinite(pair).all()], float).reshape(-1, 2)
    if len(known) < 3 or (np.ptp(known, axis=0) == 0).any():
        return float("nan"), len(known)
    return float(stats.spearmanr(*known.T).statistic), len(known)
