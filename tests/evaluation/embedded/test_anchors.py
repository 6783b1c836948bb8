import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from napari_sslmaps.evaluation.embedded.anchors import anchor_areas, areas_under_curves, nearness_areas
from napari_sslmaps.evaluation.embedded.images import ProbeSet


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_areas_are_scikit_learn_s(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (3, 20)).astype(float)  # many ties
    positive, valid = rng.random((3, 20)) < 0.4, rng.random((3, 20)) < 0.8
    for row, area in enumerate(areas_under_curves(scores, positive, valid)):
        kept = valid[row]
        if len(set(positive[row, kept])) == 2:
            assert area == pytest.approx(roc_auc_score(positive[row, kept], scores[row, kept]))
        else:
            assert np.isnan(area)


def halves(count: int = 4) -> ProbeSet:
    """Left half one class, right half another."""
    labels = (torch.arange(256) % 16 >= 8).long().expand(count, -1)
    return ProbeSet(torch.zeros(count, 3, 128, 128), labels, ("left", "right"))


def test_tokens_that_know_the_class_find_it_everywhere():
    data = halves()
    tokens = torch.nn.functional.one_hot(data.labels).float()
    assert set(anchor_areas(tokens, data).as_dict().values()) == {1.0}


def test_noise_finds_nothing():
    data = halves(12)
    tokens = torch.randn(12, 256, 16, generator=torch.Generator().manual_seed(0))
    for area in anchor_areas(tokens, data).as_dict().values():
        assert area == pytest.approx(0.5, abs=0.03)


def test_nearness_does_well_within_an_image_and_less_at_like_distance():
    areas = nearness_areas(halves())
    assert areas.image > 0.7
    assert areas.image > areas.far
