"""What is held out is a stroke, an image or a block, and never a neighbour of what was fitted."""

import numpy as np
import pytest

from napari_sslmaps.core.findings import Table
from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.cross_validation import MARGIN, cross_validate

from .test_token_probe import strokes, two_halves


def test_strokes_that_tell_the_classes_apart_are_recognised_when_held_out() -> None:
    found = cross_validate(two_halves(), strokes())
    assert (found.by, found.units, found.folds, found.left_out) == ("region", 4, 4, 0)
    assert found.classes == (1, 4)
    assert found.accuracy.value > 0.9
    assert found.confusion.sum() == 11
    assert found.accuracy.value == pytest.approx(np.mean([recall.value for recall in found.recall]))


def test_two_strokes_of_a_class_are_too_few_for_an_interval() -> None:
    few = cross_validate(two_halves(), strokes())
    assert np.isnan([few.accuracy.low, few.accuracy.high]).all()
    labels = strokes()
    labels[11, 0:2], labels[6, 10] = 1, 4
    more = cross_validate(two_halves(), labels)
    assert more.units == 6
    assert more.accuracy.low <= more.accuracy.value <= more.accuracy.high


def test_noise_is_not_recognised_although_neighbours_are_alike() -> None:
    """Tokens differ from stroke to stroke alone: recognised if held out by token, but not by region."""
    rng = np.random.default_rng(0)
    side, dim = 24, 16
    tokens, labels = 0.01 * rng.normal(size=(side, side, dim)), np.zeros((side, side), int)
    for row in range(0, side, 2):
        tokens[row] += rng.normal(size=dim)
        labels[row, :12] = rng.integers(1, 3) if row > 6 else 1 + row % 4 // 2
    found = cross_validate(Embedding.from_tokens(tokens, 4), labels)
    assert found.by == "region"
    assert found.units == 12
    assert found.accuracy.value < 0.75


def test_images_are_held_out_whole_where_every_class_is_in_two() -> None:
    embeddings = [two_halves(seed=seed) for seed in range(3)]
    found = cross_validate(embeddings, [strokes()] * 3)
    assert (found.by, found.units, found.folds) == ("image", 3, 3)
    assert found.accuracy.value > 0.9
    assert cross_validate(embeddings, [strokes()] * 3, by="region").units == 12


def test_a_dense_mask_is_cut_into_blocks_whose_neighbours_are_left_out() -> None:
    seen: list[np.ndarray] = []
    side = 16
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    embedding = Embedding.from_tokens(places.astype(np.float32), 4)
    labels = 1 + (places[..., 0] >= 6).astype(int)

    with pytest.MonkeyPatch.context() as patch:
        import napari_sslmaps.evaluation.cross_validation as module

        fit = module.fit_to_tokens

        def watch(of: Embedding, tokens: np.ndarray, kinds: np.ndarray, **options: object) -> object:
            seen.append(tokens)
            return fit(of, tokens, kinds, **options)

        patch.setattr(module, "fit_to_tokens", watch)
        found = cross_validate(embedding, labels, folds=16)
    assert (found.by, found.units, found.folds) == ("block", 16, 16)
    assert found.accuracy.value > 0.9
    assert np.isfinite([found.accuracy.low, found.accuracy.high]).all()
    blocks = [
        places[row : row + 4, col : col + 4].reshape(-1, 2)
        for row in range(0, 16, 4)
        for col in range(0, 16, 4)
    ]
    for tokens in seen:  # each fit keeps away from the whole of some block
        apart = [np.abs(tokens[:, None] - block).max(axis=2).min() for block in blocks]
        assert max(apart) == MARGIN + 1


def test_more_units_than_folds_are_dealt_so_that_each_class_stays_on_both_sides() -> None:
    labels = np.zeros((12, 12), int)
    labels[::4, 0:2], labels[::4, 8:10] = 1, 2
    found = cross_validate(two_halves(), labels, folds=2)
    assert (found.units, found.folds, found.left_out) == (6, 2, 0)
    assert found.confusion.sum() == 12


@pytest.mark.parametrize("kind", ["logistic", "knn"])
def test_both_probes_can_be_cross_validated(kind: str) -> None:
    assert cross_validate(two_halves(), strokes(), kind=kind).accuracy.value > 0.9


def test_the_table_names_classes_and_chance() -> None:
    table = cross_validate(two_halves(), strokes()).table(names=("left", "right"))
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["left", "right", "balanced accuracy"]
    assert [row[2] for row in table.rows] == [6, 5, 11]
    assert table.notes == ("Held out by region: 4 regions in 4 folds.", "Chance is 0.50.")


def test_bad_input_is_told_in_a_sentence() -> None:
    embedding, labels = two_halves(), strokes()
    once = np.where(labels == 4, 0, labels)
    once[4, 8:11] = 4
    with pytest.raises(InvalidOptionError, match=r"two separate regions.* class 4 has fewer\. Paint another"):
        cross_validate(embedding, once)
    with pytest.raises(InvalidOptionError, match=r"two separate images.* class 1, 4 has fewer"):
        cross_validate(embedding, labels, by="image")
    with pytest.raises(InvalidOptionError, match=r"by 'auto', 'image', 'region' or 'block'; got 'token'"):
        cross_validate(embedding, labels, by="token")
    with pytest.raises(InvalidOptionError, match="at least two folds; got 1"):
        cross_validate(embedding, labels, folds=1)
    with pytest.raises(InvalidOptionError, match="at least two classes; got 0"):
        cross_validate(embedding, np.zeros_like(labels))
