"""Findings over all images together: probes, label efficiency, retrieval, localisation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.images import annotation_of
from napari_sslmaps.compare.localisation import localisation_tables
from napari_sslmaps.compare.progress import Tell
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.store import Tokens
from napari_sslmaps.core.findings import Cell, Plot, Table
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.cross_validation import CrossValidation, cross_validate
from napari_sslmaps.evaluation.label_efficiency import (
    TOKENS_PER_IMAGE,
    LabelEfficiency,
    LabelledFeatures,
    label_efficiency,
)
from napari_sslmaps.evaluation.retrieval import retrieval_table


def findings_across(
    comparison: Comparison, entrants: Sequence[Entrant], tokens: Tokens, tell: Tell
) -> tuple[Table | Plot, ...]:
    """Return the findings that were asked for over all images.

    Parameters
    ----------
    comparison
        Comparison whose images are scored one by one.
    entrants, tokens
        The methods, and what they made of every image.
    tell
        Callback, called with the name of each method, for each finding; may raise `Cancelled`.

    Raises
    ------
    InvalidOptionError
        If labels are missing, or too few for what is asked.
    """
    request = comparison.request
    found: list[Table | Plot] = []
    if request.wants("probes"):
        found.append(_probes(comparison, tokens, tell))
    if request.wants("label-efficiency"):
        efficiency = _label_efficiency(comparison, tokens, tell)
        found += [efficiency.table(), efficiency.plot()]
    if request.wants("retrieval"):
        features, kind = _labelled(comparison, tokens, tell, "retrieval")
        found.append(retrieval_table(features, kind))
    if request.wants("localisation"):
        found += localisation_tables(comparison, entrants, tokens, tell)
    return tuple(found)


def painted(annotation: Annotation, embedding: Embedding) -> NDArray[np.int64]:
    """Return the class of each token as probes take it, (rows, cols): background is 1, 0 is left out."""
    return annotation.token_labels(embedding.grid) + 1


def _probes(comparison: Comparison, tokens: Tokens, tell: Tell) -> Table:
    annotations = _annotations(comparison)
    found: dict[str, CrossValidation] = {}
    for method in comparison.methods:
        tell(method.name)
        embeddings = [tokens.get(image.name, method.name) for image in comparison.images]
        labels = [painted(*pair) for pair in zip(annotations, embeddings, strict=True)]
        if len(labels) > 1:
            labels = [_thinned(kinds) for kinds in _in_several(labels)]
        found[method.name] = cross_validate(embeddings, labels, by="image" if len(labels) > 1 else "auto")
    some = next(iter(found.values()))
    names = [annotations[0].name_of(number - 1) for number in some.classes]
    note = (
        f"Logistic regression on single tokens, held out by {some.by}: {some.units} {some.by}s in "
        f"{some.folds} folds, so that a token's neighbours are never on both sides. Chance is "
        f"{1 / len(some.classes):.2f}; a class that a single image has is left out."
    )
    columns = ("Method", "Balanced accuracy", *(f"Recognised: {name}" for name in names))
    rows: list[tuple[Cell, ...]] = [(name, result.accuracy, *result.recall) for name, result in found.items()]
    return Table("Probes", columns, tuple(rows), (note,), "probes")


def _thinned(kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep at most `TOKENS_PER_IMAGE` tokens of each class of an image, evenly spaced."""
    kept = np.zeros_like(kinds)
    for kind in np.unique(kinds[kinds > 0]):
        places = np.flatnonzero(kinds == kind)
        chosen = np.linspace(0, len(places) - 1, min(len(places), TOKENS_PER_IMAGE)).round().astype(int)
        kept.reshape(-1)[places[chosen]] = kind
    return kept


def _in_several(labels: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Leave out classes that a single image has: none of it could be held out."""
    kinds, counts = np.unique(np.concatenate([np.unique(part) for part in labels]), return_counts=True)
    return [np.where(np.isin(part, kinds[counts > 1]), part, 0) for part in labels]


def _label_efficiency(comparison: Comparison, tokens: Tokens, tell: Tell) -> LabelEfficiency:
    """Curves over labelled tokens where images have masks, else over whole images with their labels."""
    options = comparison.request.options
    features, _ = _labelled(comparison, tokens, tell, "label efficiency")
    return label_efficiency(features, draws=options.draws, seed=options.seed)


def _labelled(
    comparison: Comparison, tokens: Tokens, tell: Tell, what: str
) -> tuple[dict[str, list[LabelledFeatures]], str]:
    """Features of every image by method: ``tokens`` where all have masks, else whole ``images`` by label."""
    images = comparison.request.images
    annotations = _annotations(comparison)
    labels = sorted({image.label for image in images})
    if len(annotations) < len(images) and "" in labels:
        raise InvalidOptionError(
            f"Expected a mask or a label for every image, for {what}; some have neither. Give "
            "--masks or --labels."
        )
    features: dict[str, list[LabelledFeatures]] = {}
    for method in comparison.methods:
        tell(method.name)
        several = [tokens.get(image.name, method.name) for image in images]
        if len(annotations) == len(images):
            drawn = _in_several([painted(*pair) for pair in zip(annotations, several, strict=True)])
            features[method.name] = [
                LabelledFeatures.of_tokens(*pair) for pair in zip(several, drawn, strict=True)
            ]
        else:
            features[method.name] = [
                LabelledFeatures.of_image(embedding, 1 + labels.index(image.label))
                for image, embedding in zip(images, several, strict=True)
            ]
    return features, "tokens" if len(annotations) == len(images) else "images"


def _annotations(comparison: Comparison) -> list[Annotation]:
    found = [
        annotation_of(requested, scored.record.shape_yx, comparison.request)
        for requested, scored in zip(comparison.request.images, comparison.images, strict=True)
    ]
    return [annotation for annotation in found if annotation is not None]
