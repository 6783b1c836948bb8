import json

import numpy as np
import pytest

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError


@pytest.mark.parametrize(
    "value",
    [Region(1, 2, 3, 4), (1, 2, 3, 4), [1, 2, 3, 4], np.array([1, 2, 3, 4]), np.s_[1:4, 2:6]],
    ids=["region", "tuple", "list", "array", "slices"],
)
def test_coerce_takes_every_documented_form(value):
    assert Region.coerce(value) == Region(1, 2, 3, 4)


@pytest.mark.parametrize("value", [(1, 2, 3), np.s_[1:4, 2:], np.s_[1:4:2, 2:6]])
def test_coerce_refuses_other_forms_with_a_sentence(value):
    with pytest.raises(RegionError, match="Expected"):
        Region.coerce(value)


@pytest.mark.parametrize("values", [(-1, 0, 4, 4), (0, -1, 4, 4), (0, 0, 0, 4), (0, 0, 4, 0)])
def test_an_impossible_rectangle_is_refused(values):
    with pytest.raises(RegionError, match="at least one pixel"):
        Region(*values)


def test_a_region_outside_the_image_is_refused_with_both_sizes():
    with pytest.raises(RegionError, match=r"100 × 80 px; got rows 90–110"):
        Region(90, 0, 20, 10).check_within((100, 80))


def test_a_region_on_the_border_is_inside():
    Region(80, 60, 20, 20).check_within((100, 80))
    assert Region(80, 60, 20, 20).part(5, 6, 7, 8) == Region(85, 66, 7, 8)


def test_round_trip_through_json():
    region = Region(1, 2, 3, 4, level=2, frame=5)
    assert Region(**json.loads(json.dumps(region.to_dict()))) == region


def test_numbers_of_numpy_become_those_of_python_and_do_not_overflow():
    region = Region(y=np.uint8(200), x=np.int64(0), height=np.uint8(100), width=16.0)
    assert region == Region(200, 0, 100, 16)
    assert all(type(number) is int for number in region.to_dict().values())
    region.check_within((300, 16))
    json.dumps(region.to_dict())


@pytest.mark.parametrize("height", [True, 16.5, "16", None, float("nan"), float("inf"), [16], 16j])
def test_what_is_no_whole_number_is_no_size(height):
    with pytest.raises(RegionError, match="whole pixels; its height"):
        Region(0, 0, height, 16)


@pytest.mark.parametrize("value", [5, None, "abcd", (0, 0, 8.5, 8), np.s_["a":8, :8], np.s_[:8:"x", :8]])
def test_malformed_regions_are_refused(value):
    with pytest.raises(RegionError, match="Expected"):
        Region.coerce(value)
