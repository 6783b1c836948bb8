"""Open the test images that packages ship, beside an independent decoder, and count what agrees.

``python scripts/compare_shipped_images.py FOLDER …`` looks below folders, such as ``Tests/images`` of
Pillow's source distribution; without one, at the images of the installed packages. Pillow is the
independent decoder, turned and converted to what the source gives: RGB or grey. Nothing is downloaded.
"""

import argparse
import logging
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

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
}
NOT_GREY = ("LA", "PA", "P", "RGB", "RGBA", "La")
BOTH = "refused by both"
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


def _theirs(path: Path, colour: bool) -> NDArray[np.generic] | str:
    """Read the first frame by Pillow, as RGB or as the grey that is stored; or what it says against it."""
    try:
        with Image.open(path) as image:
            image.load()
            turned = ImageOps.exif_transpose(image)
    except Exception as error:  # noqa: BLE001  # whatever Pillow raises on its own bad files
        return f"{type(error).__name__}: {error}"
    if colour:
        return np.asarray(turned.convert("RGB"))
    return np.asarray(turned.convert("L") if turned.mode in NOT_GREY else turned)


def verdict(path: Path) -> tuple[str, str]:
    """Say how the two compare on a file, and what there is to add."""
    try:
        found = ours(path)
    except SSLMapsError as error:
        return "refused by us alone" if isinstance(_theirs(path, colour=True), np.ndarray) else BOTH, str(
            error
        )
    expected = _theirs(path, found.ndim == 3)
    if isinstance(expected, str):
        return "opened by us alone", expected
    if found.shape != expected.shape:
        return "differ", f"shape {found.shape} against {expected.shape}"
    if found.dtype.itemsize > expected.dtype.itemsize:
        return "of more bits than Pillow's", f"{found.dtype} against {expected.dtype}"
    return _apart(found, expected)


def _apart(found: NDArray[np.generic], expected: NDArray[np.generic]) -> tuple[str, str]:
    apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    detail = f"mean {apart.mean():.2f}, largest {apart.max():.0f}, {found.dtype} against {expected.dtype}"
    if not apart.max():
        return "identical", ""
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
