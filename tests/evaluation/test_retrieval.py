"""Precision of a search across images, against a slow count by hand, and what does not count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.evaluation.label_efficiency import LabelledFeatures
from napari_sslmaps.evaluation.retrieval import retrieval_precision, retrieval_table


def drawn(seed, images=4, apart=2.0, dim=6, each=8):
    rng = np.random.default_rng(seed)
    centres = apart * rng.normal(size=(3, dim))
    made = []
    for _ in range(images):
        kinds = rng.integers(1, 4, each)
        made.append(
            LabelledFeatures((centres[kinds - 1] + rng.normal(size=(each, dim))).astype(np.float32), kinds)
        )
    return made


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_precision_is_what_a_count_by_hand_gives(seed):
    images = drawn(seed)
    precision, chance = retrieval_precision(images, ranks=(1, 3))
    everything = np.concatenate([image.features for image in images]).astype(float)
    mean = everything.mean(axis=0)
    for number, image in enumerate(images):
        pool = [
            (token.astype(float) - mean, kind)
            for at, other in enumerate(images)
            if at != number
            for token, kind in zip(other.features, other.kinds, strict=True)
        ]
        found, share = [], []
        for kind in sorted(set(image.kinds.tolist())):
            if kind not in [other for _, other in pool]:
                continue
            hits = []
            for query in image.features[image.kinds == kind] - mean:
                ordered = sorted(pool, key=lambda one, q=query: -(one[0] @ q) / np.linalg.norm(one[0]))
                hits.append([np.mean([other == kind for _, other in ordered[:k]]) for k in (1, 3)])
            found.append(np.mean(hits, axis=0))
            share.append(np.mean([other == kind for _, other in pool]))
        np.testing.assert_allclose(precision[number], np.mean(found, axis=0))
        assert chance[number] == pytest.approx(np.mean(share))


def test_images_of_one_group_do_not_answer_each_other():
    images = drawn(1)
    twice = [*images, *images]
    assert np.nanmean(retrieval_precision(twice, ranks=(1,))[0]) == 1.0
    held = retrieval_precision(twice, [0, 1, 2, 3, 0, 1, 2, 3], ranks=(1,))[0]
    np.testing.assert_allclose(held[:4], retrieval_precision(images, ranks=(1,))[0])


def test_noise_is_at_chance_and_classes_apart_are_found():
    rng = np.random.default_rng(0)
    noise = [
        LabelledFeatures(rng.normal(size=(40, 8)).astype(np.float32), rng.integers(1, 3, 40))
        for _ in range(12)
    ]
    precision, chance = retrieval_precision(noise)
    assert np.abs(precision.mean(axis=0) - chance.mean()).max() < 0.08
    assert retrieval_precision(drawn(3, apart=9.0))[0][:, 0].min() > 0.9


def test_a_single_image_cannot_be_searched_and_a_class_of_one_image_is_left_out():
    with pytest.raises(InvalidOptionError, match="two groups"):
        retrieval_precision(drawn(0)[:1])
    one = LabelledFeatures(np.eye(3, dtype=np.float32), np.array([1, 1, 1]))
    other = LabelledFeatures(np.eye(3, dtype=np.float32), np.array([2, 2, 2]))
    assert np.isnan(retrieval_precision([one, other])[0]).all()


def test_the_table_has_a_row_for_every_method():
    table = retrieval_table({"mine": drawn(0, apart=9.0), "noise": drawn(0, apart=0.0)}, "tokens")
    assert [row[0] for row in table.rows] == ["mine", "noise"]
    assert table.rows[0][1].value > table.rows[1][1].value
    assert "by chance" in table.notes[0]
