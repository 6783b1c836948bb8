"""One file per format and dialect, with what an independent decoder says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from dicom_slide_kit import write_dicom_slide
from ndpi_kit import write_ndpi
from numpy.typing import NDArray
from PIL import Image
from pydicom import examples
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from skimage.data import immunohistochemistry

from napari_sslmaps.sources import ArraySource, ImageSource, open_image
from napari_sslmaps.sources.slide import OpenSlideSource

Spacing = tuple[float, float] | None


@dataclass(frozen=True)
class Case:
    source: ImageSource
    levels: list[NDArray[Any]]
    """(frames, height, width[, 3]) as decoded by another library, finest first."""
    spacing: Spacing = None


def picture(shape: tuple[int, ...], dtype: str = "uint8") -> NDArray[Any]:
    rng = np.random.default_rng(7)
    if dtype == "bool":
        return rng.random(shape) > 0.5
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


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


def tiff_plain(folder: Path) -> Case:
    path = folder / "plain.tif"
    tifffile.imwrite(path, picture((61, 47, 3)))
    return Case(open_image(path), [tifffile.imread(path)[None]])


def tiff_one_sample(folder: Path) -> Case:
    """The series has an axis of one colour that its page has not."""
    path, pixels = folder / "one.tif", picture((61, 47, 1))
    tifffile.imwrite(path, pixels)
    return Case(open_image(path), [pixels[None, ..., 0]])


def tiff_big_endian_planar(folder: Path) -> Case:
    path = folder / "planar.tif"
    tifffile.imwrite(
        path, picture((3, 61, 47), "uint16"), byteorder=">", photometric="rgb", planarconfig="separate"
    )
    return Case(open_image(path), [np.moveaxis(tifffile.imread(path), 0, -1)[None]])


def tiff_pages(folder: Path) -> Case:
    path = folder / "pages.tif"
    tifffile.imwrite(path, picture((5, 61, 47), "int16"), imagej=False, compression="zlib")
    return Case(open_image(path), [tifffile.imread(path)])


def tiff_imagej(folder: Path) -> Case:
    path = folder / "imagej.tif"
    metadata = {"unit": "um", "axes": "TYX"}
    tifffile.imwrite(
        path, picture((4, 61, 47), "uint16"), imagej=True, resolution=(4.0, 2.0), metadata=metadata
    )
    return Case(open_image(path), [tifffile.imread(path)], (0.5, 0.25))


def tiff_ome(folder: Path) -> Case:
    path = folder / "stack.ome.tif"
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 250.0,
        "PhysicalSizeYUnit": "nm",
    }
    tifffile.imwrite(path, picture((5, 61, 47), "uint8"), metadata=metadata)
    return Case(open_image(path), [tifffile.imread(path)], (0.25, 0.5))


def tiff_ome_channels(folder: Path) -> Case:
    path = folder / "channels.ome.tif"
    tifffile.imwrite(path, picture((3, 61, 47)), metadata={"axes": "CYX"}, photometric="minisblack")
    return Case(open_image(path), [np.moveaxis(tifffile.imread(path), 0, -1)[None]])


def tiff_slide(folder: Path) -> Case:
    path, pixels = folder / "slide.svs", picture((300, 260, 3))
    description = (
        "Aperio Image Library v12\n300x260 [0,0 300x260] (128x128) JPEG/RGB Q=90|AppMag = 20|MPP = 0.4990"
    )
    style: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (128, 128),
        "compression": "jpeg",
        "compressionargs": {"level": 90},
        "metadata": None,
    }
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, description=description, **style)
        file.write(pixels[:64, :64], photometric="rgb", description="thumbnail", metadata=None)
        file.write(pixels[::2, ::2].copy(), description=description, **style)
    levels = [tifffile.imread(path, series=0, level=level)[None] for level in (0, 1)]
    return Case(open_image(path), levels, (0.499, 0.499))


def tiff_ndpi(folder: Path) -> Case:
    """Two levels, each one JPEG with restart markers, as Hamamatsu writes."""
    path, pixels = folder / "slide.ndpi", immunohistochemistry()[:96, :128]
    levels = write_ndpi(path, [pixels, pixels[::2, ::2].copy()], pixels_per_cm=40_000)
    return Case(open_image(path), [level[None] for level in levels], (0.25, 0.25))


def tiff_pyramid(folder: Path) -> Case:
    """Reduced pages after the full one, as vips writes, JPEG with subsampled colours."""
    path = folder / "pyramid.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(3):
            file.write(
                picture((300, 260, 3))[:: 2**level, :: 2**level].copy(),
                tile=(64, 64),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                subfiletype=int(level > 0),
                metadata=None,
                resolution=(20_000, 40_000),
                resolutionunit="CENTIMETER",
            )
    levels = [tifffile.imread(path, series=0, level=level)[None] for level in range(3)]
    return Case(open_image(path), levels, (0.25, 0.5))


def tiff_ome_subifds(folder: Path) -> Case:
    """A stack whose coarser levels are SubIFDs, as OME-TIFF has it, losslessly compressed."""
    path, pixels = folder / "pyramid.ome.tif", picture((2, 150, 130, 3), "uint16")
    style: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "predictor": True}
    with tifffile.TiffWriter(path) as file:
        metadata = {"axes": "ZYXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        file.write(pixels, subifds=2, metadata=metadata, **style)
        for step in (2, 4):
            file.write(pixels[:, ::step, ::step].copy(), subfiletype=1, **style)
    return Case(open_image(path), [pixels[:, ::step, ::step] for step in (1, 2, 4)], (0.5, 0.5))


def tiff_planar_tiles(folder: Path) -> Case:
    """Colours in planes of their own, in compressed tiles, with alpha."""
    path, pixels = folder / "planar.tif", picture((4, 61, 147))
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        planarconfig="separate",
        extrasamples=["unassalpha"],
        tile=(32, 48),
        compression="lzw",
    )
    return Case(open_image(path), [np.moveaxis(tifffile.imread(path), 0, -1)[None, ..., :3]])


def tiff_strips(folder: Path) -> Case:
    path = folder / "strips.tif"
    tifffile.imwrite(path, picture((61, 47), "float32"), rowsperstrip=7, compression="zstd", predictor=True)
    return Case(open_image(path), [tifffile.imread(path)[None]])


def tiff_sparse(folder: Path) -> Case:
    """Tiles that the scanner left out have the "no data" value of the file."""
    path = folder / "sparse.tif"
    tiles = [picture((32, 32)), None, None, picture((32, 32))]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(64, 64),
        dtype=np.uint8,
        tile=(32, 32),
        compression="zlib",
        extratags=[(42113, 2, 0, "200", True)],
    )
    pixels = tifffile.imread(path)
    assert pixels[0, 63] == 200
    return Case(open_image(path), [pixels[None]])


def tiff_resolution(folder: Path) -> Case:
    path = folder / "resolution.tif"
    tifffile.imwrite(path, picture((61, 47)), resolution=(20_000, 40_000), resolutionunit="CENTIMETER")
    return Case(open_image(path), [tifffile.imread(path)[None]], (0.25, 0.5))


def tiff_for_print(folder: Path) -> Case:
    path = folder / "print.tif"
    tifffile.imwrite(path, picture((61, 47)), resolution=(300, 300), resolutionunit="INCH")
    return Case(open_image(path), [tifffile.imread(path)[None]], None)


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
    return Case(open_image(path), [pixel_array(path)[None]], (661.468, 661.468))


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
    tiff_plain,
    tiff_one_sample,
    tiff_big_endian_planar,
    tiff_pages,
    tiff_imagej,
    tiff_ome,
    tiff_ome_channels,
    tiff_slide,
    tiff_ndpi,
    tiff_pyramid,
    tiff_ome_subifds,
    tiff_planar_tiles,
    tiff_strips,
    tiff_sparse,
    tiff_resolution,
    tiff_for_print,
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
