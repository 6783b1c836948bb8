"""Clusters of tokens: nearest centres, numbers that stay, clusters of several images and encoders."""

from dataclasses import replace

import numpy as np
import pytest

from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, MapUnavailableError
from napari_sslmaps.maps.clusters import MOST, cluster_map, match_clusters
from napari_sslmaps.records.map_files import read_map, write_map


def blobs(seed: int = 0, count: int = 4, rows: int = 16, cols: int = 20, dim: int = 5) -> Embedding:
    """Tokens in quadrants, each around a place of its own."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(count, dim)) * 10
    quadrant = (np.arange(rows)[:, None] >= rows // 2) * 2 + (np.arange(cols) >= cols // 2)
    tokens = centres[quadrant % count] + rng.normal(size=(rows, cols, dim)) * 0.1
    return Embedding.from_tokens(tokens.astype(np.float32), 4, name="e")


def test_each_token_gets_the_nearest_centre():
    tokens = np.random.default_rng(1).normal(size=(20, 15, 6)).astype(np.float32)
    found = cluster_map(Embedding.from_tokens(tokens, 4), 5)
    distances = np.linalg.norm(tokens[:, :, None] - found.centres, axis=-1)
    np.testing.assert_array_equal(found.labels, found.numbers[distances.argmin(axis=-1)])
    np.testing.assert_allclose(found.values, distances.min(axis=-1), atol=1e-4)
    assert sorted(found.numbers) == [1, 2, 3, 4, 5]


def test_what_is_apart_is_told_apart_and_the_largest_is_first():
    found = cluster_map(blobs(), 4)
    parts = [found.labels[:8, :10], found.labels[:8, 10:], found.labels[8:, :10], found.labels[8:, 10:]]
    assert sorted(int(part[0, 0]) for part in parts) == [1, 2, 3, 4]
    assert all((part == part[0, 0]).all() for part in parts)
    lopsided = blobs()
    lopsided.tokens[:8, 10:] = lopsided.tokens[:8, :10]
    assert (cluster_map(lopsided, 3).labels[:8] == 1).all()


@pytest.mark.parametrize("seed", range(1, 5))
def test_numbers_stay_when_k_means_starts_elsewhere(seed: int):
    first = cluster_map(blobs(), 4)
    renamed = replace(first, numbers=np.array([9, 4, 7, 2], np.int32))
    again = cluster_map(blobs(), 4, previous=renamed, seed=seed)
    order = np.array([np.abs(first.centres - centre).sum(axis=1).argmin() for centre in again.centres])
    np.testing.assert_array_equal(again.numbers, renamed.numbers[order])


def test_another_cluster_gets_a_free_number_and_the_others_keep_theirs():
    first = cluster_map(blobs(), 4)
    more = cluster_map(blobs(), 5, previous=first)
    assert set(more.numbers) == {1, 2, 3, 4, 5}
    assert np.mean(more.labels == first.labels) > 0.75
    fewer = cluster_map(blobs(), 3, previous=first)
    assert set(fewer.numbers) < {1, 2, 3, 4}
    other = replace(first, provenance=Provenance(encoder="another"))
    np.testing.assert_array_equal(cluster_map(blobs(), 4, previous=other).labels, first.labels)


def test_images_of_one_encoder_share_clusters():
    one, other = cluster_map([blobs(0), blobs(1)], 4)
    assert one.centres is other.centres
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.joint
    foreign = replace(blobs(1), provenance=Provenance(encoder="another"))
    with pytest.raises(InvalidOptionError, match=r"of one encoder.*another, e"):
        cluster_map([blobs(0), foreign])


def test_numbers_of_encoders_are_matched_by_what_they_cover():
    first = cluster_map(blobs(), 4)
    coarse = Embedding.from_tokens(-blobs().tokens[::2, ::2] * 3, 8, name="b")
    second = cluster_map(coarse, 4)
    shuffled = replace(
        second, labels=(second.labels % 4 + 1).astype(np.int32), numbers=second.numbers % 4 + 1
    )
    _, matched = match_clusters([first, shuffled])
    np.testing.assert_array_equal(matched.labels, first.labels[::2, ::2])
    assert matched.matched_to == "e"
    assert match_clusters([first, shuffled])[0] is first


def test_unknown_tokens_are_in_none_and_alike_ones_in_one():
    holed = blobs()
    holed.tokens[3, 4] = np.nan
    found = cluster_map(holed, 4)
    assert found.labels[3, 4] == 0
    assert np.isnan(found.values[3, 4])
    assert (found.labels > 0).sum() == found.labels.size - 1
    alike = cluster_map(Embedding.from_tokens(np.ones((4, 4, 3)), 4), 3)
    assert len(np.unique(alike.labels)) == 1


def test_labels_are_written(tmp_path):
    found = cluster_map(blobs(), 4)
    write_map(tmp_path / "clusters.tif", found)
    read = read_map(tmp_path / "clusters.tif")
    np.testing.assert_array_equal(read.values, found.labels)
    assert (read.kind, read.details["count"]) == ("clusters", 4)


def test_counts_that_cannot_be_get_a_sentence():
    with pytest.raises(InvalidOptionError, match=f"from 2 to {MOST} clusters; got 1"):
        cluster_map(blobs(), 1)
    with pytest.raises(InvalidOptionError, match="at least one embedding"):
        cluster_map([])
    with pytest.raises(MapUnavailableError, match=r"at least 6 tokens.*got 4"):
        cluster_map(Embedding.from_tokens(np.ones((2, 2, 3)), 4))
