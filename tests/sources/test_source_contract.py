"""What every source owes, whatever the format."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from case_kit import Case
from source_cases import CASES

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError, UnsupportedImageError


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Case = request.param(tmp_path)
    with made.source:
        yield made


def test_layout_is_that_of_an_independent_decoder(case: Case) -> None:
    source = case.source
    assert [level.shape_yx for level in source.levels] == [array.shape[1:3] for array in case.levels]
    assert source.frames == len(case.levels[0])
    assert source.channels == (3 if case.levels[0].ndim == 4 else 1)
    assert source.dtype == case.levels[0].dtype.newbyteorder("=")
    height, width = source.levels[0].shape_yx
    for level in source.levels:
        assert level.downsample_yx == (height / level.shape_yx[0], width / level.shape_yx[1])


def test_spacing_is_in_micrometres_or_unknown(case: Case) -> None:
    if case.spacing is None:
        assert case.source.spacing_um_yx is None
    else:
        assert case.source.spacing_um_yx == pytest.approx(case.spacing)


def test_every_region_is_exact(case: Case) -> None:
    for index, array in enumerate(case.levels):
        height, width = array.shape[1:3]
        frame = len(array) - 1
        for y, x, h, w in ((0, 0, height, width), (3, 5, 9, 7), (height - 1, width - 1, 1, 1)):
            pixels = case.source.read(Region(y, x, h, w, index, frame))
            assert pixels.dtype == case.source.dtype
            np.testing.assert_array_equal(pixels, array[frame, y : y + h, x : x + w])


def test_what_is_read_belongs_to_the_reader(case: Case) -> None:
    region = Region(2, 2, 8, 8)
    first = case.source.read(region)
    before = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(case.source.read(region), before)


def test_threads_read_the_same(case: Case) -> None:
    array = case.levels[0]
    corners = [(y, x, f) for f in range(len(array))[:3] for y in (0, 17, 33) for x in (0, 11, 30)]

    def read(corner: tuple[int, int, int]) -> bool:
        y, x, frame = corner
        pixels = case.source.read(Region(y, x, 12, 10, 0, frame))
        return bool(np.array_equal(pixels, array[frame, y : y + 12, x : x + 10]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, corners * 2))


def test_regions_outside_are_refused(case: Case) -> None:
    height, width = case.source.levels[0].shape_yx
    with pytest.raises(RegionError, match="inside the image"):
        case.source.read(Region(height - 1, 0, 2, 1))
    with pytest.raises(RegionError, match="inside the image"):
        case.source.read(Region(0, width, 1, 1))
    with pytest.raises(RegionError, match=r"Expected a level below"):
        case.source.read(Region(0, 0, 1, 1, level=len(case.levels)))
    with pytest.raises(RegionError, match=r"Expected a frame below"):
        case.source.read(Region(0, 0, 1, 1, frame=case.source.frames))


def test_closed_sources_say_so(case: Case) -> None:
    case.source.close()
    case.source.close()
    with pytest.raises(UnsupportedImageError, match="has been closed"):
        case.source.read(Region(0, 0, 1, 1))
