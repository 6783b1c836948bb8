import pytest
import torch

from napari_sslmaps.lab.gate.anchors import anchor_areas, nearness_areas
from napari_sslmaps.lab.gate.images import ProbeSet


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
