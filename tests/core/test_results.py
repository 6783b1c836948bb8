import json

import numpy as np
import pytest

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, RecordError


def test_provenance_goes_through_json_and_back():
    provenance = Provenance(encoder="x", region=Region(1, 2, 3, 4), window=(0.0, 255.0), tile=32)
    assert Provenance.from_dict(json.loads(json.dumps(provenance.to_dict()))) == provenance


def test_unknown_provenance_is_refused():
    with pytest.raises(RecordError, match="moon is not known"):
        Provenance.from_dict({"moon": "full"})


def test_tokens_from_elsewhere_lie_where_their_stride_says():
    embedding = Embedding.from_tokens(np.zeros((2, 3, 4)), stride=14)
    assert embedding.tokens.dtype == np.float32
    assert embedding.attention is None
    np.testing.assert_array_equal(embedding.grid.token_to_pixel((1, 2)), (20.5, 34.5))


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 2, 2), (0, 3, 4)])
def test_tokens_of_another_shape_are_refused(shape):
    with pytest.raises(InvalidOptionError, match=r"\(rows, cols, dim\)"):
        Embedding.from_tokens(np.zeros(shape))


def test_a_stride_below_one_is_refused():
    with pytest.raises(InvalidOptionError, match="at least one pixel"):
        Embedding.from_tokens(np.zeros((2, 2, 2)), stride=0)


def test_arrays_off_the_grid_are_refused():
    good = Embedding.from_tokens(np.zeros((2, 3, 4)))
    with pytest.raises(InvalidOptionError, match="attention on the grid"):
        Embedding(good.tokens, good.grid, attention=np.zeros((4, 3, 3), np.float32))
    with pytest.raises(InvalidOptionError, match="tokens on the grid"):
        Embedding(good.tokens[:1], good.grid)


def test_results_cannot_be_changed():
    embedding = Embedding.from_tokens(np.zeros((2, 3, 4)))
    with pytest.raises(AttributeError):
        embedding.tokens = embedding.tokens
