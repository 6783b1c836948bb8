"""All of it on sixteen simulated images, eight of them with lymphoid tissue, and a shipped encoder."""

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.cross_validation import cross_validate
from napari_sslmaps.evaluation.image_labels import HeldOutHeads, cross_validate_heads, pooled
from napari_sslmaps.evaluation.label_efficiency import LabelledFeatures, label_efficiency
from napari_sslmaps.evaluation.localisation import LocalisationScores, score_localisation, token_evidence
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.pipeline.class_activation import class_activation
from napari_sslmaps.pipeline.embedding import embed

SIDE, EACH = 128, 8
WITH, WITHOUT = "lymphoid", "none"


class Folder(NamedTuple):
    images: list[np.ndarray]
    annotations: list[Annotation]
    labels: list[str]
    embeddings: list[Embedding]
    kind: int


def _drawn() -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    simulator = get_simulator("histology")
    kind = simulator.classes.index(WITH)
    left = {WITH: EACH, WITHOUT: EACH}
    for seed in count():
        image, labels = simulator.draw(np.random.default_rng(seed), SIDE)
        share = (labels == kind).mean()
        label = WITH if share > 0.05 else WITHOUT
        if left[label] and not 0 < share <= 0.05:
            left[label] -= 1
            yield image, labels, label
        if not any(left.values()):
            return


@pytest.fixture(scope="module")
def folder() -> Folder:
    images, masks, labels = zip(*_drawn(), strict=True)
    encoder = load_encoder("dira-histology", device="cpu", precision="float32")
    annotations = [Annotation.from_labels(mask, (SIDE, SIDE)) for mask in masks]
    kind = get_simulator("histology").classes.index(WITH)
    return Folder(list(images), annotations, list(labels), [embed(image, encoder) for image in images], kind)


@pytest.fixture(scope="module")
def heads(folder: Folder) -> HeldOutHeads:
    return cross_validate_heads(np.stack([pooled(item) for item in folder.embeddings]), folder.labels)


def test_labels_of_whole_images_place_the_tissue(folder: Folder, heads: HeldOutHeads) -> None:
    found = [
        score_localisation(
            token_evidence(embedding, heads.head_for(index), WITH), annotation, kind=folder.kind
        )
        for index, (embedding, annotation) in enumerate(
            zip(folder.embeddings, folder.annotations, strict=True)
        )
        if folder.labels[index] == WITH
    ]
    assert len(found) == EACH
    assert np.mean([item.scores.auroc for item in found]) > 0.75
    assert np.mean([item.pointing for item in found]) > _chance(found)


def test_so_does_grad_cam_through_the_network(folder: Folder, heads: HeldOutHeads) -> None:
    encoder = load_encoder("dira-histology", device="cpu", precision="float32")
    found = []
    for index, embedding in enumerate(folder.embeddings):
        if folder.labels[index] == WITH:
            weights, offset = heads.head_for(index).row_of(WITH)
            cam = class_activation(
                folder.images[index], encoder, embedding, weights, offset=offset, stage="encoder.layer1"
            )
            assert cam.grid.shape == (SIDE // 4, SIDE // 4)
            found.append(score_localisation(cam, folder.annotations[index], kind=folder.kind))
    assert np.mean([item.scores.auroc for item in found]) > 0.75
    assert np.mean([item.pointing for item in found]) > _chance(found)


def _chance(found: list[LocalisationScores]) -> float:
    return float(np.mean([item.scores.prevalence for item in found]))


def test_probes_of_tissue_are_held_out_by_image_and_learn_from_more_of_them(folder: Folder) -> None:
    labels = [
        annotation.token_labels(embedding.grid) + 1
        for annotation, embedding in zip(folder.annotations, folder.embeddings, strict=True)
    ]
    found = cross_validate(folder.embeddings, labels)
    assert found.by == "image"
    assert found.accuracy.low > 1 / len(found.classes)
    features = [
        LabelledFeatures.of_tokens(embedding, kinds)
        for embedding, kinds in zip(folder.embeddings, labels, strict=True)
    ]
    shuffled = [
        LabelledFeatures(item.features, np.random.default_rng(0).permutation(item.kinds)) for item in features
    ]
    curve = label_efficiency({"dira": features, "shuffled": shuffled}, draws=3)
    assert curve.counts[0] == 1
    first, last = (curve.estimate("dira", int(number)).value for number in curve.counts[[0, -1]])
    assert last > first
    assert last > curve.estimate("shuffled", int(curve.counts[-1])).value + 0.1
