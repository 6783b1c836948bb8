"""One file per format and dialect, with what an independent decoder says of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from case_kit import Case, picture
from dicom_slide_kit import write_dicom_slide
from numpy.typing import NDArray
from PIL import Image
from pydicom import examples
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from skimage.data import immunohistochemistry
from stitched_kit import write_mirax
from tiff_cases import TIFF_CASES

from napari_sslmaps.sources.array import ArraySource
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.slide import OpenSlideSource


def array_colour(folder: Path) -> Case:
    pixels = picture((61, 47, 4))
    return Case(ArraySource(pixels, spacing_um_yx=(0.5, 0.25)), [pixels[None, ..., :3]], (0.5, 0.25))


def array_stack(folder: Path) -> Case:
    pixels = picture((3, 61, 47), "float32")
    return Case(open_image(pixels, frames=True), [pixels])


def array_pyramid(folder: Path) -> Case:
    pixels = picture((64, 48), "uint16")
    return Case(open_image([pixels, pixels[::2, ::2], pixels[::4, ::4]]), _pyramid(pixels, 3))


def npy(folder: Path) -> Case:
    pixels = picture((61, 47), "float16")
    np.save(folder / "grey.npy", pixels)
    return Case(open_image(folder / "grey.npy"), [pixels[None]])


def dicom_colour(folder: Path) -> Case:
    path = examples.get_path("rgb_color")
    return Case(open_image(path), [pixel_array(path)[None]])


def dicom_clip(folder: Path) -> Case:
    """Resampled by half with the original's header: its spacing must not be believed."""
    path = examples.get_path("ybr_color")
    return Case(open_image(path), [pixel_array(path)])


def dicom_palette(folder: Path) -> Case:
    """Cropped: the header's spacing still holds."""
    dataset = examples.palette_color
    coloured = apply_color_lut(dataset.pixel_array, dataset)
    spacing = 1e4 * dataset.SequenceOfUltrasoundRegions[0].PhysicalDeltaX
    path = examples.get_path("palette_color")
    return Case(open_image(path), [(coloured >> 8).astype(np.uint8)[None]], (spacing, spacing))


def dicom_jpeg2000(folder: Path) -> Case:
    path = examples.get_path("jpeg2k")
    return Case(open_image(path), [pixel_array(path)[None]])


def dicom_ybr_uncompressed(folder: Path) -> Case:
    path = get_testdata_file("SC_ybr_full_422_uncompressed.dcm", download=False)
    return Case(open_image(path), [pixel_array(path)[None]], (1000.0, 1000.0))


def dicom_rle_frames(folder: Path) -> Case:
    path = get_testdata_file("SC_rgb_rle_16bit_2frame.dcm", download=False)
    return Case(open_image(path), [pixel_array(path)], (1000.0, 1000.0))


def dicom_jpeg_lossy(folder: Path) -> Case:
    path = get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False)
    return Case(open_image(path), [pixel_array(path)[None]], (1000.0, 1000.0))


def dicom_spacing(folder: Path) -> Case:
    path = examples.get_path("ct")
    hounsfield = pixel_array(path).astype(np.int32) - 1024
    return Case(open_image(path), [hounsfield[None]], (661.468, 661.468))


def dicom_slide(folder: Path) -> Case:
    """Levels are files of their own; any of them stands for all."""
    pixels = immunohistochemistry()[:256, :384]
    levels = write_dicom_slide(folder, [pixels, pixels[::2, ::2].copy()], spacing_um=0.5)
    return Case(open_image(folder / "1.dcm"), [level[None] for level in levels], (0.5, 0.5))


def openslide_tiff(folder: Path) -> Case:
    path = folder / "pyramid.tif"
    levels = [picture((256, 320, 3))[:: 2**level, :: 2**level].copy() for level in range(2)]
    with tifffile.TiffWriter(path) as file:
        for level, pixels in enumerate(levels):
            file.write(
                pixels, tile=(64, 64), photometric="rgb", compression="zlib", subfiletype=int(level > 0)
            )
    return Case(OpenSlideSource(path), [pixels[None] for pixels in levels])


def mirax_slide(folder: Path) -> Case:
    """A file with a folder beside it, whose photos are stitched."""
    pixels = immunohistochemistry()[:256, :384]
    levels = [np.ascontiguousarray(pixels[:: 2**level, :: 2**level]) for level in range(2)]
    write_mirax(folder / "slide.mrxs", levels, um=0.25)
    return Case(open_image(folder / "slide.mrxs"), [level[None] for level in levels], (0.25, 0.25))


