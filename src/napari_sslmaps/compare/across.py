"""What is found only over all images together."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.compare.folder import ComparisonFolder
from napari_sslmaps.compare.images import annotation_of
from napari_sslmaps.compare.progress import Teller
from napari_sslmaps.compare.results import Comparison
from napari_sslmaps.core.findings import Cell, Plot, Table
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.cross_validation import CrossValidation, cross_validate


class Tokens:
    """Tokens of all images and methods: in memory, or in the folder of the comparison.

    Parameters
    ----------
    folder
        None to keep them in memory.
    """

    def __init__(self, folder: ComparisonFolder | None) -> None:
        self._folder = folder
        self._here: dict[tuple[str, str], Embedding] = {}

    def put(self, image: str, embeddings: Mapping[str, Embedding]) -> None:
        """Keep the tokens of an image by every method."""
        for method, embedding in embeddings.items():
            if self._folder is None:
                self._here[image, method] = embedding
            else:
                self._folder.keep_tokens(image, method, embedding)

    def get(self, image: str, method: str) -> Embedding:
        """Return the tokens of an image by a method."""
        if self._folder is None:
            return self._here[image, method]
        return self._folder.load_tokens(image, method)


def findings_across(comparison: Comparison, tokens: Tokens, teller: Teller) -> tuple[Table | Plot, ...]:
    """Return the findings that were asked for over all images.

    Raises
    ------
    SSLMapsError
        If labels are missing, or too few for what is asked.
    """
    found: list[Table | Plot] = []
    if comparison.request.wants("probes"):
        found.append(_probes(comparison, tokens, teller))
    return tuple(found)


def painted(annotation: Annotation, embedding: Embedding) -> NDArray[np.int64]:
    """Return the class of each token as probes take it, (rows, cols): background is 1, 0 is left out."""
    return annotation.token_labels(embedding.grid) + 1


def _probes(comparison: Comparison, tokens: Tokens, teller: Teller) -> Table:
    annotations = _annotations(comparison)
    found: dict[str, CrossValidation] = {}
    for method in comparison.methods:
        teller.comparing(method.name)
        embeddings = [tokens.get(image.name, method.name) for image in comparison.images]
        labels = [painted(*pair) for pair in zip(annotations, embeddings, strict=True)]
        found[method.name] = cross_validate(embeddings, labels)
    some = next(iter(found.values()))
    names = [annotations[0].name_of(number - 1) for number in some.classes]
    note = (
        f"Logistic regression on single tokens, held out by {some.by}: {some.units} {some.by}s in "
        f"{some.folds} folds, so that a token's neighbours are never on both sides. Chance is "
        f"{1 / len(some.classes):.2f}."
    )
    columns = ("Method", "Balanced accuracy", *(f"Recognised: {name}" for name in names))
    rows: list[tuple[Cell, ...]] = [(name, result.accuracy, *result.recall) for name, result in found.items()]
    return Table("Probes", columns, tuple(rows), (note,), "probes")


def _annotations(comparison: Comparison) -> list[Annotation]:
    found = [
        annotation_of(asked, scored.record.shape_yx, comparison.request)
        for asked, scored in zip(comparison.request.images, comparison.images, strict=True)
    ]
    return [annotation for annotation in found if annotation is not None]
