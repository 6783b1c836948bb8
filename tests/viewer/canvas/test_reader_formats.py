"""What the reader claims, and how channels, labels, windows and odd pixels arrive as layers."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from dicom_kit import ramp, write_dicom
from napari.layers import Image
from npe2 import PluginManager, PluginManifest

import napari_sslmaps
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.sources.scan import scan_region
from napari_sslmaps.viewer.canvas import npe2
from napari_sslmaps.viewer.canvas.image_layer import LayerSource, spacing_of


def is_claimed(name: str) -> bool:
    manager = PluginManager()
    manager.register(PluginManifest.from_file(Path(napari_sslmaps.__file__).parent / "napari.yaml"))
    return bool(list(manager.iter_compatible_readers([name])))


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jpeg", "a.tif", "a.tiff", "a.npy", "a.bmp", "a.gif"])
def test_what_napari_reads_brings_up_no_question(name: str) -> None:
    assert not is_claimed(name)


@pytest.mark.parametrize("name", ["a.svs", "a.mrxs", "a.czi", "a.dcm", "a.ome.tif", "a.qptiff", "a.zarr.zip"])
def test_what_napari_does_not_read_rightly_is_claimed(name: str) -> None:
    assert is_claimed(name)


def test_a_folder_without_images_has_no_reader(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert npe2.get_reader(str(tmp_path)) is None
    write_dicom(tmp_path / "1.dcm", ramp())
    assert npe2.get_reader(str(tmp_path)) is not None


def test_each_channel_is_a_layer(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (2, 32, 48)).astype(np.uint16)
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD8"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=metadata)
    layers = npe2.read(str(tmp_path / "a.ome.tif"))
    assert [options["name"] for _, options, _ in layers] == ["a: 0 DAPI", "a: 1 CD8"]
    for number, (data, options, kind) in enumerate(layers):
        assert (kind, options["blending"], options["metadata"]["channel"]) == ("image", "additive", number)
        np.testing.assert_array_equal(data, pixels[number])


def test_labels_come_with_their_image(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for path, stored in (("a.zarr", pixels), ("a.zarr/labels/nuclei", (pixels > 9).astype(np.int32))):
        group = zarr.open_group(tmp_path / path, mode="a", zarr_format=2)
        group.create_array("0", shape=(16, 16), chunks=(16, 16), dtype=stored.dtype)[:] = stored
        group.attrs["multiscales"] = [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]
    zarr.open_group(tmp_path / "a.zarr" / "labels", mode="a", zarr_format=2).attrs["labels"] = ["nuclei"]
    image, labels = npe2.read(str(tmp_path / "a.zarr"))
    assert (image[2], labels[2], labels[1]["name"]) == ("image", "labels", "nuclei")
    np.testing.assert_array_equal(labels[0], pixels > 9)


def test_a_window_of_a_file_is_that_of_the_canvas_and_of_encoders(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", ramp("uint16"), WindowCenter="300", WindowWidth="201")
    data, options, _ = npe2.read(str(path))[0]
    assert options["contrast_limits"] == (199.5, 399.5)
    source = LayerSource(Image(data, **options))
    assert scan_region(source, Region(0, 0, *data.shape)).window == (199.5, 399.5)


def test_pixels_that_are_no_squares_are_drawn_as_such(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", ramp(), PixelAspectRatio=[2, 1])
    assert npe2.read(str(path))[0][1]["scale"] == (2, 1)


def test_a_mirrored_layer_has_a_spacing_all_the_same() -> None:
    layer = Image(np.zeros((8, 8)), scale=(-0.1, 0.2), units=("um", "um"))
    assert spacing_of(layer) == pytest.approx((0.1, 0.2))


def test_a_layer_of_complex_numbers_gets_a_sentence() -> None:
    layer = Image(np.zeros((8, 8)))
    layer._data = np.zeros((8, 8), np.complex64)
    with pytest.raises(UnsupportedImageError, match="real float pixels"):
        LayerSource(layer)