def png_alpha(folder: Path) -> Case:
    path = folder / "alpha.png"
    Image.fromarray(picture((61, 47, 4))).save(path)
    return Case(open_image(path), [np.asarray(Image.open(path))[None, ..., :3]])


def png_deep_grey(folder: Path) -> Case:
    path = folder / "deep.png"
    Image.fromarray(picture((61, 47), "uint16")).save(path)
    return Case(open_image(path), [np.asarray(Image.open(path))[None]])


def png_bits(folder: Path) -> Case:
    path = folder / "bits.png"
    Image.fromarray(picture((61, 47), "bool")).save(path)
    return Case(open_image(path), [np.asarray(Image.open(path))[None]])


def jpeg_turned(folder: Path) -> Case:
    path, exif = folder / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture((61, 47, 3))).save(path, exif=exif)
    return Case(open_image(path), [np.rot90(np.asarray(Image.open(path)), -1)[None]])


def bmp(folder: Path) -> Case:
    path = folder / "picture.bmp"
    Image.fromarray(picture((61, 47, 3))).save(path)
    return Case(open_image(path), [np.asarray(Image.open(path))[None]])


def ome_zarr_04(folder: Path) -> Case:
    return _ome_zarr(folder, zarr_format=2)


def ome_zarr_05(folder: Path) -> Case:
    return _ome_zarr(folder, zarr_format=3)


def ome_zarr_colours_last(folder: Path) -> Case:
    """Sharded, without units, with a chunk that was never written."""
    pixels = picture((64, 96, 3))
    pixels[32:, 64:] = 0
    group = zarr.open_group(folder / "rgb.zarr", mode="w", zarr_format=3)
    array = group.create_array(
        "s0", shape=pixels.shape, chunks=(16, 16, 3), shards=(32, 32, 3), dtype="uint8"
    )
    array[:, :64] = pixels[:, :64]
    array[:32, 64:] = pixels[:32, 64:]
    axes = [{"name": name, "type": kind} for name, kind in (("y", "space"), ("x", "space"), ("c", "channel"))]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "s0"}]}]}
    return Case(open_image(folder / "rgb.zarr"), [pixels[None]])


def ome_zarr_bioformats(folder: Path) -> Case:
    """What bioformats2raw writes: images in numbered groups, of which the first is shown."""
    first = _ome_zarr(folder, zarr_format=2)
    first.source.close()
    outer = zarr.open_group(folder / "slide.zarr", mode="w", zarr_format=2)
    outer.attrs["bioformats2raw.layout"] = 3
    (folder / "image.ome.zarr").rename(folder / "slide.zarr" / "0")
    return Case(open_image(folder / "slide.zarr"), first.levels, first.spacing)


def _ome_zarr(folder: Path, zarr_format: Any) -> Case:
    pixels = picture((2, 3, 64, 48), "uint8")
    group = zarr.open_group(folder / "image.ome.zarr", mode="w", zarr_format=zarr_format)
    datasets = []
    for level, step in enumerate((1, 2)):
        stored = pixels[..., ::step, ::step]
        array = group.create_array(str(level), shape=stored.shape, chunks=(1, 1, 32, 32), dtype="uint8")
        array[:] = stored
        scale = {"type": "scale", "scale": [1.0, 1.0, 0.5 * step, 0.25 * step]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    space = {"type": "space", "unit": "micrometer"}
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": "y", **space}, {"name": "x", **space}]
    multiscales = [{"axes": axes, "datasets": datasets}]
    group.attrs.update(
        {"multiscales": multiscales} if zarr_format == 2 else {"ome": {"multiscales": multiscales}}
    )
    levels = [np.moveaxis(pixels[..., ::step, ::step], 1, -1) for step in (1, 2)]
    return Case(open_image(folder / "image.ome.zarr"), levels, (0.5, 0.25))


def _pyramid(pixels: NDArray[Any], count: int) -> list[NDArray[Any]]:
    return [pixels[None, :: 2**level, :: 2**level] for level in range(count)]


CASES: list[Callable[[Path], Case]] = [
    array_colour,
    array_stack,
    array_pyramid,
    npy,
    *TIFF_CASES,
    dicom_colour,
    dicom_clip,
    dicom_palette,
    dicom_jpeg2000,
    dicom_ybr_uncompressed,
    dicom_rle_frames,
    dicom_jpeg_lossy,
    dicom_spacing,
    dicom_slide,
    openslide_tiff,
    mirax_slide,
    png_alpha,
    png_deep_grey,
    png_bits,
    jpeg_turned,
    bmp,
    ome_zarr_04,
    ome_zarr_05,
    ome_zarr_colours_last,
    ome_zarr_bioformats,
]
