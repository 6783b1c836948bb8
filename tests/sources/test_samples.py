import socket

import numpy as np
import pytest
import skimage.data
from pydicom import examples

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.samples import SAMPLES, Sample


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a sample must not touch the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("key", ["histology", "ultrasound"])
def test_a_sample_opens_with_its_anchor_on_structure(key: str) -> None:
    sample = SAMPLES[key]
    with sample.open() as source:
        y, x = (int(part) for part in sample.anchor_yx)
        around = source.read(Region(y - 8, x - 8, 16, 16))
    assert source.channels == 3
    assert around.std() > 8
    assert sample.title in ("Histology (IHC)", "Ultrasound (B-mode)")


def test_the_pixels_are_those_of_the_packages() -> None:
    with SAMPLES["histology"].open() as source:
        np.testing.assert_array_equal(
            source.read(Region(0, 0, 512, 512)), skimage.data.immunohistochemistry()
        )
    with SAMPLES["ultrasound"].open() as source:
        frame = examples.ybr_color.pixel_array[0]
        np.testing.assert_array_equal(source.read(Region(0, 0, 240, 320)), frame)
        assert source.spacing_um_yx == pytest.approx((1020.994, 1020.994), rel=1e-5)


def test_licences_name_their_evidence() -> None:
    assert "no known copyright restrictions" in SAMPLES["histology"].licence
    assert "No known copyright restrictions" in str(skimage.data.immunohistochemistry.__doc__)
    assert "carries no licence of its own" in SAMPLES["ultrasound"].licence


def test_a_sample_that_is_gone_says_so() -> None:
    gone = Sample("x", "X", "", (0, 0), "", "pydicom.data", "test_files/absent.dcm")
    with pytest.raises(UnsupportedImageError, match="this version does not bring it"):
        gone.open()
