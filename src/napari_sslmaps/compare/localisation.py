"""Localisation from labels of whole images: what each method's tokens say for a class, against the masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from napari_sslmaps.compare.entrants import Entrant
from napari_sslmaps.compare.images import annotation_of, opened
from napari_sslmaps.compare.progress import Tell
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.compare.store import Tokens
from napari_sslmaps.core.findings import Cell, Table
from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.image_labels import (
    HeldOutHeads,
    cross_validate_heads,
    fit_image_head,
    head_table,
    pooled,
)
from napari_sslmaps.evaluation.localisation import LocalisationScores, score_localisation, token_evidence
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean
from napari_sslmaps.maps.evidence import EvidenceMap
from napari_sslmaps.pipeline.class_activation import class_activation

_MEASURES = ("Pointing", "IoU, best", "IoU, Otsu", "AUROC")
_EVIDENCE_NOTE = (
    "Evidence: a linear head that was trained on labels of whole images alone, applied to each token. "
    "Grad-CAM (arXiv 1610.02391) of a CNN is the same head's, through the network."
)


@dataclass(slots=True)
class _HeadsAndScores:
    """Heads of each method, and scores of each kind of map, one per image that has the class drawn."""

    heads: dict[str, HeldOutHeads] = field(default_factory=dict)
    scores: dict[str, list[LocalisationScores]] = field(default_factory=dict)


def localisation_tables(
    comparison: Comparison, entrants: Sequence[Entrant], tokens: Tokens, tell: Tell
) -> tuple[Table, ...]:
    """Train a linear head on each method's pooled tokens, and see where its evidence lies.

    Each image is judged by a head that has not seen it.

    Parameters
    ----------
    comparison
        Comparison whose images have labels; those with a mask are scored for place.
    entrants
        The methods; of a CNN, Grad-CAM is scored too.
    tokens
        Tokens of all images and methods.
    tell
        Callback, called with the name of each method.

    Raises
    ------
    InvalidOptionError
        If an image has no label, or a label has fewer than two images.
    """
    labels = _labels(comparison)
    drawn = _drawn(comparison, entrants[0].method.name, tokens)
    found = _HeadsAndScores()
    for entrant in entrants:
        name = entrant.method.name
        tell(name)
        features = np.stack([pooled(tokens.get(image.name, name)) for image in comparison.images])
        heads = cross_validate_heads(features, labels, seed=comparison.request.options.seed)
        found.heads[name] = heads
        for number, (annotation, kind) in drawn.items():
            embedding = tokens.get(comparison.images[number].name, name)
            head, label = heads.head_for(number), labels[number]
            evidence = token_evidence(embedding, head, label)
            scored = score_localisation(evidence, annotation, kind=kind)
            found.scores.setdefault(name, []).append(scored)
            cam = _grad_cam(comparison, entrant, number, embedding, (head, label))
            if cam is not None:
                scored = score_localisation(cam, annotation, kind=kind)
                found.scores.setdefault(f"{name}, Grad-CAM", []).append(scored)
    tables = [head_table(found.heads)]
    if drawn:
        tables.append(_place_table(found.scores, len(drawn), len(labels)))
    return tuple(tables)


def fitted_heads(comparison: Comparison, tokens: Tokens) -> dict[str, ImageHead]:
    """Fit a head of each encoder to the labels of all images, to be kept and shown on others."""
    labels = _labels(comparison)
    heads: dict[str, ImageHead] = {}
    for method in comparison.encoders:
        embeddings = [tokens.get(image.name, method.name) for image in comparison.images]
        features = np.stack([pooled(embedding) for embedding in embeddings])
        heads[method.name] = fit_image_head(features, labels, of=embeddings[0])
    return heads


def _labels(comparison: Comparison) -> list[str]:
    labels = [image.label for image in comparison.request.images]
    without = [image.name for image in comparison.request.images if not image.label]
    if without:
        raise InvalidOptionError(
            f"Expected a label for every image, for localisation; {len(without)} have none, {without[0]} "
            "among them. Give --labels with a CSV of image and label, or sort the images into sub-folders."
        )
    return labels


def _drawn(comparison: Comparison, method: str, tokens: Tokens) -> dict[int, tuple[Annotation, int | None]]:
    """Images whose mask has what their label names, and something else: number → annotation and class.

    A class of the mask that is called like the label is what is sought; else all classes together.
    """
    found: dict[int, tuple[Annotation, int | None]] = {}
    for number, (requested, scored) in enumerate(
        zip(comparison.request.images, comparison.images, strict=True)
    ):
        annotation = annotation_of(requested, scored.record.shape_yx, comparison.request)
        if annotation is None or not annotation.classes:
            continue
        named = [kind for kind in annotation.classes if annotation.name_of(kind) == requested.label]
        others = {image.label for image in comparison.request.images}
        if named or not others & {annotation.name_of(kind) for kind in annotation.classes}:
            kind = next(iter(named), None)
            if _is_divided(annotation, tokens.get(requested.name, method), kind):
                found[number] = annotation, kind
    return found


def _is_divided(annotation: Annotation, embedding: Embedding, kind: int | None) -> bool:
    """Whether the region has pixels of the class and others."""
    totals = annotation.pixel_counts(embedding.grid).sum(axis=(0, 1))
    inside = totals[1:].sum() if kind is None else totals[annotation.kinds.index(kind)]
    return bool(0 < inside < totals.sum())


def _grad_cam(
    comparison: Comparison, entrant: Entrant, number: int, embedding: Embedding, of: tuple[ImageHead, str]
) -> EvidenceMap | None:
    own = entrant.loadable
    if entrant.control is not None or own is None or own.spec.architecture.attention_blocks:
        return None
    head, label = of
    weights, offset = head.row_of(label)
    with opened(comparison.request.images[number], comparison.request) as image:
        return class_activation(image.source, own.load(), embedding, weights, offset=offset, label=label)


def _place_table(scores: Mapping[str, Sequence[LocalisationScores]], drawn: int, images: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, several in scores.items():
        columns = (
            [scored.pointing for scored in several],
            [scored.iou_best for scored in several],
            [scored.iou_otsu for scored in several],
            [scored.scores.auroc for scored in several],
        )
        rows.append((name, *(bootstrap_mean(values, range(len(values))) for values in columns)))
    notes = (
        f"Over the {drawn} of {images} images whose mask has what the label names, with 95 % intervals.",
        _EVIDENCE_NOTE,
    )
    return Table("Where the evidence lies", ("Method", *_MEASURES), tuple(rows), notes, "localisation")
