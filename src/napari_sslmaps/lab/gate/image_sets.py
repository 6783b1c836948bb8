"""Public sets of real images: which there are, and how those for judging are read from a folder.

A folder for judging holds ``<domain>/<set>/images``, and beside it ``masks`` with a PNG of the same name for
each image, or ``labels.csv`` with the columns ``file`` and ``class``.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.lab.toml_tables import from_table
from napari_sslmaps.sources.masks import read_mask

_DARK = 8
"""Grey value below which a pixel of a whole row or column belongs to a bar."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A public set of real images.

    Parameters
    ----------
    name, title
        Name of its folder, and what it shows; of a set with masks, what is to be found.
    domain
        Domain of the images: histology or ultrasound.
    use
        ``train``; ``masks`` or ``labels`` for judging.
    licence, citation
        Licence of the data as found, and whom to cite.
    padded
        Whether dark bars around the images are no part of them.
    """

    name: str
    title: str
    domain: str
    use: Literal["train", "masks", "labels"]
    licence: str
    citation: str
    padded: bool = False


@cache
def image_sets() -> tuple[ImageSet, ...]:
    """Return every set that is known, those for training first."""
    text = files("napari_sslmaps.lab.gate").joinpath("image_sets.toml").read_text(encoding="utf-8")
    return tuple(from_table(ImageSet, table, "[[set]]") for table in tomllib.loads(text)["set"])


def sets_for(domain: str, use: str) -> tuple[ImageSet, ...]:
    """Return the sets of a domain for one use."""
    return tuple(known for known in image_sets() if (known.domain, known.use) == (domain, use))


@dataclass(frozen=True, slots=True, eq=False)
class MaskedImage:
    """Pixels (H, W, 3) uint8 of an image and the classes that are annotated in it."""

    name: str
    pixels: NDArray[np.uint8]
    annotation: Annotation


def read_masked(folder: Path, chosen: ImageSet) -> Iterator[MaskedImage]:
    """Read the images of a set that have something annotated and something not.

    Raises
    ------
    UnsupportedImageError
        If the set is not in the folder.
    """
    for path in _images_of(folder, chosen):
        pixels, mask = _rgb(path), read_mask(path.parents[1] / "masks" / f"{path.stem}.png")
        if chosen.padded:
            inside = within_bars(pixels)
            pixels, mask = pixels[inside], mask[inside]
        if 0 < np.count_nonzero(mask) < mask.size:
            yield MaskedImage(path.stem, pixels, Annotation.from_labels(mask, mask.shape))


def read_labelled(folder: Path, chosen: ImageSet) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Read the images of a set, and the class of each.

    Raises
    ------
    UnsupportedImageError
        If the set is not in the folder.
    """
    images = {path.name: path for path in _images_of(folder, chosen)}
    with (folder / chosen.domain / chosen.name / "labels.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return [_rgb(images[row["file"]]) for row in rows], [row["class"] for row in rows]


def within_bars(pixels: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Return rows and columns of (H, W, 3) pixels without the dark ones at the borders."""
    bright = pixels.max(axis=2) >= _DARK
    rows, cols = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def _images_of(folder: Path, chosen: ImageSet) -> list[Path]:
    where = folder / chosen.domain / chosen.name / "images"
    if not where.is_dir():
        raise UnsupportedImageError(
            f"Expected the images of {chosen.name} in {where}; there is no such folder. Name the folder that "
            "holds the sets by domain."
        )
    return sorted(path for path in where.iterdir() if path.is_file())


def _rgb(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))
