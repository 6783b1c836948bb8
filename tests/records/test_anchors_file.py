import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_sslmaps.errors import InvalidAnchorError, RecordError
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.anchors import AnchorSet, first_group, load_anchors, save_anchors

points = st.tuples(st.floats(-0.5, 1e6), st.floats(-0.5, 1e6))
colours = st.sampled_from(["", "#000000", "#1f77b4"])
names = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
some = st.lists(points, max_size=3).map(tuple)
groups = st.builds(AnchorGroup, names, colours, some, some)
sets = st.builds(
    AnchorSet,
    st.lists(groups, max_size=3).map(tuple),
    st.text(st.characters(codec="utf-8")),
    st.sampled_from(["", "ab12"]),
    st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
    st.none() | st.tuples(st.floats(0.01, 10), st.floats(0.01, 10)),
)
LIVER = AnchorSet(
    (AnchorGroup("vessel", "#ff0000", ((3.0, 4.5),)), AnchorGroup("echo", anchors=((20.0, 30.0),))),
    image="liver",
    shape_yx=(64, 64),
    spacing_um_yx=(0.5, 0.5),
)


@given(sets)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_comes_back(tmp_path, anchors):
    assert load_anchors(save_anchors(anchors, tmp_path / "anchors.json")) == anchors


def test_a_set_is_applied_to_another_image_where_it_fits():
    assert LIVER.on_image((40, 31)) == LIVER.groups
    with pytest.raises(InvalidAnchorError, match=r"'echo' on the region.*columns 0–30; one is at \(20, 30\)"):
        LIVER.on_image((40, 30))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "napari-sslmaps/basis"}, "a set of anchors .*the format 'napari-sslmaps/basis'"),
        ({"schema": 9}, "Update"),
        ({"groups": [{"colour": ""}]}, "groups.0.name is missing"),
        ({"groups": 3}, "groups should be a valid array, and is 3"),
        ({"groups": [{"name": "", "colour": "", "anchors": [], "negative": []}]}, "a name for the group"),
        (
            {"groups": [{"name": "a", "colour": "", "anchors": [[1, 2, 3]], "negative": []}]},
            "at most 2 items",
        ),
        ({"shape_yx": [1]}, r"shape_yx\.1 is missing"),
        ({"shape_yx": [1e999, 1]}, "Infinity"),
        ({"surprise": 1}, "surprise is not known"),
    ],
)
def test_a_file_that_does_not_fit_gets_a_sentence(tmp_path, fields, sentence):
    path = save_anchors(LIVER, tmp_path / "anchors.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(RecordError, match=sentence):
        load_anchors(path)


def test_the_first_group_with_an_anchor_is_what_other_images_are_compared_with(tmp_path):
    empty = AnchorGroup("none", "#00ff00", (), ((1.0, 1.0),))
    path = save_anchors(AnchorSet((empty, *LIVER.groups)), tmp_path / "anchors.json")
    assert first_group(path) == LIVER.groups[0]
    save_anchors(AnchorSet((empty,)), path)
    with pytest.raises(RecordError, match=r"at least one anchor; anchors\.json has none"):
        first_group(path)
