"""TIFF in its dialects, for the contract of all sources."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from case_kit import Case, picture
from ndpi_kit import write_ndpi
from skimage.data import immunohistochemistry

from napari_sslmaps.sources.open import open_image

_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


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
    """Two levels, each one JPEG with restart markers, as Hamamatsu writes; OpenSlide refuses this one."""
    path, pixels = folder / "slide.ndpi", immunohistochemistry()[:96, :128]
    levels = write_ndpi(path, [pixels, pixels[::2, ::2].copy()], pixels_per_cm=40_000, focus=False)
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


def tiff_ome_files(folder: Path) -> Case:
    """Each plane in a file of its own."""
    pixels = picture((2, 61, 47))
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(2)
    )
    sizes = 'SizeX="47" SizeY="61" SizeC="1" SizeZ="2" SizeT="1"'
    for z in range(2):
        description = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_OME}" UUID="urn:uuid:{z}">'
            f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" {sizes}>'
            f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        path = folder / f"{z}.ome.tif"
        tifffile.imwrite(path, pixels[z], description=description, metadata=None, compression="zlib")
    return Case(open_image(folder / "0.ome.tif"), [pixels])


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


TIFF_CASES: list[Callable[[Path], Case]] = [
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
    tiff_ome_files,
    tiff_planar_tiles,
    tiff_strips,
    tiff_sparse,
    tiff_resolution,
    tiff_for_print,
]
