"""Open the test images that packages ship, beside independent decoders, and count what agrees.

``python scripts/compare_shipped_images.py FOLDER …`` looks below folders, such as ``Tests/images`` of
Pillow's source distribution; without one, at the images of the installed packages. The independent decoders
are Pillow, tifffile, pydicom, SimpleITK and OpenSlide, each for what it reads; one that agrees is enough, as
they disagree among themselves. Nothing is downloaded.
"""

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openslide
import pydicom
import SimpleITK as itk  # noqa: N813  # as its documentation has it
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import SSLMapsError
from napari_sslmaps.sources.open import open_image

PACKAGES = ("skimage", "pydicom", "matplotlib", "napari", "sklearn", "imageio", "tifffile")
SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".gif",
    ".bmp",
    ".webp",
    ".jp2",
    ".j2k",
    ".jpx",
    ".avif",
    ".ppm",
    ".dcm",
    ".svs",
    ".nii",
    ".gz",
    ".mha",
    ".nrrd",
}
DICOM, VOLUMES = (".dcm",), (".nii", ".gz", ".mha", ".nrrd")
NOT_GREY = ("LA", "PA", "P", "RGB", "RGBA", "La")
BOTH = "refused by all"
RANKS = ("identical", "identical but for rounding", "of more bits than theirs", "differ")
LARGEST = 3e7
ROUNDED = 3
"""Grey values by which two decoders of lossy codes may differ."""


def images_below(folders: list[Path]) -> list[Path]:
    """List the pictures below folders."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def ours(path: Path) -> NDArray[np.generic]:
    """Read the first frame whole."""
    with open_image(path) as source:
        height, width = source.levels[0].shape_yx
        return source.read(Region(0, 0, height, width))


def _by_pillow(path: Path, *, colour: bool) -> NDArray[np.generic]:
    """Read the first frame, upright, as RGB or as the grey that is stored."""
    with Image.open(path) as image:
        image.load()
        turned = ImageOps.exif_transpose(image)
    if colour:
        return np.asarray(turned.convert("RGB"))
    return np.asarray(turned.convert("L") if turned.mode in NOT_GREY else turned)


def _by_tifffile(path: Path, *, colour: bool) -> NDArray[np.generic]:
    """Read the largest image, its samples last."""
    with tifffile.TiffFile(path) as file:
        series = max(file.series, key=lambda one: one.keyframe.imagewidth * one.keyframe.imagelength)
        return _first(series.asarray(), colour=colour)


def _by_pydicom(path: Path, *, colour: bool) -> NDArray[np.generic]:
    """Read the first frame: rescaled, or coloured by its palette."""
    header = pydicom.dcmread(path, force=True)
    stored = pixel_array(header, index=0)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(stored, header)[..., :3]
        return coloured >> 8 if coloured.dtype.itemsize == 2 else coloured
    return stored if colour else apply_modality_lut(stored, header)


def _by_itk(path: Path, *, colour: bool) -> NDArray[np.generic]:
    """Read the first slice."""
    return _first(itk.GetArrayFromImage(itk.ReadImage(str(path))), colour=colour)


def _by_openslide(path: Path, *, colour: bool) -> NDArray[np.generic]:
    """Read all of the finest level."""
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., : 3 if colour else 1]


def _first(stored: NDArray[np.generic], *, colour: bool) -> NDArray[np.generic]:
    """Return the first plane of a stack, its samples last and no opacity among them."""
    if colour and stored.ndim > 2 and stored.shape[-1] not in (3, 4) and stored.shape[-3] in (3, 4):
        stored = np.moveaxis(stored, -3, -1)
    planes = stored.reshape(-1, *stored.shape[-3 if colour else -2 :])
    return planes[0][..., :3] if colour else planes[0]


def _decoders(path: Path) -> tuple[Callable[..., NDArray[np.generic]], ...]:
    if path.suffix.lower() in DICOM:
        return _by_pydicom, _by_itk, _by_openslide
    if path.suffix.lower() in VOLUMES:
        return (_by_itk,)
    tiff = path.suffix.lower() in (".tif", ".tiff", ".svs")
    return (_by_pillow, _by_tifffile, _by_openslide) if tiff else (_by_pillow,)


def _theirs(path: Path, *, colour: bool) -> Iterator[NDArray[np.generic]]:
    """Read a file by all that read it."""
    for decode in _decoders(path):
        with suppress(Exception):  # whatever decoders raise on their own bad files
            yield decode(path, colour=colour)


def verdict(path: Path) -> tuple[str, str]:
    """Say how a file compares to the decoder that agrees best, and what there is to add."""
    try:
        found = ours(path)
    except SSLMapsError as error:
        return "refused by us alone" if any(True for _ in _theirs(path, colour=True)) else BOTH, str(error)
    verdicts = [_compared(found, other) for other in _theirs(path, colour=found.ndim == 3)]
    return min(verdicts, key=lambda one: RANKS.index(one[0]), default=("opened by us alone", ""))


def _compared(found: NDArray[np.generic], expected: NDArray[np.generic]) -> tuple[str, str]:
    if found.shape != expected.shape:
        return "differ", f"shape {found.shape} against {expected.shape}"
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    detail = f"mean {apart.mean():.2f}, largest {apart.max():.0f}, {found.dtype} against {expected.dtype}"
    if not apart.max():
        return "identical", ""
    if found.dtype.itemsize > expected.dtype.itemsize:
        return "of more bits than theirs", detail
    return ("identical but for rounding" if apart.mean() <= ROUNDED else "differ"), detail


def main() -> None:
    """Compare, and print a line for each file that is not identical, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    asked = parser.parse_args().folders
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    specs = [find_spec(name) for name in PACKAGES]
    installed = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin]
    counts: Counter[str] = Counter()
    for path in images_below(asked or installed):
        if path.stat().st_size > LARGEST:
            continue
        kind, detail = verdict(path)
        counts[kind] += 1
        if kind != "identical":
            print(f"{kind:28} {path.name}: {detail[:180]}")
    for kind, count in counts.most_common():
        print(f"{count:6} {kind}")


if __name__ == "__main__":
    main()
