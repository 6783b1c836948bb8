"""Scores of a probe on tokens it has not seen: cross-validated by region, never by token.

Neighbouring tokens see much of the same, so that a probe recognises the neighbour of a token it was fitted
to. What is held out is therefore a whole stroke, a whole image, or a block of a densely labelled one (as
D. R. Roberts et al., Ecography 40:913–929, 2017, advise), and tokens beside it are left out of the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_sslmaps.core.findings import Estimate, Table
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.classifiers import INVERSE_REGULARISATION, NEIGHBOURS
from napari_sslmaps.evaluation.scribbles import Labels, painted_regions
from napari_sslmaps.evaluation.token_probe import ProbeKind, as_pairs, check_classes, fit_to_tokens
from napari_sslmaps.evaluation.tokens import check_one_encoder, gather
from napari_sslmaps.evaluation.uncertainty import Tally, estimate

Unit = Literal["image", "region", "block"]
FOLDS = 10
MARGIN = 2
"""Tokens this near to what is held out are not fitted to."""
_BLOCKS = 4
_ENOUGH = 3
Int = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """Scores of a probe on held-out tokens.

    Parameters
    ----------
    kind
        Kind of probe: ``logistic`` or ``knn``.
    by
        Unit that was held out: whole ``image``s, connected painted ``region``s or ``block``s of the grid.
    classes
        Class numbers, ascending.
    accuracy
        Balanced accuracy: the mean of `recall`; chance is one over the number of classes. The interval is a
        bootstrap over the units that were held out, NaN where a class has fewer than three.
    recall
        Share of the tokens of each class that were recognised, in [0, 1].
    confusion
        (classes, classes) int64 tokens: true class down, predicted class across.
    units, folds
        Number of units, and of folds in which they were held out.
    left_out
        Number of painted tokens that could not be scored, because no other unit has their class.
    """

    kind: ProbeKind
    by: Unit
    classes: tuple[int, ...]
    accuracy: Estimate
    recall: tuple[Estimate, ...]
    confusion: Int
    units: int
    folds: int
    left_out: int

    def table(self, title: str = "Probe", names: Sequence[str] = ()) -> Table:
        """Show recall per class and the balanced accuracy; `names` are those of the classes, in order."""
        words = names or [f"class {kind}" for kind in self.classes]
        rows = [
            (name, recall, int(self.confusion[index].sum()))
            for index, (name, recall) in enumerate(zip(words, self.recall, strict=True))
        ]
        rows.append(("balanced accuracy", self.accuracy, int(self.confusion.sum())))
        held_out = f"Held out by {self.by}: {self.units} {self.by}s in {self.folds} folds."
        chance = f"Chance is {1 / len(self.classes):.2f}."
        return Table(title, ("class", "recognised", "tokens"), tuple(rows), (held_out, chance), "probe")


def cross_validate(  # keywords that are handed on
    embeddings: Embedding | Sequence[Embedding],
    labels: Labels | Sequence[Labels],
    *,
    kind: ProbeKind = "logistic",
    by: Unit | Literal["auto"] = "auto",
    folds: int = FOLDS,
    strength: float = INVERSE_REGULARISATION,
    neighbours: int = NEIGHBOURS,
) -> CrossValidation:
    """Fit a probe to all units but some and score it on those, until each has been held out once.

    Parameters
    ----------
    embeddings, labels, kind, strength, neighbours
        Tokens, labels and the probe, as in `fit_token_probe`.
    by
        ``image``, ``region`` (tokens painted in one piece), or ``block`` (one of 4 × 4 per grid). ``auto`` is
        the first of them of which every class has at least two; blocks only where half of the tokens or more
        are labelled.
    folds
        Number of folds, at most; with no more units than that, each is held out alone.

    Returns
    -------
    CrossValidation
        Balanced accuracy in [0, 1] with its 95 % interval, recall of each class, and the (classes, classes)
        confusion matrix in tokens.

    Raises
    ------
    InvalidOptionError
        If a class has fewer than two units, or `fit_token_probe` raises it.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.random.default_rng(0).normal(size=(8, 8, 4))
    >>> labels = np.ones((8, 8), int)
    >>> labels[:, 4:] = 2
    >>> tokens[:, 4:] += 3
    >>> result = ssl.cross_validate(ssl.Embedding.from_tokens(tokens), labels, by="block")
    >>> result.classes, result.accuracy.value > 0.9
    ((1, 2), True)
    """
    several, painted = as_pairs(embeddings, labels)
    check_one_encoder(several)
    if folds < 2:
        raise InvalidOptionError(f"Expected at least two folds; got {folds}.")
    unit, units = _units(painted, by)
    samples = _Samples.of(several, painted, units)
    check_classes(samples.kinds)
    predicted = np.zeros(len(samples.kinds), np.int64)
    splits = _split(samples, folds)
    for held_out in splits:
        fitted = ~held_out & ~samples.beside(held_out)
        known = np.unique(samples.kinds[fitted])
        answerable = held_out & np.isin(samples.kinds, known)
        if len(known) < 2 or not answerable.any():
            continue
        probe = fit_to_tokens(
            several[0],
            samples.tokens[fitted],
            samples.kinds[fitted],
            kind=kind,
            strength=strength,
            neighbours=neighbours,
        )
        shares = probe.head.probabilities(samples.tokens[answerable])
        predicted[answerable] = np.array(probe.classes)[shares.argmax(axis=1)]
    return _summarise(kind, unit, samples, predicted, len(splits))


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Painted tokens (n, dim), their classes, units, images and places on the grids."""

    tokens: NDArray[np.float32]
    kinds: Int
    units: Int
    places: Int  # (n, 3): image, row, column
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, embeddings: Sequence[Embedding], labels: Sequence[Labels], units: Sequence[Int]
    ) -> "_Samples":
        """Gather what is painted and computed."""
        tokens = np.concatenate(
            [gather(item, kinds > 0) for item, kinds in zip(embeddings, labels, strict=True)]
        )
        known = np.isfinite(tokens[:, 0])
        kinds, groups = (
            np.concatenate([values[kinds > 0] for values, kinds in zip(arrays, labels, strict=True)])[known]
            for arrays in (labels, units)
        )
        places = np.concatenate(
            [np.insert(np.argwhere(kinds > 0), 0, index, axis=1) for index, kinds in enumerate(labels)]
        )[known]
        shapes = tuple(kinds.shape for kinds in labels)
        return cls(tokens[known], kinds.astype(np.int64), groups, places, shapes)

    def beside(self, held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which tokens lie within `MARGIN` of a held-out one, on the same grid."""
        found = np.zeros(len(held_out), bool)
        for image in np.unique(self.places[held_out, 0]):
            here = self.places[:, 0] == image
            taken = np.zeros(self.shapes[image], bool)
            taken[tuple(self.places[here & held_out, 1:].T)] = True
            near = ndimage.binary_dilation(taken, np.ones((3, 3)), iterations=MARGIN)
            found[here] = near[tuple(self.places[here, 1:].T)]
        return found


def _units(labels: Sequence[Labels], by: str) -> tuple[Unit, list[Int]]:
    """Return what is held out, and its number for every token of every grid."""
    if by not in (*get_args(Unit), "auto"):
        raise InvalidOptionError(f"Expected by 'auto', 'image', 'region' or 'block'; got {by!r}.")
    dense = sum((kinds > 0).sum() for kinds in labels) >= sum(kinds.size for kinds in labels) / 2
    usual: tuple[Unit, ...] = ("image", "region", "block") if dense else ("image", "region")
    wanted = usual if by == "auto" else tuple(unit for unit in get_args(Unit) if unit == by)
    lonely: list[int] = []
    for unit in wanted:
        numbered = _numbered(labels, unit)
        lonely = _lonely_classes(labels, numbered)
        if not lonely:
            return unit, numbered
    raise InvalidOptionError(
        f"Expected every class in at least two separate {wanted[-1]}s, so that one can be held out; class "
        f"{', '.join(map(str, lonely))} has fewer. Paint another stroke of it, apart from the first."
    )


def _numbered(labels: Sequence[Labels], unit: Unit) -> list[Int]:
    found, offset = [], 0
    for kinds in labels:
        if unit == "image":
            numbers = np.ones(kinds.shape, np.int64)
        elif unit == "region":
            numbers = painted_regions(kinds)
        else:
            rows, cols = (np.arange(size) * _BLOCKS // size for size in kinds.shape)
            numbers = 1 + rows[:, None] * _BLOCKS + cols
        found.append(numbers + offset)
        offset += int(numbers.max(initial=0))
    return found


def _lonely_classes(labels: Sequence[Labels], numbered: Sequence[Int]) -> list[int]:
    """Classes that occur in a single unit."""
    pairs = [
        np.stack([kinds[kinds > 0], numbers[kinds > 0]], axis=1)
        for kinds, numbers in zip(labels, numbered, strict=True)
    ]
    classes, counts = np.unique(np.unique(np.concatenate(pairs), axis=0)[:, 0], return_counts=True)
    return [int(kind) for kind in classes[counts < 2]]


def _split(samples: _Samples, folds: int) -> list[NDArray[np.bool_]]:
    """Which tokens each fold holds out; the units of a class are dealt to folds in turn."""
    units, members = np.unique(samples.units, return_inverse=True)
    main = [np.bincount(samples.kinds[members == index]).argmax() for index in range(len(units))]
    order = np.lexsort((np.arange(len(units)), main))
    fold = np.empty(len(units), np.int64)
    fold[order] = np.arange(len(units)) % folds
    return [fold[members] == index for index in range(min(folds, len(units)))]


def _summarise(kind: ProbeKind, by: Unit, samples: _Samples, predicted: Int, folds: int) -> CrossValidation:
    """Count what was recognised; `predicted` is 0 where a token could not be answered about."""
    answered = predicted > 0
    classes, true = np.unique(samples.kinds, return_inverse=True)
    units, unit = np.unique(samples.units, return_inverse=True)
    found = np.searchsorted(classes, predicted[answered])
    shape = len(units), len(classes)
    counts, hits, confusion = np.zeros(shape), np.zeros(shape), np.zeros((len(classes),) * 2, np.int64)
    np.add.at(counts, (unit[answered], true[answered]), 1)
    np.add.at(hits, (unit[answered], true[answered]), found == true[answered])
    np.add.at(confusion, (true[answered], found), 1)
    each = [Tally(hits[:, [index]], counts[:, [index]]) for index in range(len(classes))]
    return CrossValidation(
        kind=kind,
        by=by,
        classes=tuple(classes.tolist()),
        accuracy=_estimate(Tally(hits, counts)),
        recall=tuple(_estimate(tally) for tally in each),
        confusion=confusion,
        units=len(units),
        folds=folds,
        left_out=int((~answered).sum()),
    )


def _estimate(tally: Tally) -> Estimate:
    """Return the accuracy, with its interval where there is enough to resample."""
    present = tally.counts.sum(axis=0) > 0
    if not present.any():
        return Estimate(np.nan)
    if ((tally.counts > 0).sum(axis=0)[present] < _ENOUGH).any():
        return Estimate(tally.accuracy)
    # a unit without the class says nothing about its recall: resample those that have one
    used = Tally(*(part[tally.counts.any(axis=1)] for part in (tally.hits, tally.counts)))
    return estimate(used)
