"""Score of a probe against the number of labelled images that it had, as DiRA's authors ask it.

DiRA (arXiv 2204.10437) is judged by fine-tuning on parts of the labels. Here the encoder stays frozen: what
is compared is what it has learnt without labels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.arguments import check_fields, check_seed
from napari_sslmaps.core.findings import Cell, Curve, Estimate, Plot, Table
from napari_sslmaps.core.linear_heads import LinearHead
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.classifiers import INVERSE_REGULARISATION, fit_linear
from napari_sslmaps.evaluation.image_labels import mean_auroc, pooled
from napari_sslmaps.evaluation.scribbles import Labels
from napari_sslmaps.evaluation.tokens import gather, known_tokens
from napari_sslmaps.evaluation.uncertainty import Tally

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
TOKENS_PER_IMAGE = 64
"""Most labelled tokens of an image that are used, evenly spaced: neighbours say much the same."""
Score = Literal["balanced accuracy", "AUROC"]
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFeatures:
    """Features of one image, and their classes.

    Parameters
    ----------
    features
        (n, dim) float32: labelled tokens, or one pooled feature.
    kinds
        (n,) int64 class numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> one = ssl.LabelledFeatures(np.ones((3, 8), np.float32), np.array([1, 1, 2]))
    >>> one.features.shape, one.kinds.tolist()
    ((3, 8), [1, 1, 2])
    """

    features: Float32
    kinds: Int

    def __post_init__(self) -> None:
        check_fields(self)
        if np.ndim(self.features) != 2 or np.shape(self.kinds) != self.features.shape[:1]:
            raise InvalidOptionError(
                "Expected features of shape (n, dimensions) and n class numbers; got shapes "
                f"{np.shape(self.features)} and {np.shape(self.kinds)}."
            )

    @classmethod
    def of_tokens(cls, embedding: Embedding, labels: Labels) -> "LabelledFeatures":
        """Take the labelled tokens that have been computed; `labels` as in `fit_token_probe`."""
        chosen = (np.asarray(labels) > 0) & known_tokens(embedding)
        places = np.flatnonzero(chosen)
        if len(places) > TOKENS_PER_IMAGE:
            places = places[np.linspace(0, len(places) - 1, TOKENS_PER_IMAGE).round().astype(int)]
            chosen = np.zeros(chosen.shape, bool)
            chosen.reshape(-1)[places] = True
        return cls(gather(embedding, chosen), np.asarray(labels)[chosen].astype(np.int64))

    @classmethod
    def of_image(cls, embedding: Embedding, kind: int) -> "LabelledFeatures":
        """Take the pooled tokens, with the class of the whole image."""
        return cls(pooled(embedding)[None], np.array([kind], np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class LabelEfficiency:
    """Scores of probes on held-out images against the number of labelled ones.

    Parameters
    ----------
    methods
        Names of the methods.
    counts
        (k,) int64 labelled images, ascending.
    scores
        (methods, draws, k) float64 in [0, 1]; within a draw, all methods have the same images.
    score
        Score that was measured.
    held_out
        Number of images that each draw held out.
    """

    methods: tuple[str, ...]
    counts: Int
    scores: NDArray[np.float64]
    score: Score
    held_out: int

    def estimate(self, method: str, count: int) -> Estimate:
        """Return a method's mean over draws with so many labelled images; the ends span 95 % of them."""
        drawn = self.scores[self.methods.index(method), :, list(self.counts).index(count)]
        return Estimate(float(drawn.mean()), *map(float, np.quantile(drawn, [0.025, 0.975])))

    def plot(self) -> Plot:
        """Show a curve per method, with a band over draws."""
        low, high = np.quantile(self.scores, [0.025, 0.975], axis=1)
        x = self.counts.astype(np.float32)
        curves = tuple(
            Curve(
                name, x, *(part[index].astype(np.float32) for part in (self.scores.mean(axis=1), low, high))
            )
            for index, name in enumerate(self.methods)
        )
        title, label = "Label efficiency", f"{self.score} on held-out images"
        return Plot(title, "labelled images", label, curves, "log", (self._note,), "label-efficiency")

    def table(self) -> Table:
        """Show a row per method and a column per number of labelled images."""
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (name, *(self.estimate(name, int(count)) for count in self.counts)) for name in self.methods
        )
        columns = ("method", *(f"{count} labelled" for count in self.counts))
        return Table("Label efficiency", columns, rows, (self._note,), "label-efficiency")

    @property
    def _note(self) -> str:
        images = "1 image" if self.held_out == 1 else f"{self.held_out} images"
        return (
            f"Mean of {self.scores.shape[1]} draws, {images} held out in each; bands span 95 % of the draws. "
            "All methods have the same images in each draw."
        )


