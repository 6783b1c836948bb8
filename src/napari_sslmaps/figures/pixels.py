"""Pictures in files that say what made them, by which they are known again as this package's own."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import written_whole

MAKER = "napari-sslmaps"
_KINDS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF", "webp": "WEBP"}


def said_by(kind: str) -> dict[str, Any]:
    """Return the options of Pillow with which a file says what made it.

    Parameters
    ----------
    kind
        Format as Pillow calls it: PNG, JPEG, TIFF or WEBP.
    """
    if kind == "PNG":
        about = PngInfo()
        about.add_text("Software", MAKER)
        return {"pnginfo": about}
    if kind == "WEBP":
        exif = Image.Exif()
        exif[ExifTags.Base.Software] = MAKER
        return {"exif": exif}
    return {"software": MAKER} if kind == "TIFF" else {"comment": MAKER}


def save_pixels(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write a picture as PNG, JPEG, TIFF or WebP, by its suffix, whole or not at all.

    Parameters
    ----------
    pixels
        (h, w, 3) RGB.
    path
        File to write.

    Raises
    ------
    ExportError
        If the suffix is none of these or the file cannot be written.
    """
    kind = _KINDS.get(path.suffix.lower().lstrip("."))
    if kind is None:
        raise ExportError(f"Expected a picture ending in {', '.join(_KINDS)}; got {path.name}. Rename it.")
    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, kind, **said_by(kind))
