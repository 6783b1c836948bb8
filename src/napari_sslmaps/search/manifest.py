"""Manifest of an index: its images, the files of its parts, and how tokens are made alike for it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.results import Float32
from napari_sslmaps.errors import RecordError
from napari_sslmaps.records.json import read_json, write_json
from napari_sslmaps.serialise import dump, strict

MANIFEST, QUANTISER = "manifest.json", "quantiser.faiss"
"""Files of an index beside its parts."""
_KIND = "token-index"
PART_NAME = re.compile(r"segment-\d{5,}(-[0-9a-f]{12})?\.faiss")
"""Names of parts; those of before end with their number."""


@strict
@dataclass(frozen=True, slots=True)
class IndexedImage:
    """One image of an index.

    Parameters
    ----------
    output
        Folder of the output, relative to the store.
    key
        Key of the batch's task: another key is another embedding.
    name, image
        Name of the item, and path of the image.
    first
        Number of its first token, counted over the whole index; they follow each other row by row.
    grid
        Grid that its tokens lie on.
    level, frame
        Level and frame of its region.
    alive
        Whether the store still has it, as it was indexed.
    known
        Number of its tokens that are in the index, which those outside a mask are not; None where that was
        never counted.
    """

    output: str
    key: str
    name: str
    image: str
    first: int
    grid: TokenGrid
    level: int = 0
    frame: int = 0
    alive: bool = True
    known: int | None = None

    @property
    def count(self) -> int:
        """Tokens of the grid."""
        return self.grid.rows * self.grid.cols

    @property
    def found(self) -> int:
        """Tokens that can be found."""
        return self.count if self.known is None else self.known


@strict
@dataclass(frozen=True, slots=True)
class PartCheck:
    """Facts of a file of an index as it was written, by which a damaged one is told before it is opened.

    Parameters
    ----------
    size
        Bytes of the file.
    head
        Bytes before the codes of its tokens: all that decides how much memory is asked for to read it.
    sha256
        Hash of those.
    """

    size: int
    head: int
    sha256: str

    @classmethod
    def of(cls, path: Path, head: int) -> Self:
        """Take the facts of a file with a head of so many bytes."""
        size = path.stat().st_size
        with path.open("rb") as file:  # as much as is asked for is set aside before it is read
            return cls(size, head, hashlib.sha256(file.read(max(0, min(head, size)))).hexdigest())


@strict
@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of an index.

    Parameters
    ----------
    encoder
        Name of its outputs' folder.
    mean
        (dim,) token that all are centred on.
    images
        Images in the order of their tokens.
    segments
        Names of files with finished parts.
    checks
        Name of a file → what it was when it was written; indexes of before have none.
    """

    encoder: str
    mean: tuple[float, ...]
    images: tuple[IndexedImage, ...] = ()
    segments: tuple[str, ...] = ()
    checks: Mapping[str, PartCheck] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(min(image.grid.shape) < 1 for image in self.images):
            raise RecordError("Expected images with tokens; the grid of one has no rows or no columns.")
        ends = accumulate(image.count for image in self.images)
        if any(image.first != end - image.count for image, end in zip(self.images, ends, strict=True)):
            raise RecordError("Expected images whose tokens follow each other; they do not.")
        if not all(map(PART_NAME.fullmatch, self.segments)):
            raise RecordError("Expected names of parts such as segment-00000.faiss; there are others.")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the manifest of an index; None where there is none. Raises `RecordError` if it is damaged."""
        if not (folder / MANIFEST).exists():
            return None
        return read_json(folder / MANIFEST, _KIND, cls, "an index")

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all; raises `ExportError` if it cannot be written."""
        write_json(folder / MANIFEST, _KIND, dump(self))

    @property
    def tokens(self) -> int:
        """Tokens that are numbered, those of images that are gone included."""
        last = self.images[-1] if self.images else None
        return 0 if last is None else last.first + last.count

    def prepared(self, tokens: NDArray[np.floating]) -> Float32:
        """Centre (n, dim) tokens and bring them to length 1."""
        unit: Float32 = np.asarray(tokens, np.float32) - np.asarray(self.mean, np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", unit, unit))[:, None]
        np.divide(unit, lengths, out=unit, where=lengths > 0)
        return unit
