"""The length of each token, as the norm says."""

import numpy as np

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.maps.registry import caption
from napari_sslmaps.maps.token_length import TOKEN_LENGTH, token_length_map


def test_it_is_the_norm():
    tokens = np.random.default_rng(0).normal(size=(7, 9, 12)).astype(np.float32)
    tokens[2, 3] = np.nan
    tokens[4, 4] = 0
    found = token_length_map(Embedding.from_tokens(tokens, 4))
    np.testing.assert_allclose(found.values, np.sqrt((tokens.astype(float) ** 2).sum(axis=-1)), rtol=1e-5)
    assert np.isnan(found.values[2, 3])
    assert found.values[4, 4] == 0


def test_a_token_that_stands_out_is_said():
    tokens = np.ones((4, 4, 4), np.float32)
    tokens[1, 2] = 10
    facts = TOKEN_LENGTH.facts(token_length_map(Embedding.from_tokens(tokens, 4)))
    words, _ = caption({"map": "token-length", "options": facts})
    assert words == "length of tokens as embedded, median 2, longest 20"