def label_efficiency(
    images: Mapping[str, Sequence[LabelledFeatures]],
    *,
    shares: Sequence[float] = SHARES,
    score: Score = "balanced accuracy",
    draws: int = 5,
    held_out: float = 0.3,
    seed: int = 0,
    strength: float = INVERSE_REGULARISATION,
) -> LabelEfficiency:
    """Fit logistic probes to ever more labelled images and score them on images held out.

    A draw holds out images and puts the others in an order in which classes alternate, the rarest first: who
    labels one image chooses one with something to label. A probe with n labelled images has the first n of
    them. With a single class among these it answers that class.

    Parameters
    ----------
    images
        Features of each image by name of the method, the same images in the same order for every method.
    shares
        Shares of the images that are not held out, in (0, 1]; at least one image, rounded up.
    score
        ``balanced accuracy``, or ``AUROC`` of each class against the others, averaged.
    draws
        Number of draws of images.
    held_out
        Share of the images to score on, in (0, 1); at least one of every class.
    seed
        Seed of the draws.
    strength
        Inverse of the L2 penalty, as in `fit_linear`.

    Returns
    -------
    LabelEfficiency
        Scores in [0, 1] of each method, number of labelled images and draw; `estimate`, `plot` and `table`
        sum them up.

    Raises
    ------
    InvalidOptionError
        If methods have different images, a class is in fewer than two images, or an option does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng, kinds = np.random.default_rng(0), np.array([1, 1, 2, 2])
    >>> features = [(rng.normal(size=(4, 3)) + 3 * kinds[:, None]).astype(np.float32) for _ in range(8)]
    >>> images = [ssl.LabelledFeatures(each, kinds) for each in features]
    >>> result = ssl.label_efficiency({"mine": images}, shares=(0.25, 1.0), draws=2)
    >>> result.counts.tolist(), result.estimate("mine", int(result.counts[-1])).value > 0.8
    ([2, 6], True)
    """
    kinds = _common_kinds(images)
    _check_options(shares, score, draws, held_out)
    check_seed(seed)
    drawn = [_draw(kinds, held_out, np.random.default_rng([seed, index])) for index in range(draws)]
    counts = np.unique(np.ceil(np.array(sorted(shares)) * len(drawn[0][0]) - 1e-9).astype(np.int64))
    scores = np.array(
        [
            [
                [_score(several, order[:count], test, score, strength) for count in counts]
                for order, test in drawn
            ]
            for several in images.values()
        ]
    )
    return LabelEfficiency(tuple(images), counts, scores, score, len(drawn[0][1]))


def _common_kinds(images: Mapping[str, Sequence[LabelledFeatures]]) -> list[Int]:
    """Return the classes that every image has, checked that methods have the same images."""
    if len({len(several) for several in images.values()}) != 1 or not next(iter(images.values())):
        found = ", ".join(f"{len(several)} of {name}" for name, several in images.items()) or "none"
        raise InvalidOptionError(
            f"Expected the same labelled images for every method; got {found}. Embed each image with each."
        )
    kinds = [np.unique(image.kinds) for image in next(iter(images.values()))]
    classes, counts = np.unique(np.concatenate(kinds), return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise InvalidOptionError(
            "Expected at least two classes, each in at least two images, so that one can be held out; got "
            f"{', '.join(f'class {kind} in {count}' for kind, count in zip(classes, counts, strict=True))}."
        )
    return kinds


def _check_options(shares: Sequence[float], score: str, draws: int, held_out: float) -> None:
    if not len(shares) or min(shares) <= 0 or max(shares) > 1 or not 0 < held_out < 1 or draws < 1:
        raise InvalidOptionError(
            f"Expected shares above 0 and up to 1, a held-out share between 0 and 1 and at least one draw; "
            f"got {tuple(shares)}, {held_out} and {draws}."
        )
    if score not in get_args(Score):
        raise InvalidOptionError(f"Expected the score {' or '.join(get_args(Score))}; got {score!r}.")


def _draw(kinds: Sequence[Int], held_out: float, rng: np.random.Generator) -> tuple[Int, Int]:
    """Order of the images to label, and the images held out; both have every class of two images or more.

    An image counts for the rarest class it has; the images of the rarest class come first.
    """
    classes, counts = np.unique(np.concatenate(kinds), return_counts=True)
    frequency = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    rarest = np.array([min(part.tolist(), key=frequency.__getitem__, default=0) for part in kinds])
    turns: list[int] = []
    order: list[int] = []
    test: list[int] = []
    for kind in sorted(np.unique(rarest), key=lambda kind: frequency.get(kind, 0)):
        members = rng.permutation(np.flatnonzero(rarest == kind))
        taken = int(
            np.clip(round(held_out * len(members)), min(1, len(members) - 1), max(0, len(members) - 1))
        )
        test.extend(members[:taken])
        order.extend(members[taken:])
        turns.extend(range(len(members) - taken))
    return np.array(order)[np.argsort(turns, kind="stable")], np.array(test)


def _score(
    images: Sequence[LabelledFeatures], labelled: Int, test: Int, score: Score, strength: float
) -> float:
    fitted, queries = (_together([images[index] for index in part]) for part in (labelled, test))
    known = np.unique(fitted.kinds)
    classes = np.union1d(known, queries.kinds)
    shares = np.zeros((len(queries.kinds), len(classes)), np.float32)
    columns = np.searchsorted(classes, known)
    if len(known) > 1:
        head: LinearHead = fit_linear(fitted.features, fitted.kinds, strength=strength)
        shares[:, columns] = head.probabilities(queries.features)
    else:
        shares[:, columns] = 1
    true = np.searchsorted(classes, queries.kinds)
    if score == "AUROC":
        return mean_auroc(shares, true)
    counts = np.eye(len(classes))[true]
    hits = counts * (shares.argmax(axis=1) == true)[:, None]
    return Tally(hits.sum(axis=0, keepdims=True), counts.sum(axis=0, keepdims=True)).accuracy


def _together(images: Sequence[LabelledFeatures]) -> LabelledFeatures:
    return LabelledFeatures(
        np.concatenate([image.features for image in images]),
        np.concatenate([image.kinds for image in images]),
    )
