"""Logistic regression on frozen features, as one matrix that is applied to tokens as they are."""

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.heads import LinearHead
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import InvalidOptionError

STRENGTH = 0.1
"""Inverse of the L2 penalty on standardised features, scikit-learn's ``C``."""
TOLERANCE = 1e-3
"""A tighter fit takes two to four times as long and recognises no more (measured on simulated ultrasound)."""
_FLAT = 1e-5
_ITERATIONS = 1000


def fit_linear(
    features: Float32,
    labels: NDArray[np.integer],
    *,
    strength: float = STRENGTH,
    tolerance: float = TOLERANCE,
) -> LinearHead:
    """Fit class-balanced multinomial logistic regression to standardised features.

    scikit-learn's L-BFGS: a few milliseconds for some hundred features of some hundred channels.

    Parameters
    ----------
    features
        (n, dim).
    labels
        (n,) class numbers, at least two different ones.
    strength
        scikit-learn's ``C``; smaller pulls the weights to 0 harder.
    tolerance
        Largest gradient of the mean loss at which the fit ends.

    Raises
    ------
    InvalidOptionError
        If there are fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(labels)
    if len(classes) < 2:
        raise InvalidOptionError(f"Expected at least two classes to tell apart; got {len(classes)}.")
    mean, inverse = _standardisation(features)
    model = LogisticRegression(C=strength, class_weight="balanced", tol=tolerance, max_iter=_ITERATIONS)
    model.fit((features - mean) * inverse, labels)
    weights, offset = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(classes) == 2:
        # softmax of ∓ half of it is the logistic function of the one score that two classes have
        weights, offset = (np.concatenate([-part, part]) / 2 for part in (weights, offset))
    weights = weights * inverse
    return LinearHead(
        weights.astype(np.float32), (offset - weights @ mean).astype(np.float32), classes.astype(np.int64)
    )


def _standardisation(features: Float32) -> tuple[Float32, Float32]:
    """Mean and reciprocal standard deviation of every channel; 0 for one that does not vary."""
    mean = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    varies = spread > _FLAT * np.sqrt(np.mean(np.square(features, dtype=np.float64)))
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=varies)
    return mean.astype(np.float32), inverse.astype(np.float32)
