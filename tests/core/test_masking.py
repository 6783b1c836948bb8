import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import examples
from skimage.data import immunohistochemistry

from napari_sslmaps.core.masking import field_of_view_mask, tissue_mask
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.open import open_image


def overlap(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    return float((found & true).sum() / (found | true).sum())


@pytest.fixture(scope="module")
def slide() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A round piece of tissue on noisy glass, and where it is."""
    noise = np.random.default_rng(0).normal(242, 2, (600, 800, 3))
    pixels = noise.clip(0, 255).astype(np.uint8)
    y, x = np.ogrid[:512, :512]
    disc = (y - 256) ** 2 + (x - 256) ** 2 < 256**2
    pixels[50:562, 200:712][disc] = immunohistochemistry()[disc]
    true = np.zeros((600, 800), bool)
    true[50:562, 200:712] = disc
    return pixels, true


def test_tissue_is_found_on_glass(slide: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> None:
    pixels, true = slide
    found = tissue_mask(pixels)
    assert found.dtype == bool
    assert overlap(found, true) > 0.93  # the tissue has glass in it
    assert found[~true].mean() < 0.01


@pytest.mark.parametrize("scale", [np.uint16(257), np.float32(1 / 255)])
def test_the_type_of_the_pixels_makes_no_difference(
    slide: tuple[NDArray[np.uint8], NDArray[np.bool_]], scale: np.generic
) -> None:
    pixels, true = slide
    assert overlap(tissue_mask(pixels * scale), true) > 0.93  # the tissue has glass in it


def test_missing_tiles_and_specks_are_no_tissue(slide: tuple[NDArray[np.uint8], NDArray[np.bool_]]) -> None:
    pixels, true = slide[0].copy(), slide[1]
    pixels[:, :128] = 0
    pixels[590:594, 760:764] = 90
    found = tissue_mask(pixels)
    assert not found[:, :120].any()
    assert not found[580:, 750:].any()
    assert overlap(found[:, 140:], true[:, 140:]) > 0.93  # the tissue has glass in it


def test_an_empty_slide_has_no_tissue() -> None:
    glass = np.random.default_rng(0).normal(240, 2, (200, 300, 3)).astype(np.uint8)
    assert not tissue_mask(glass).any()
    assert not tissue_mask(np.full((50, 60), 200, np.uint8)).any()


@pytest.mark.parametrize(
    ("name", "inside", "outside", "share"),
    [
        # a lymph node, linear probe: the field is a rectangle of 480 rows; lettering above and below
        ("jpeg2k", [(250, 80), (200, 320), (300, 560)], [(20, 20), (355, 300), (440, 60), (450, 500)], 0.45),
        # an apical view: a dark sector between lettering and an electrocardiogram
        ("ybr_color", [(100, 150), (180, 150), (60, 140)], [(4, 4), (100, 20), (232, 100), (60, 310)], 0.22),
        # a bright arc below a coloured bar, all else black
        ("palette_color", [(100, 480), (130, 470)], [(20, 300), (50, 10), (200, 600), (120, 790)], 0.06),
    ],
)
def test_the_sector_of_ultrasound_is_found(
    name: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]], share: float
) -> None:
    dataset = examples.get_path(name)
    with open_image(dataset) as source:
        frame = source.read(Region(0, 0, *source.levels[0].shape_yx))
    found = field_of_view_mask(frame)
    assert all(found[at] for at in inside)
    assert not any(found[at] for at in outside)
    assert found.mean() == pytest.approx(share, abs=0.03)


def test_a_fan_is_found_with_the_fluid_in_it() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:240, :320]
    angle, radius = np.arctan2(x - 160, y + 20), np.hypot(x - 160, y + 20)
    fan = (np.abs(angle) < 0.6) & (radius > 30) & (radius < 230)
    frame = np.where(fan, rng.rayleigh(60, fan.shape), 0).clip(0, 255).astype(np.uint8)
    frame[(y - 140) ** 2 + (x - 160) ** 2 < 30**2] = 0
    frame[4:8, 4:60:3] = 255  # lettering
    assert overlap(field_of_view_mask(frame), fan) > 0.9


def test_where_nothing_stands_out_everything_is_in_view() -> None:
    assert field_of_view_mask(np.zeros((40, 50), np.uint8)).all()
    assert field_of_view_mask(np.full((40, 50, 3), 128, np.uint8)).all()


def test_what_is_no_image_gets_a_sentence() -> None:
    for wrong in (np.zeros((2, 3, 4, 5)), np.zeros((0, 4)), np.zeros((4, 5, 2))):
        with pytest.raises(UnsupportedImageError, match="to find a mask in"):
            tissue_mask(wrong)
