"""Class scores that are linear in a feature, of tokens as of the mean token of an image."""

from dataclasses import dataclass

import numpy as np
import scipy  # its subpackages are loaded when they are first used
from numpy.typing import NDArray

from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Class scores that are linear in a feature.

    Parameters
    ----------
    weights
        (classes, dim) float32, for features as they come: the standardisation is folded in.
    offset
        Offset of each class, (classes,) float32.
    classes
        (classes,) their numbers, ascending.
    """

    weights: Float32
    offset: Float32
    classes: NDArray[np.int64]

    def logits(self, features: Float32) -> Float32:
        """Return (…, classes) float32 scores of (…, dim) features; their softmax are the probabilities."""
        scores: Float32 = features @ self.weights.T + self.offset
        return scores

    def probabilities(self, features: Float32) -> Float32:
        """Return the probability of every class, (…, classes) float32 in [0, 1], of (…, dim) features."""
        shares: Float32 = scipy.special.softmax(self.logits(features), axis=-1)
        return shares

    def predict(self, features: Float32) -> NDArray[np.int64]:
        """Return the number of the likeliest class, (…)."""
        found: NDArray[np.int64] = self.classes[self.logits(features).argmax(axis=-1)]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class ImageHead:
    """A linear head on pooled tokens.

    Parameters
    ----------
    linear
        Scores per class; its classes count `names` from 0.
    names
        Names of the classes, in order.
    encoder, weights_sha256, architecture
        Encoder whose tokens it was fitted to, as in `Provenance`; empty if unknown.
    """

    linear: LinearHead
    names: tuple[str, ...]
    encoder: str = ""
    weights_sha256: str = ""
    architecture: str = ""

    def index_of(self, label: str) -> int:
        """Return the number of a class.

        Raises
        ------
        InvalidOptionError
            If it is not one of `names`.
        """
        if label not in self.names:
            raise InvalidOptionError(f"Expected a class among {', '.join(self.names)}; got {label!r}.")
        return self.names.index(label)

    def row_of(self, label: str) -> tuple[Float32, float]:
        """Return weights (dim,) and offset of a class."""
        index = self.index_of(label)
        return self.linear.weights[index], float(self.linear.offset[index])

    def check_fits(self, embedding: Embedding) -> None:
        """Refuse tokens of another encoder, other weights or another stage.

        Raises
        ------
        InvalidOptionError
            If they differ; the sentence says what was expected and what came.
        """
        made = embedding.provenance
        wanted, came = self.linear.weights.shape[1], embedding.tokens.shape[-1]
        known = (made.weights_sha256, made.architecture)
        other = self.weights_sha256 != "" and (self.weights_sha256, self.architecture) != known
        if other or wanted != came:
            raise InvalidOptionError(
                f"Expected tokens of {self.encoder or 'its own encoder'}, of width {wanted}, for this head; "
                f"got those of {made.encoder}, of width {came}. Fit a head for each encoder."
            )
