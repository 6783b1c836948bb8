"""Clusters in the window: a layer of labels, whose colours stay when k changes."""

from dataclasses import replace

import numpy as np
import pytest
from napari.layers import Image, Labels

from napari_sslmaps.maps.clusters import ClusterMap, ClusterOptions
from napari_sslmaps.maps.registry import selectable
from napari_sslmaps.viewer.controller import Controller


@pytest.fixture
def clustered(controller: Controller, image: Image) -> Controller:
    controller.workspace.maps = tuple(kind.key for kind in selectable())
    controller.run()
    controller.workspace.shown = "clusters"
    return controller


def shown(controller: Controller, image: Image, encoder: str = "mae-demo") -> tuple[Labels, ClusterMap]:
    layer = controller.layer_manager.find(image, "clusters", encoder)
    assert isinstance(layer, Labels)
    result = controller.layer_manager.result_of(layer)
    assert isinstance(result, ClusterMap)
    return layer, result


def test_clusters_are_labels_and_said_in_the_caption(clustered: Controller, image: Image) -> None:
    layer, result = shown(clustered, image)
    np.testing.assert_array_equal(np.squeeze(layer.data), result.labels)
    assert clustered.workspace.caption.text == "k-means of tokens, 6 clusters of this region"
    _, other = shown(clustered, image, "dinov3-demo")
    assert other.matched_to == "mae-demo"


def test_numbers_stay_when_k_changes(clustered: Controller, image: Image) -> None:
    workspace = clustered.workspace
    _, before = shown(clustered, image)
    workspace.options = replace(workspace.options, clusters=ClusterOptions(count=7))
    _, after = shown(clustered, image)
    assert len(after.numbers) == 7
    nearest = np.linalg.norm(after.centres[:, None] - before.centres, axis=-1)
    kept = np.isin(after.numbers, before.numbers)
    assert kept.sum() == 6
    same = after.numbers[kept] == before.numbers[nearest.argmin(axis=1)][kept]
    assert same.mean() >= 0.5
