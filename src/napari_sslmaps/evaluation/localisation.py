"""Class evidence of tokens, and whether it lies where the annotation is."""

from dataclasses import dataclass

import numpy as np

from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.map_scores import MapScores, score_map
from napari_sslmaps.evaluation.tokens import bands_of
from napari_sslmaps.maps.evidence import EvidenceMap


def token_evidence(embedding: Embedding, head: ImageHead, label: str) -> EvidenceMap:
    """Apply a head that was fitted to pooled tokens to every token.

    The head is linear and pooling is a mean, so the evidence of all tokens averages to the image's own class
    score: it is a class activation map (Zhou et al., arXiv 1512.04150), for transformers as for CNNs.

    Parameters
    ----------
    embedding
        Tokens of a region, of the encoder that the head was fitted to.
    head
        Head from `fit_image_head` or `cross_validate_heads`.
    label
        Class of the head that evidence is for.

    Returns
    -------
    EvidenceMap
        Map of values (rows, cols) float32, the class's logit per token; NaN where not computed.

    Raises
    ------
    InvalidOptionError
        If there is no such class, or the head is for tokens of another encoder.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> rng = np.random.default_rng(0)
    >>> images = [ssl.Embedding.from_tokens(rng.normal(size=(4, 4, 3)) + kind) for kind in (0, 0, 2, 2)]
    >>> features = np.stack([ssl.pooled(image) for image in images])
    >>> head = ssl.fit_image_head(features, ["gland", "gland", "stroma", "stroma"], of=images[0])
    >>> ssl.token_evidence(images[2], head, "stroma").values.shape
    (4, 4)
    """
    weights, offset = head.row_of(label)
    head.check_fits(embedding)
    values = np.empty(embedding.grid.shape, np.float32)
    for band, tokens in bands_of(embedding):
        values[band] = tokens @ weights + np.float32(offset)
    return EvidenceMap(
        values=values,
        grid=embedding.grid,
        provenance=embedding.provenance,
        kind="token",
        label=label,
        logit=float(embedding.mean_token @ weights + offset),
    )


@dataclass(frozen=True, slots=True)
class LocalisationScores:
    """Scores of an evidence map against what was annotated.

    Parameters
    ----------
    scores
        All scores of the map.
    iou_best
        Intersection over union of {value ≥ threshold} with the annotation at the best threshold, which is
        chosen with the annotation in sight: an upper bound.
    iou_otsu
        The same at Otsu's threshold of the map's own values.
    """

    scores: MapScores
    iou_best: float
    iou_otsu: float

    @property
    def pointing(self) -> float:
        """Pointing game: 1 if the largest token hits the class (arXiv 1608.00507)."""
        return self.scores.pointing


def score_localisation(
    result: TokenMap, annotation: Annotation, *, kind: int | None = None
) -> LocalisationScores:
    """Score a map by pointing game and intersection over union against masks or boxes.

    Parameters
    ----------
    result
        Map from `token_evidence`, `class_activation` or any other map.
    annotation
        Classes of the image's pixels; boxes are polygons of four corners, see `Annotation.from_polygons`.
    kind
        Class to be found, as in `score_map`.

    Returns
    -------
    LocalisationScores
        Pointing game (Zhang et al., arXiv 1608.00507): 1 if the map's largest value lies on the class, else
        0; intersection over union in [0, 1] at the best and at Otsu's threshold.

    Raises
    ------
    AnnotationError
        If `score_map` raises it.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.zeros((4, 4, 2))
    >>> tokens[:, :2, 0] = tokens[:, 2:, 1] = 1
    >>> result = ssl.similarity_map(ssl.Embedding.from_tokens(tokens, stride=16), [(8, 8)], centred=False)
    >>> left = ssl.Annotation.from_polygons([[(0, 0), (0, 31), (63, 31), (63, 0)]], ["left"], (64, 64))
    >>> scores = ssl.score_localisation(result, left)
    >>> scores.pointing, scores.iou_best > 0.9
    (1.0, True)
    """
    scores = score_map(result, annotation, kind=kind)
    return LocalisationScores(scores, iou_of_dice(scores.dice_best), iou_of_dice(scores.dice_otsu))


def iou_of_dice(dice: float) -> float:
    """Intersection over union of two sets with a Dice of d: d / (2 − d)."""
    return dice / (2 - dice)
