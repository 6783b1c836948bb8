"""Heads on pooled features, and the evidence they find, against scikit-learn and plain definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, jaccard_score, roc_auc_score

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.image_labels import (
    cross_validate_heads,
    fit_image_head,
    head_table,
    mean_auroc,
    pooled,
)
from napari_sslmaps.evaluation.localisation import iou_of_dice, score_localisation, token_evidence

DIM = 6
DIRECTIONS = np.random.default_rng(7).normal(size=(3, DIM)).astype(np.float32) * 3


def image_with(kind: int, seed: int) -> tuple[Embedding, np.ndarray]:
    """Noise with a patch of tokens of one of three kinds, and where it is."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(8, 8, DIM)).astype(np.float32)
    row, col = rng.integers(0, 5, 2)
    where = np.zeros((8, 8), int)
    where[row : row + 3, col : col + 3] = 1
    tokens[where > 0] += 2 * DIRECTIONS[kind]
    return Embedding.from_tokens(tokens, 4), where


def folder(count: int = 36) -> tuple[list[Embedding], list[np.ndarray], list[str]]:
    """Return images, masks and labels: which kind of patch an image has."""
    made = [image_with(index % 3, index) for index in range(count)]
    return [item for item, _ in made], [where for _, where in made], [f"kind {i % 3}" for i in range(count)]


def test_pooling_is_the_mean_of_computed_tokens() -> None:
    tokens = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tokens[1] = np.nan
    np.testing.assert_allclose(pooled(Embedding.from_tokens(tokens, 4)), [4, 5, 6, 7])


@pytest.mark.parametrize("classes", [2, 3])
def test_evidence_averages_to_the_score_of_the_image(classes: int) -> None:
    embeddings, _, labels = folder()
    kept = [index for index, label in enumerate(labels) if int(label[-1]) < classes]
    features = np.stack([pooled(embeddings[index]) for index in kept])
    head = fit_image_head(features, [labels[index] for index in kept])
    assert len(head.names) == classes
    for name in head.names:
        found = token_evidence(embeddings[0], head, name)
        logit = head.linear.logits(features[:1])[0, head.index_of(name)]
        assert found.values.mean() == pytest.approx(logit, abs=1e-4)
        assert found.logit == pytest.approx(logit, abs=1e-4)
        assert (found.kind, found.label) == ("token", name)


def test_labels_of_whole_images_find_the_place() -> None:
    embeddings, masks, labels = folder()
    heads = cross_validate_heads(np.stack([pooled(item) for item in embeddings]), labels)
    assert heads.names == ("kind 0", "kind 1", "kind 2")
    assert heads.auroc.low > 0.9
    found = []
    for index, (embedding, where, label) in enumerate(zip(embeddings, masks, labels, strict=True)):
        annotation = Annotation.from_labels(np.kron(where, np.ones((4, 4), int)), (32, 32))
        found.append(score_localisation(token_evidence(embedding, heads.head_for(index), label), annotation))
    assert np.mean([scores.pointing for scores in found]) > 0.9
    assert np.mean([scores.iou_best for scores in found]) > 0.6
    assert all(scores.iou_best >= scores.iou_otsu for scores in found)


def test_tokens_not_computed_have_no_evidence() -> None:
    embeddings, _, labels = folder()
    head = fit_image_head(np.stack([pooled(item) for item in embeddings]), labels)
    tokens = embeddings[0].tokens.copy()
    tokens[3:] = np.nan
    found = token_evidence(Embedding.from_tokens(tokens, 4), head, "kind 1")
    assert np.isnan(found.values[3:]).all()
    assert np.nanmean(found.values) == pytest.approx(found.logit, abs=1e-4)


@given(st.integers(0, 10_000))
def test_intersection_over_union_from_dice(seed: int) -> None:
    one, two = np.random.default_rng(seed).integers(0, 2, (2, 30))
    one[0] = 1
    dice = 2 * (one & two).sum() / (one.sum() + two.sum())
    assert iou_of_dice(dice) == pytest.approx(jaccard_score(one, two))


@settings(max_examples=30)
@given(st.integers(2, 4), st.integers(0, 10_000))
def test_auroc_is_scikit_learns_one_against_the_others(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = np.concatenate([np.arange(classes), rng.integers(classes, size=20)])
    scores = rng.integers(0, 6, (len(kinds), classes)).astype(np.float32)
    expected = np.mean([roc_auc_score(kinds == kind, scores[:, kind]) for kind in range(classes)])
    assert mean_auroc(scores, kinds) == pytest.approx(expected)
    assert np.isnan(mean_auroc(scores, np.zeros_like(kinds)))


def test_every_image_is_judged_by_a_head_that_has_not_seen_it() -> None:
    features = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    labels = ["a", "b", "b", "a"] * 5
    heads = cross_validate_heads(features, labels, folds=4)
    assert len(heads.heads) == 4
    for index in range(4):
        seen = heads.fold != index
        again = fit_image_head(
            features[seen], [label for label, kept in zip(labels, seen, strict=True) if kept]
        )
        held_out = heads.probabilities[~seen]
        np.testing.assert_allclose(again.linear.probabilities(features[~seen]), held_out, atol=1e-6)
        assert heads.head_for(int(np.flatnonzero(~seen)[0])) is heads.heads[index]
    kinds = np.array([heads.names.index(label) for label in labels])
    expected = balanced_accuracy_score(kinds, heads.probabilities.argmax(axis=1))
    assert heads.accuracy.value == pytest.approx(expected)
    assert heads.accuracy.low <= expected <= heads.accuracy.high
    table = head_table({"mae": heads})
    assert table.rows == (("mae", heads.accuracy, heads.auroc),)


def test_bad_input_is_told_in_a_sentence() -> None:
    features = np.zeros((4, 3), np.float32)
    with pytest.raises(InvalidOptionError, match=r"shape \(4, 3\) and 3 labels"):
        fit_image_head(features, ["a", "b", "a"])
    with pytest.raises(InvalidOptionError, match="at least two classes to tell apart; got 1"):
        fit_image_head(features, ["a"] * 4)
    with pytest.raises(InvalidOptionError, match="finite features"):
        fit_image_head(np.full((2, 3), np.nan, np.float32), ["a", "b"])
    with pytest.raises(InvalidOptionError, match="5 folds and 1 of 'b'"):
        cross_validate_heads(features, ["a", "a", "a", "b"])
    head = fit_image_head(np.eye(4, dtype=np.float32), ["a", "b", "a", "b"])
    with pytest.raises(InvalidOptionError, match="among a, b; got 'c'"):
        head.row_of("c")
    with pytest.raises(InvalidOptionError, match="width 4, for this head; got those of external, of width 6"):
        token_evidence(image_with(0, 0)[0], head, "a")
