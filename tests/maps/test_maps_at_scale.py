"""Every map of tokens is the map of averaged tokens, where a scale is asked for."""

import numpy as np
import pytest

import napari_sslmaps as ssl
from napari_sslmaps.core.neighbourhood import averaged
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.make import MapRequest, make_maps, similarity_to_groups
from napari_sslmaps.maps.registry import MAP_TYPES, MapOptions, caption
from napari_sslmaps.viewer.canvas.map_layers import draw

KEYS = ("pca", "similarity", "groups", "clusters")
SIGMA = 12.0


@pytest.fixture(scope="module")
def embedding() -> ssl.Embedding:
    rng = np.random.default_rng(4)
    tokens = rng.normal(size=(12, 16, 8)).astype(np.float32)
    tokens[:, 8:, 0] += 3
    tokens[2:4, 3:6] = np.nan
    return ssl.Embedding.from_tokens(tokens, stride=8)


def request(scale: float) -> MapRequest:
    groups = (AnchorGroup("a", anchors=((60, 12),)), AnchorGroup("b", anchors=((60, 110),)))
    return MapRequest(KEYS, MapOptions(scale=TokenScale(scale)), groups[0], groups)


@pytest.mark.parametrize("key", KEYS)
def test_a_map_at_a_scale_is_that_of_averaged_tokens(embedding, key):
    found = make_maps({0: embedding}, request(SIGMA))[0][key]
    expected = make_maps({0: averaged(embedding, SIGMA)}, request(0))[0][key]
    np.testing.assert_allclose(found.values, expected.values, atol=2e-5)
    assert found.provenance.scale == SIGMA
    assert not np.allclose(found.values, make_maps({0: embedding}, request(0))[0][key].values, equal_nan=True)


def test_similarity_to_each_group_is_at_the_scale(embedding):
    made = similarity_to_groups(embedding, request(SIGMA))
    expected = ssl.similarity_map(embedding, [(60, 110)], scale=SIGMA)
    np.testing.assert_array_equal(made["b"].values, expected.values)


@pytest.mark.parametrize("key", KEYS)
def test_captions_and_layers_say_the_scale(embedding, key):
    drawn = draw(make_maps({0: embedding}, request(SIGMA))[0][key])
    assert drawn.record["options"]["sigma_px"] == SIGMA
    assert "over σ 12 px" in caption(drawn.record)[0]
    plain = draw(make_maps({0: embedding}, request(0))[0][key])
    assert "σ" not in caption(plain.record)[0]


def test_a_change_of_scale_redraws_what_is_made_of_tokens_alone():
    changed = MapOptions(scale=TokenScale(3)).changed_since(MapOptions())
    assert set(changed) == {key for key, kind in MAP_TYPES.items() if kind.follows_scale} == set(KEYS)


def test_an_anchor_in_an_image_of_other_pixels_has_the_same_size_there(embedding):
    fine = ssl.Embedding.from_tokens(np.repeat(np.repeat(embedding.tokens, 2, 0), 2, 1), stride=8)
    found = ssl.similarity_map(embedding, [(130, 30)], scale=8.0, reference=fine, reference_scale=16.0)
    same = ssl.similarity_map(embedding, [(65, 15)], scale=8.0)
    assert np.nanmax(np.abs(found.values - same.values)) < 0.2
