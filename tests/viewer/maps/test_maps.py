import numpy as np
import pytest

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.maps.similarity import SimilarityOptions, similarity_map
from napari_sslmaps.viewer.maps.map_controller import live_layer
from napari_sslmaps.viewer.state.session import Embedded
from napari_sslmaps.viewer.state.workspace import Anchor, WorkspaceModel


@pytest.fixture
def embedded() -> Embedded:
    tokens = np.random.default_rng(1).normal(size=(13, 18, 6)).astype(np.float32)
    return Embedded(Embedding.from_tokens(tokens, stride=8, name="e"))


@pytest.mark.parametrize("centred", [False, True])
def test_a_frame_with_room_is_the_full_map(embedded: Embedded, centred: bool) -> None:
    workspace = WorkspaceModel(
        anchors=(Anchor((20.0, 30.0)), Anchor((70.0, 5.0), negative=True)),
        options=MapOptions(similarity=SimilarityOptions(centred=centred)),
    )
    drawing = live_layer(embedded, workspace.request, 10**9)
    full = similarity_map(embedded.embedding, [(20, 30)], negative=[(70, 5)], centred=centred)
    np.testing.assert_allclose(drawing.values, full.values, atol=1e-6)
    assert drawing.grid == embedded.embedding.grid


def test_a_frame_without_room_is_coarser_and_lies_on_the_same_pixels(embedded: Embedded) -> None:
    request = WorkspaceModel(anchors=(Anchor((20.0, 30.0)),)).request
    drawing = live_layer(embedded, request, 7 * 9 * 6 * 4)
    assert drawing.values.shape == (7, 9)
    full = live_layer(embedded, request, 10**9).values
    np.testing.assert_allclose(drawing.values[:6], full[:12].reshape(6, 2, 9, 2).mean(axis=(1, 3)), atol=1e-5)
    fine = embedded.embedding.grid
    np.testing.assert_allclose(drawing.grid.token_to_pixel((-0.5, -0.5)), fine.token_to_pixel((-0.5, -0.5)))
    np.testing.assert_allclose(drawing.grid.token_to_pixel((2.5, 2.5)), fine.token_to_pixel((5.5, 5.5)))
