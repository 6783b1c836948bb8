"""Level and rectangle of an image in a batch."""

import numpy as np
import pytest

from napari_sslmaps.batch.tasks import BatchOptions
from napari_sslmaps.batch.work import choose_region
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import RegionError, UnsupportedImageError
from napari_sslmaps.inputs.listing import BatchItem
from napari_sslmaps.sources.array import ArraySource

ITEM = BatchItem("/slides/a.svs", "a.svs")


def slide(spacing=(0.25, 0.25)):
    pixels = np.zeros((64, 48), np.uint8)
    return ArraySource([pixels, pixels[::2, ::2], pixels[::8, ::8]], "a", spacing_um_yx=spacing)


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [(0.25, (64, 48)), (0.2, (64, 48)), (0.5, (32, 24)), (0.7, (32, 24)), (2.9, (8, 6)), (1.4, (8, 6))],
)
def test_the_closest_level_is_taken(wanted, shape):
    assert choose_region(slide(), ITEM, BatchOptions(spacing_um=wanted)).shape_yx == shape


def test_a_scale_that_no_level_has_is_said():
    with pytest.raises(UnsupportedImageError, match=r"a\.svs has 0\.25, 0\.5, 2\."):
        choose_region(slide(), ITEM, BatchOptions(spacing_um=1.0))
    with pytest.raises(UnsupportedImageError, match="says its spacing"):
        choose_region(slide(None), ITEM, BatchOptions(spacing_um=1.0))


def test_an_items_own_level_and_rectangle_win():
    own = BatchItem("/slides/a.svs", "a.svs", region=(1, 2, 3, 4), level=1)
    assert choose_region(slide(), own, BatchOptions(spacing_um=2.0)) == Region(1, 2, 3, 4, 1)
    assert choose_region(slide(), ITEM, BatchOptions(level=2)) == Region(0, 0, 8, 6, 2)
    with pytest.raises(RegionError, match="below 3"):
        choose_region(slide(), ITEM, BatchOptions(level=3))
