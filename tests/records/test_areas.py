"""Areas as files, read back by others' means."""

import json
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis.extra.numpy import arrays
from skimage.draw import polygon2mask

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.segments import SegmentOptions, Segments, segments_of
from napari_sslmaps.errors import ExportError
from napari_sslmaps.records.areas import COLUMNS, geojson_of, outlines, table_of, write_areas


def found_in(inside: np.ndarray, stride: float = 4.0) -> Segments:
    rows, cols = inside.shape
    grid = TokenGrid(rows, cols, (stride, stride), (8, 12), (rows * stride, cols * stride))
    return segments_of(inside.astype(np.float32), grid, SegmentOptions(0.5, least_px=0.0, fill_holes=False))


def drawn(polygons: list, shape: tuple[int, int]) -> np.ndarray:
    """Draw polygons with holes onto pixels, by scikit-image."""
    inside = np.zeros(shape, bool)
    for outer, *holes in polygons:
        part = polygon2mask(shape, np.array(outer)[:, ::-1] - 0.5)
        for hole in holes:
            part &= ~polygon2mask(shape, np.array(hole)[:, ::-1] - 0.5)
        inside |= part
    return inside


@given(arrays(bool, (6, 7)))
def test_outlines_drawn_again_give_the_same_pixels(inside: np.ndarray) -> None:
    found = found_in(inside)
    for number in range(1, len(found.sizes_px) + 1):
        wanted = np.zeros((40, 50), bool)
        wanted[8:32, 12:40] = np.kron(found.labels == number, np.ones((4, 4), bool))
        again = drawn(outlines(found, number), wanted.shape)
        np.testing.assert_array_equal(again, wanted)


def test_a_ring_has_its_hole_and_a_square_four_corners() -> None:
    inside = np.zeros((6, 6), bool)
    inside[1:5, 1:5] = True
    ((square,),) = outlines(found_in(inside), 1)
    assert square == [[16, 12], [32, 12], [32, 28], [16, 28], [16, 12]]
    inside[2:4, 2:4] = False
    ((outer, hole),) = outlines(found_in(inside), 1)
    assert outer == square
    assert sorted(map(tuple, hole[:-1])) == [(20, 16), (20, 24), (28, 16), (28, 24)]


@pytest.fixture
def two() -> Segments:
    inside = np.zeros((6, 6), bool)
    inside[0, 0] = inside[3:5, 3:6] = True
    return found_in(inside)


def test_geojson_is_what_qupath_reads(two: Segments, tmp_path: Path) -> None:
    path = write_areas(tmp_path / "areas", two, "gland", "#ff1a1a", (0.5, 0.5))
    assert path.name == "areas.geojson"
    read = json.loads(path.read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(geojson_of(two, "gland", "#ff1a1a", (0.5, 0.5))))
    assert read["type"] == "FeatureCollection"
    first, second = read["features"]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[12.0, 8.0], [16.0, 8.0], [16.0, 12.0], [12.0, 12.0], [12.0, 8.0]]],
    }
    assert second["properties"]["objectType"] == "annotation"
    assert second["properties"]["classification"] == {"name": "gland", "color": [255, 26, 26]}
    assert second["properties"]["measurements"]["area_um2"] == 6 * 16 * 0.25
    assert len({feature["id"] for feature in read["features"]}) == 2


def test_the_table_has_centres_and_sizes(two: Segments, tmp_path: Path) -> None:
    path = write_areas(tmp_path / "areas.csv", two, "gland", "#ff1a1a")
    heading, first, second = path.read_text(encoding="utf-8").splitlines()
    assert heading == ",".join(COLUMNS)
    assert first == "1,9.5,13.5,16.0,,1.0"
    assert second.split(",")[3] == "96.0"
    assert table_of(two, (0.5, 0.5))[1]["area_um2"] == 24


def test_zarr_labels_lie_where_the_image_is(two: Segments, tmp_path: Path) -> None:
    path = write_areas(tmp_path / "areas.zarr", two, "gland", "#ff1a1a", (0.5, 0.5))
    group = zarr.open_group(path, mode="r")
    np.testing.assert_array_equal(group["0"][:], two.labels)
    said = group.attrs["ome"]
    (place,) = said["multiscales"][0]["datasets"]
    assert place["coordinateTransformations"][0]["scale"] == [2.0, 2.0]
    assert place["coordinateTransformations"][1]["translation"] == [4.75, 6.75]
    assert said["image-label"]["properties"] == [{"label-value": 1}, {"label-value": 2}]


def test_another_suffix_is_refused(two: Segments, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="geojson"):
        write_areas(tmp_path / "areas.xls", two, "gland", "#ff1a1a")


@given(arrays(bool, (6, 7)))
def test_every_feature_has_the_form_that_qupath_parses(inside: np.ndarray) -> None:
    """Read as QuPath's own parser does: a UUID, what kind of object, numbers, and rings as of RFC 7946."""
    found = found_in(inside)
    features = json.loads(json.dumps(geojson_of(found, "gland", "#ff1a1a", (0.5, 0.5))))["features"]
    assert len(features) == len(found.sizes_px)
    assert len({UUID(feature["id"]) for feature in features}) == len(features)
    for feature, size in zip(features, found.sizes_px, strict=True):
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"] == {"name": "gland", "color": [255, 26, 26]}
        assert feature["properties"]["name"].startswith("gland ")
        assert all(isinstance(value, float) for value in feature["properties"]["measurements"].values())
        kind, coordinates = feature["geometry"]["type"], feature["geometry"]["coordinates"]
        assert kind in {"Polygon", "MultiPolygon"}
        covered = 0.0
        for outer, *holes in [coordinates] if kind == "Polygon" else coordinates:
            assert turned(outer) > 0, "counter-clockwise"
            assert all(turned(hole) < 0 for hole in holes)
            covered += sum(map(turned, (outer, *holes)))
            for ring in (outer, *holes):
                assert ring[0] == ring[-1]
                assert len(ring) >= 5
                assert all(12 <= x <= 40 and 8 <= y <= 32 for x, y in ring), "pixels of level 0"
        assert covered == size


def turned(ring: list[list[float]]) -> float:
    """Return the area of a ring, negative if it runs clockwise, by the shoelace formula."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring)) / 2
