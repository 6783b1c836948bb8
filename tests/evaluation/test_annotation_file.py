"""Annotation from files: GeoJSON as QuPath and this package write it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image

from napari_sslmaps.compare.listing import ListingOptions, list_images
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.segments import SegmentOptions, segments_of
from napari_sslmaps.errors import AnnotationError, RecordError
from napari_sslmaps.evaluation.annotation_file import names_in, read_annotation
from napari_sslmaps.records.areas import geojson_of

SHAPE = (24, 30)


def box(top: float, left: float, bottom: float, right: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(kind: str | None, *rings: list[list[float]], **geometry: Any) -> dict[str, Any]:
    classified = {} if kind is None else {"classification": {"name": kind, "color": [1, 2, 3]}}
    shape = geometry or {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": shape, "properties": {"objectType": "annotation", **classified}}


def written(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


def test_polygons_with_holes_in_several_classes_are_drawn(tmp_path: Path) -> None:
    several = {"type": "MultiPolygon", "coordinates": [[box(0, 0, 2, 2)], [box(20, 26, 40, 60)]]}
    path = written(
        tmp_path / "a.geojson",
        feature("nerve", box(8, 8, 10, 10)),
        feature("gland", box(4, 4, 16, 16), box(6, 6, 12, 12)),
        feature("nerve", **several),
        feature("Ignore*", box(0, 20, 3, 25)),
        feature("gland", box(90, 90, 99, 99)),
        feature(None, type="Point", coordinates=[3, 3]),
    )
    expected = np.zeros(SHAPE, int)
    expected[4:16, 4:16] = 1
    expected[6:12, 6:12] = 0
    expected[8:10, 8:10] = expected[:2, :2] = expected[20:, 26:] = 2
    expected[:3, 20:25] = -1
    found = read_annotation(path, SHAPE)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.names == {1: "gland", 2: "nerve"}
    turned = read_annotation(path, SHAPE, names={2: "gland", 7: "nerve"}).labels
    np.testing.assert_array_equal(turned, np.select([expected == 1, expected == 2], [2, 7], expected))
    assert (read_annotation(path, SHAPE, ignore=2).labels[8:10, 8:10] == -1).all()


def test_the_smaller_of_two_areas_lies_on_top_whatever_comes_first(tmp_path: Path) -> None:
    large, small = feature("a", box(0, 0, 20, 20)), feature("b", box(5, 5, 9, 9))
    one, other = (
        read_annotation(written(tmp_path / "a.geojson", *order), SHAPE).labels
        for order in ((large, small), (small, large))
    )
    np.testing.assert_array_equal(one, other)
    assert one[6, 6] == 2


@given(arrays(bool, (5, 6)).filter(np.any))
def test_areas_that_the_window_exports_come_back_as_they_were(inside: np.ndarray) -> None:
    grid = TokenGrid(5, 6, (4.0, 4.0), (2, 3), (20.0, 24.0))
    segments = segments_of(
        inside.astype(np.float32), grid, SegmentOptions(0.5, least_px=0.0, fill_holes=False)
    )
    shape = (24, 30)
    expected = np.zeros(shape, int)
    expected[2:22, 3:27] = np.kron(segments.labels > 0, np.ones((4, 4), int))
    with_areas = geojson_of(segments, "tumour", "#ff0000")
    if not with_areas["features"]:
        return
    with TemporaryDirectory() as folder:
        path = written(Path(folder) / "a.geojson", *with_areas["features"])
        found = read_annotation(path, shape)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.names == {1: "tumour"}


def test_classes_are_numbered_alike_in_all_images(tmp_path: Path) -> None:
    for name, kind in (("a", "nerve"), ("b", "gland")):
        Image.new("RGB", SHAPE[::-1]).save(tmp_path / f"{name}.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        written(tmp_path / "masks" / f"{name}.geojson", feature(kind, box(1, 1, 9, 9)))
    options = ListingOptions(masks=str(tmp_path / "masks"))
    images, _ = list_images([str(tmp_path / "a.png"), str(tmp_path / "b.png")], options)
    assert [image.annotation.classes for image in images] == [{1: "gland", 2: "nerve"}] * 2
    named, _ = list_images(
        [str(tmp_path / "a.png")], ListingOptions(masks=options.masks, classes={1: "other"})
    )
    with pytest.raises(AnnotationError, match=r"Expected the classes other; a\.geojson has nerve besides"):
        read_annotation(named[0].annotation.path, SHAPE, names=named[0].annotation.classes)


def test_areas_without_any_class_are_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.geojson", feature(None, box(1, 1, 9, 9)))
    assert names_in(path) == {1: "annotated"}
    path.write_text(json.dumps(feature("x", box(1, 1, 9, 9))))
    assert names_in(path) == {1: "x"}
    path.write_text(json.dumps([feature("y", box(1, 1, 9, 9))]))
    assert names_in(path) == {1: "y"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{}", "holds something else"),
        ("3", "holds something else"),
        ('{"features": []}', "there is none"),
        (json.dumps([feature("a", box(0, 0, 1, 1)), feature(None, box(0, 0, 1, 1))]), "1 of 2 areas have no"),
        (json.dumps([feature("a", [[0, 0], [1, 1]])]), "fewer than three corners"),
        (json.dumps([feature("a", [[0, 0], ["x", 1], [2, 2]])]), "holds something else"),
        (json.dumps([feature("a", [[0, 0], [1e300, 1], [2, 2]])]), "fewer than three corners"),
        (json.dumps([feature("a", [])]), "fewer than three corners"),
        (json.dumps([feature("a")]), "fewer than three corners"),
        (json.dumps([{**feature("a"), "geometry": 4}]), "holds something else"),
    ],
    ids=range(10),
)
def test_what_holds_no_areas_gets_a_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(AnnotationError, match=sentence):
        read_annotation(tmp_path / "a.geojson", SHAPE)


def test_no_json_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text("[[[")
    with pytest.raises(RecordError, match="in JSON"):
        read_annotation(tmp_path / "a.geojson", SHAPE)


def test_areas_that_lie_over_each_other_without_end_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.geojson", *[feature("gland", box(0, 0, 8000, 8000))] * 70)
    with pytest.raises(AnnotationError, match=r"the 70 of this annotation lie 70 times over each other"):
        read_annotation(path, (8000, 8000))


def test_more_classes_than_labels_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.geojson", *[feature(f"c{n}", box(0, 0, 4, 4)) for n in range(10_001)])
    with pytest.raises(AnnotationError, match=r"at most 10,000 classes; a\.geojson has 10,001"):
        read_annotation(path, SHAPE)
