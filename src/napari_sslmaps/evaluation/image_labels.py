"""A linear head on pooled features: what one label per image teaches, and how well it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_seed
from napari_sslmaps.core.findings import Estimate, Table
from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.auroc import auroc
from napari_sslmaps.evaluation.classifiers import fit_linear
from napari_sslmaps.evaluation.uncertainty import Tally, draw_weights, estimate

FOLDS = 5
INVERSE_REGULARISATION = 0.01
"""Inverse of the L2 penalty of a pooled head: ten times as much localises worse (docs/probes.md)."""


def pooled(embedding: Embedding) -> Float32:
    """Return the mean of the tokens that have been computed, (dim,): one feature for a region.

    Parameters
    ----------
    embedding
        Tokens of a region, (rows, cols, dim); those that are NaN are left out.

    Returns
    -------
    ndarray
        Mean token, (dim,) float32.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.arange(12.0).reshape(2, 2, 3)
    >>> ssl.pooled(ssl.Embedding.from_tokens(tokens)).tolist()
    [4.5, 5.5, 6.5]
    """
    return embedding.mean_token


def fit_image_head(
    features: Float32,
    labels: Sequence[str],
    *,
    of: Embedding | None = None,
    strength: float = INVERSE_REGULARISATION,
) -> ImageHead:
    """Fit a class-balanced linear head to pooled features.

    Parameters
    ----------
    features
        (images, dim), see `pooled`.
    labels
        Name of the class of each image.
    of
        Embedding, one of those that were pooled: the head then refuses tokens of another encoder.
    strength
        Inverse of the L2 penalty, scikit-learn's ``C``.

    Returns
    -------
    ImageHead
        Weights (classes, dim) and offsets (classes,), classes in alphabetical order.

    Raises
    ------
    InvalidOptionError
        If there are fewer than two classes, or not as many labels as features.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> features = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> features[10:] += 3
    >>> head = ssl.fit_image_head(features, ["gland"] * 10 + ["stroma"] * 10)
    >>> head.names
    ('gland', 'stroma')
    """
    names, kinds = _numbered(features, labels)
    return _head(features, kinds, names, of, strength)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutHeads:
    """Heads of a cross-validation, each for images that it has not seen.

    Parameters
    ----------
    heads
        Heads, one per fold.
    fold
        (images,) int64: the fold that holds out each image.
    probabilities
        (images, classes) float32 by the head that has not seen the image.
    accuracy
        Balanced accuracy, with a bootstrap interval over images.
    auroc
        Area under the ROC curve of each class against the others, averaged over the classes; likewise.
    """

    heads: tuple[ImageHead, ...]
    fold: NDArray[np.int64]
    probabilities: Float32
    accuracy: Estimate
    auroc: Estimate

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.heads[0].names

    def head_for(self, image: int) -> ImageHead:
        """Return the head that has not seen an image."""
        return self.heads[int(self.fold[image])]


def cross_validate_heads(
    features: Float32,
    labels: Sequence[str],
    *,
    of: Embedding | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    strength: float = INVERSE_REGULARISATION,
) -> HeldOutHeads:
    """Fit heads to all images but some, until each has been held out once.

    Parameters
    ----------
    features, labels, of, strength
        Features, labels and the head, as in `fit_image_head`.
    folds
        Number of folds, at most, stratified by class; no more than the smallest class has images.
    seed
        Seed of the split; the same images give the same split for every encoder.

    Returns
    -------
    HeldOutHeads
        The head of each fold, held-out probabilities (images, classes) float32 in [0, 1], balanced accuracy
        and AUROC in [0, 1] with 95 % intervals.

    Raises
    ------
    InvalidOptionError
        If a class has fewer than two images.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> features = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    >>> features[10:] += 3
    >>> result = ssl.cross_validate_heads(features, ["gland"] * 10 + ["stroma"] * 10)
    >>> result.names, result.auroc.value > 0.9
    (('gland', 'stroma'), True)
    """
    from sklearn.model_selection import StratifiedKFold

    check_seed(seed)
    names, kinds = _numbered(features, labels)
    counts = np.bincount(kinds)
    if counts.min() < 2 or folds < 2:
        raise InvalidOptionError(
            f"Expected at least two folds and two images of every class, so that one can be held out; got "
            f"{folds} folds and {counts.min()} of {names[int(counts.argmin())]!r}."
        )
    splitter = StratifiedKFold(min(folds, int(counts.min())), shuffle=True, random_state=seed)
    heads, fold = [], np.zeros(len(kinds), np.int64)
    probabilities = np.zeros((len(kinds), len(names)), np.float32)
    for index, (fitted, held_out) in enumerate(splitter.split(features, kinds)):
        heads.append(_head(features[fitted], kinds[fitted], names, of, strength))
        fold[held_out] = index
        probabilities[held_out] = heads[-1].linear.probabilities(features[held_out])
    return HeldOutHeads(
        tuple(heads), fold, probabilities, _accuracy(probabilities, kinds), _auroc(probabilities, kinds)
    )


def head_table(found: dict[str, HeldOutHeads], title: str = "Image-level labels") -> Table:
    """Show accuracy and AUROC of each method's heads."""
    rows = tuple((method, heads.accuracy, heads.auroc) for method, heads in found.items())
    notes = ("Each image is judged by a head that has not seen it; intervals are over images.",)
    return Table(title, ("method", "balanced accuracy", "AUROC"), rows, notes, "image-labels")


def _head(
    features: Float32, kinds: NDArray[np.int64], names: tuple[str, ...], of: Embedding | None, strength: float
) -> ImageHead:
    linear = fit_linear(features, kinds, strength=strength)
    if of is None:
        return ImageHead(linear, names)
    made = of.provenance
    return ImageHead(linear, names, made.encoder, made.weights_sha256, made.architecture)


def _numbered(features: Float32, labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if np.ndim(features) != 2 or len(features) != len(labels):
        raise InvalidOptionError(
            f"Expected one feature and one label per image; got features of shape {np.shape(features)} and "
            f"{len(labels)} labels."
        )
    if not np.isfinite(features).all():
        raise InvalidOptionError("Expected finite features; embed every image to the end before fitting.")
    names = tuple(sorted(set(labels)))
    return names, np.array([names.index(label) for label in labels], np.int64)


def _accuracy(probabilities: Float32, kinds: NDArray[np.int64]) -> Estimate:
    counts = np.eye(probabilities.shape[1])[kinds]
    hits = counts * (probabilities.argmax(axis=1) == kinds)[:, None]
    return estimate(Tally(hits, counts))


def mean_auroc(scores: Float32, kinds: NDArray[np.int64]) -> float:
    """Area under the ROC curve of each class against the others, averaged over the classes that occur.

    Parameters
    ----------
    scores
        Score of each class, (n, classes).
    kinds
        (n,) class of each, counted from 0.

    Returns
    -------
    float
        Mean area in [0, 1]; NaN if there is one class only.
    """
    positive = kinds[None] == np.arange(scores.shape[1])[:, None]
    areas = auroc(scores.T, positive, ~positive)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def _auroc(probabilities: Float32, kinds: NDArray[np.int64]) -> Estimate:
    """Return the mean AUROC with its interval over images, resampled by the draws of the accuracy."""
    weights = draw_weights(len(kinds))
    areas = [
        auroc(
            np.broadcast_to(probabilities[:, kind], weights.shape),
            weights * (kinds == kind),
            weights * (kinds != kind),
        )
        for kind in range(probabilities.shape[1])
    ]
    drawn = np.ma.masked_invalid(areas).mean(axis=0).compressed()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(mean_auroc(probabilities, kinds), float(low), float(high))
