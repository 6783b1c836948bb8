"""The images of a folder, by their names alone."""

from collections.abc import Iterator
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
SUFFIXES = (
    *PICTURES,
    *(".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".dcm", ".dicom", ".npy", ".zarr"),
)


def find_images(folder: Path) -> Iterator[Path]:
    """Yield what looks like an image in a folder and all folders below it, in order of names.

    Hidden files are left out, ``.zarr`` folders are one image each, and files without a suffix are taken if
    they begin as DICOM does.
    """
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        suffix = path.suffix.lower()
        if path.is_dir() and suffix != ".zarr":
            yield from find_images(path)
        elif suffix in SUFFIXES or (not suffix and _is_dicom(path)):
            yield path


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
