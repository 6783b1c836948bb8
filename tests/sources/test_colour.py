import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.core.region import Region
from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.colour import WINDOW, is_grey
from napari_sslmaps.sources.samples import SAMPLES


def grey_rgb(height, width, seed=0):
    plane = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return np.repeat(plane[..., None], 3, axis=-1)


@pytest.mark.parametrize(("key", "grey"), [("histology", False), ("ultrasound", True)])
def test_the_real_samples(key, grey):
    with SAMPLES[key].open() as source:
        assert is_grey(source) is grey


def test_one_channel_is_grey():
    assert is_grey(ArraySource(np.zeros((5, 7), np.uint16)))


@given(height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 3))
def test_equal_channels_are_grey_in_any_size(height, width, seed):
    assert is_grey(ArraySource(grey_rgb(height, width, seed)))


@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    scale=st.sampled_from([1.0, 255.0, 4095.0]),
    seed=st.integers(0, 3),
)
def test_stained_tissue_is_coloured_in_any_size_and_range(height, width, scale, seed):
    rng = np.random.default_rng(seed)
    pink = np.array([0.85, 0.55, 0.75]) * rng.uniform(0.7, 1.0, (height, width, 1)) * scale
    assert not is_grey(ArraySource(pink.astype(np.float32)))


def test_compression_and_a_small_colour_bar_are_no_colour():
    image = grey_rgb(600, 800).astype(int) + np.random.default_rng(1).integers(-2, 3, (600, 800, 3))
    image = image.clip(0, 255).astype(np.uint8)
    image[20:200, 760:790] = (255, 120, 0)
    image[570:, :] = (0, 40, 90)
    image[300:306, 400:404] = (0, 255, 0)
    assert is_grey(ArraySource(image))


def test_the_tint_of_lossy_webp_is_no_colour():
    """As in public sets: 8 % of the pixels stray by 5 to 9 % of white."""
    rng = np.random.default_rng(2)
    image = grey_rgb(500, 500).astype(int)
    image[..., 2] += np.where(rng.random((500, 500)) < 0.08, rng.integers(13, 23, (500, 500)), 0)
    assert is_grey(ArraySource(image.clip(0, 255).astype(np.uint8)))


def test_a_little_tissue_on_a_white_slide_is_colour():
    image = np.full((1000, 1000, 3), 243, np.uint8)
    image[300:470, 400:570] = (190, 110, 160)
    assert not is_grey(ArraySource(image))


def test_a_dark_image_is_judged_by_its_own_range():
    image = np.zeros((100, 100, 3), np.float32)
    assert is_grey(ArraySource(image))
    image[..., 0] = 1e-3
    assert not is_grey(ArraySource(image))


def test_only_a_sample_of_the_coarsest_level_is_read():
    class Watched(ArraySource):
        asked: list[Region]

        def read(self, region: Region) -> np.ndarray:
            self.asked.append(region)
            return super().read(region)

    source = Watched(grey_rgb(900, 1200))
    source.asked = []
    assert is_grey(source)
    assert sum(region.height * region.width for region in source.asked) == 25 * WINDOW**2
    top, bottom = min(r.y for r in source.asked), max(r.y + r.height for r in source.asked)
    assert (top, bottom) == (90, 810)


def test_pixels_that_cannot_be_read_do_not_count_as_grey():
    source = ArraySource(grey_rgb(60, 60))
    source.close()
    assert not is_grey(source)
