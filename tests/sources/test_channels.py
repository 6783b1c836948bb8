from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import ChannelsError, InvalidOptionError
from napari_sslmaps.sources.channels import ChannelFacts
from napari_sslmaps.sources.open import open_image

NAMES = ("DAPI", "CD8", "PanCK", "AF")


def channels(count: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(3).integers(0, 200, (count, 48, 64)).astype(dtype)


def ome_tiff(path: Path, pixels: NDArray[Any], names: tuple[str, ...] = (), **metadata: Any) -> Path:
    said = {"Channel": {"Name": list(names)}} if names else {}
    tifffile.imwrite(path, pixels, metadata={"axes": "CYX", **said, **metadata}, photometric="minisblack")
    return path


def ome_zarr(path: Path, pixels: NDArray[Any], omero: list[dict[str, Any]] | None = None) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("0", shape=pixels.shape, chunks=(1, 32, 32), dtype=pixels.dtype)
    array[:] = pixels
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    if omero is not None:
        group.attrs["omero"] = {"channels": omero}
    return path


def four_ome_tiff(folder: Path) -> Path:
    return ome_tiff(folder / "four.ome.tif", channels(4), NAMES)


def four_imagej(folder: Path) -> Path:
    path = folder / "four.tif"
    tifffile.imwrite(path, channels(4), imagej=True, metadata={"axes": "CYX", "Labels": list(NAMES)})
    return path


def four_qptiff(folder: Path) -> Path:
    """Pages whose descriptions name a biomarker, and a thumbnail after them, as Akoya writes."""
    path = folder / "four.qptiff"
    about = (
        "<PerkinElmer-QPI-ImageDescription><ImageType>FullResolution</ImageType><Biomarker>{}</Biomarker>"
        "</PerkinElmer-QPI-ImageDescription>"
    )
    style: dict[str, Any] = {"photometric": "minisblack", "metadata": None, "software": "PerkinElmer-QPI"}
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for name, page in zip(NAMES, channels(4), strict=True):
            file.write(page, description=about.format(name), tile=(16, 16), **style)
    return path


def four_ome_zarr(folder: Path) -> Path:
    return ome_zarr(folder / "four.zarr", channels(4), [{"label": name, "color": "FFFFFF"} for name in NAMES])


FILES = [four_ome_tiff, four_imagej, four_qptiff, four_ome_zarr]


def read(image: Any, channel: Any = None) -> NDArray[Any]:
    with open_image(image, channel=channel) as source:
        return source.read(Region(0, 0, *source.levels[0].shape_yx))


@pytest.mark.parametrize("make", FILES)
def test_channels_are_chosen_by_number_or_name(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path, pixels = make(tmp_path), channels(4)
    np.testing.assert_array_equal(read(path, 2), pixels[2])
    np.testing.assert_array_equal(read(path, "panck"), pixels[2])
    np.testing.assert_array_equal(read(path, (3, "DAPI", "1")), np.moveaxis(pixels[[3, 0, 1]], 0, -1))
    two = read(path, ("CD8", 3))
    np.testing.assert_array_equal(two[..., :2], np.moveaxis(pixels[[1, 3]], 0, -1))
    assert not two[..., 2].any()


@pytest.mark.parametrize("make", FILES)
def test_channels_are_listed_where_none_is_chosen(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ChannelsError, match=r"--channel: 0 DAPI, 1 CD8, 2 PanCK, 3 AF\.") as caught:
        open_image(make(tmp_path))
    assert caught.value.channels == ("0 DAPI", "1 CD8", "2 PanCK", "3 AF")


@pytest.mark.parametrize("channel", [4, "CD3", -1, (0, 7)])
def test_a_channel_that_is_not_there_gets_a_sentence(channel: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"channels among 0 DAPI.* of four\.zarr; got"):
        open_image(four_ome_zarr(tmp_path), channel=channel)


def test_more_than_three_channels_make_no_colours(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"up to three.*got 4"):
        open_image(four_ome_zarr(tmp_path), channel=(0, 1, 2, 3))


def stained_16_bit(folder: Path) -> Path:
    return ome_tiff(folder / "three.ome.tif", channels(3, "uint16"))


def stained_by_name(folder: Path) -> Path:
    return ome_tiff(folder / "three.ome.tif", channels(3), NAMES[:3])


def stained_by_colour(folder: Path) -> Path:
    shades = ("0000FF", "00FF00", "FF0000")
    return ome_zarr(
        folder / "three.zarr",
        channels(3),
        [{"label": f"Channel {i}", "color": c} for i, c in enumerate(shades)],
    )


@pytest.mark.parametrize("make", [stained_16_bit, stained_by_name, stained_by_colour])
def test_three_stains_are_no_colours_unasked(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(ChannelsError, match="up to three to show as red, green and blue"):
        open_image(path)
    assert read(path, (0, 1, 2)).shape == (48, 64, 3)


def bytes_without_names(folder: Path) -> Path:
    return ome_tiff(folder / "rgb.ome.tif", channels(3))


def red_green_blue(folder: Path) -> Path:
    shades = ("FF0000", "00FF00", "0000FF")
    return ome_zarr(folder / "rgb.zarr", channels(3), [{"label": shade, "color": shade} for shade in shades])


def named_in_16_bit(folder: Path) -> Path:
    return ome_tiff(folder / "rgb.ome.tif", channels(3, "uint16"), ("Red", "Green", "Blue"))


@pytest.mark.parametrize("make", [bytes_without_names, red_green_blue, named_in_16_bit])
def test_three_channels_that_say_so_are_colours(make: Callable[[Path], Path], tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(make(tmp_path)), np.moveaxis(channels(3), 0, -1))


@pytest.mark.parametrize("axes", ["CYXS", "ZCYXS"])
def test_of_channels_in_colours_one_is_chosen(axes: str, tmp_path: Path) -> None:
    stored = np.random.default_rng(3).integers(0, 200, (2, 48, 64, 3), dtype=np.uint8)
    stored = np.stack([stored, stored + 9]) if axes[0] == "Z" else stored
    path, metadata = tmp_path / "a.ome.tif", {"axes": axes, "Channel": {"Name": ["bright", "polarised"]}}
    tifffile.imwrite(path, stored, metadata=metadata, photometric="rgb")
    with pytest.raises(ChannelsError, match="0 bright, 1 polarised"):
        open_image(path)
    with pytest.raises(InvalidOptionError, match=r"one channel of .* are in colours; got 2"):
        open_image(path, channel=(0, 1))
    with open_image(path, channel="polarised") as source:
        assert source.contents.channels_read == "1 polarised"
        last = stored[-1, 1] if axes[0] == "Z" else stored[1]
        np.testing.assert_array_equal(source.read(Region(0, 0, 48, 64, frame=source.frames - 1)), last)


def test_channels_of_arrays_are_the_last_axis() -> None:
    pixels = np.moveaxis(channels(5, "float32"), 0, -1)
    np.testing.assert_array_equal(read(pixels, 4), pixels[..., 4])
    np.testing.assert_array_equal(read([pixels, pixels[::2, ::2]], (4, 1, 0)), pixels[..., [4, 1, 0]])


def test_a_channel_of_a_colour_picture_is_grey(tmp_path: Path) -> None:
    pixels = np.moveaxis(channels(3), 0, -1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", "green"), pixels[..., 1])
    np.testing.assert_array_equal(read(tmp_path / "a.png", (2, 1, 0)), pixels[..., ::-1])


def test_an_open_image_cannot_be_asked_for_another_channel(tmp_path: Path) -> None:
    with (
        open_image(four_ome_zarr(tmp_path), channel=0) as source,
        pytest.raises(InvalidOptionError, match="an image that is open"),
    ):
        open_image(source, channel=1)


def test_the_choice_is_part_of_what_is_remembered_of_a_file(tmp_path: Path) -> None:
    path = four_ome_tiff(tmp_path)
    with open_image(path, channel=0) as one, open_image(path, channel=1) as other:
        assert one.file.reading != other.file.reading


def test_names_that_a_program_numbered_say_nothing() -> None:
    for names in (
        ("Channel:0:0", "Channel:0:1", "Channel:0:2"),
        ("C:1", "C:2", "C:3"),
        ("0", "1", "2"),
        ("",) * 3,
    ):
        assert ChannelFacts(names).are_red_green_blue(np.dtype(np.uint8)), names
    assert not ChannelFacts(("Cy3", "FITC", "DAPI")).are_red_green_blue(np.dtype(np.uint8))
