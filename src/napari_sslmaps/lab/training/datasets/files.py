"""Fields of files: folders of pictures, clips with all their frames, slides where there is tissue."""

from __future__ import annotations

import hashlib
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.preprocess import Window
from napari_sslmaps.errors import SSLMapsError, UnsupportedImageError
from napari_sslmaps.lab.training.datasets.cutting import choose_place, cut_field, field_pixels
from napari_sslmaps.lab.training.datasets.tissue import find_tissue, thumbnail
from napari_sslmaps.lab.training.recipes import DataRecipe
from napari_sslmaps.sources.formats import IMAGE_SUFFIXES, PICTURES
from napari_sslmaps.sources.open import find_images, open_image
from napari_sslmaps.sources.protocol import ImageSource
from napari_sslmaps.sources.scan import choose_window

_LARGE_PIXELS = 16_000_000
_KEPT_OPEN = 8


@dataclass(frozen=True, slots=True, eq=False)
class FileEntry:
    """A file.

    Attributes
    ----------
    path
        Path of the file.
    frames
        Time points or planes.
    tiles
        Number of fields that one frame counts as; more than 1 for a slide.
    tissue
        Places where fields may be centred, as a mask on a small picture of the image; None for anywhere.
    """

    path: Path
    frames: int = 1
    tiles: int = 1
    tissue: NDArray[np.bool_] | None = None

    @property
    def items(self) -> int:
        """Fields of an epoch."""
        return self.frames * self.tiles


@dataclass
class FileFields:
    """Fields of a list of files; those it has opened are closed when it goes.

    Attributes
    ----------
    name
        Name of the data in the provenance.
    entries
        Files to read fields from.
    data
        Side, resolution and fitting of fields.
    fingerprint, skipped
        Hash and skipped files, as in `FieldSource`.
    """

    name: str
    entries: tuple[FileEntry, ...]
    data: DataRecipe
    fingerprint: str
    skipped: tuple[str, ...] = ()
    _open: OrderedDict[Path, ImageSource] = field(default_factory=OrderedDict, repr=False)
    _windows: OrderedDict[tuple[Path, int], Window] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        self._ends = np.cumsum([entry.items for entry in self.entries])
        weakref.finalize(self, _close_all, self._open)

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind when the fields go to another process."""
        return {**self.__dict__, "_open": OrderedDict(), "_windows": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in another process; what will be opened there is closed there."""
        self.__dict__.update(state)
        weakref.finalize(self, _close_all, self._open)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Read one field; raises `SSLMapsError` naming the file."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        entry = self.entries[number]
        frame = (index - (int(self._ends[number - 1]) if number else 0)) // entry.tiles
        source = self._source(entry.path)
        place = choose_place(source, self.data, entry.tissue, random)
        return cut_field(source, place, frame, self._window(entry.path, source, frame))

    def items(self, number: int) -> range:
        """Fields of the file with this number."""
        end = int(self._ends[number])
        return range(end - self.entries[number].items, end)

    def shape_yx(self, number: int) -> tuple[int, int]:
        """Height and width of the file with this number; raises `SSLMapsError` naming it."""
        return self._source(self.entries[number].path).levels[0].shape_yx

    def _source(self, path: Path) -> ImageSource:
        """Open a file, or find it open; the eight last used stay open."""
        if path not in self._open:
            self._open[path] = open_image(path)
            while len(self._open) > _KEPT_OPEN:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def _window(self, path: Path, source: ImageSource, frame: int) -> Window:
        """Intensities that become 0 and 1, as maps have them; of a small picture where the image is large."""
        if source.dtype == np.uint8 and getattr(source, "window", None) is None:
            return 0.0, 255.0
        if (path, frame) not in self._windows:
            picture = thumbnail(source, frame)
            low, high = float(picture.min()), float(picture.max())
            self._windows[path, frame] = choose_window(source, picture.reshape(-1), low, high)
            while len(self._windows) > 64 * _KEPT_OPEN:
                self._windows.popitem(last=False)
        return self._windows[path, frame]


def _close_all(opened: OrderedDict[Path, ImageSource]) -> None:
    while opened:
        opened.popitem()[1].close()


def scan_files(
    path: Path, data: DataRecipe, on_progress: Callable[[int, int], None] | None = None
) -> FileFields:
    """Find the images at a path and look at those that may have frames or tissue.

    Parameters
    ----------
    path
        A folder, searched with its subfolders, or one file.
    data
        Side, resolution and fitting of fields.
    on_progress
        Callback, called with the number of files looked at, and of all.

    Raises
    ------
    UnsupportedImageError
        If there is nothing at `path`, or no image that can be read.
    """
    if not path.exists():
        raise UnsupportedImageError(f"Expected a folder or file of images; there is none at {path}.")
    others: list[Path] = []
    found = sorted(find_images(path, others)) if path.is_dir() and path.suffix != ".zarr" else [path]
    entries: list[FileEntry] = []
    skipped = [
        f"{file.name} was written by napari-sslmaps."
        for file in others
        if file.name.lower().endswith(IMAGE_SUFFIXES)
    ]
    for done, file in enumerate(found):
        try:
            entries.append(_look(file, data))
        except SSLMapsError as error:
            skipped.append(str(error))
        if on_progress is not None and (done % 50 == 49 or done + 1 == len(found)):
            on_progress(done + 1, len(found))
    if not entries:
        reason = f" {len(skipped)} could not be read. The first: {skipped[0]}" if skipped else ""
        raise UnsupportedImageError(
            f"Expected images ({' '.join(IMAGE_SUFFIXES)}) at {path}; found none.{reason}"
        )
    return FileFields(path.name, tuple(entries), data, _fingerprint(path, entries), tuple(skipped))


def _look(path: Path, data: DataRecipe) -> FileEntry:
    if path.suffix.lower() in PICTURES:  # one frame, never a slide: nothing to open it for
        return FileEntry(path)
    with open_image(path) as source:
        height, width = source.levels[0].shape_yx
        if len(source.levels) == 1 and height * width <= _LARGE_PIXELS:
            return FileEntry(path, source.frames)
        side_y, side_x = field_pixels(source, data)
        tissue = None
        share = 1.0
        if source.channels == 3 and source.dtype == np.uint8:
            tissue = find_tissue(thumbnail(source))
            share = float(tissue.mean())
        if share == 0:
            raise UnsupportedImageError(
                f"Expected tissue on {path.name}; none was found by its saturation. Leave the slide out."
            )
        return FileEntry(path, source.frames, math.ceil(share * height * width / (side_y * side_x)), tissue)


def _fingerprint(root: Path, entries: list[FileEntry]) -> str:
    digest = hashlib.sha256()
    for entry in entries:
        name = entry.path.relative_to(root).as_posix() if entry.path != root else root.name
        size = entry.path.stat().st_size if entry.path.is_file() else 0
        digest.update(f"{name} {size} {entry.items}\n".encode())
    return digest.hexdigest()
