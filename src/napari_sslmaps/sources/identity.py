"""A file as it was when it was opened, so that what was seen in it can be remembered."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.files import footprint, user_path

_JUST_NOW_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A regular file as it is now; equal as long as it is, as far as the file system tells.

    Parameters
    ----------
    path
        Path of the file, absolute, links followed.
    size
        Size in bytes.
    mtime_ns
        Last modification, in nanoseconds.
    reading
        Way in which it was read, where not the usual one: another image of the file, other colours.
    """

    path: str
    size: int
    mtime_ns: int
    reading: str = field(default="", compare=False)

    @classmethod
    def of(cls, image: Any) -> "FileIdentity | None":
        """Identify a path to a regular file, or the file that a source reads; None for anything else.

        A folder's time says little. A source whose file was changed after it was opened is no longer of it.
        """
        if not isinstance(image, (str, Path)):
            opened: FileIdentity | None = getattr(image, "file", None)
            return None if opened is None or cls.of(opened.path) != opened else opened
        path = user_path(image)
        try:
            if not path.is_file():
                return None
            status = path.stat()
        except OSError:
            return None
        return cls(str(path.resolve()), status.st_size, status.st_mtime_ns)

    @property
    def settled(self) -> bool:
        """Whether a change from now on would show: its time is not of just now."""
        return time.time_ns() - self.mtime_ns > _JUST_NOW_NS


@contextmanager
def unchanged(source: Any) -> Iterator[None]:
    """Hold an image to what it was at first: its hash is taken before its tiles are read.

    Parameters
    ----------
    source
        Source of the image. Where it knows the file or folder that it reads, that is checked before and
        after.

    Raises
    ------
    UnsupportedImageError
        If it was changed meanwhile; raised at the end.
    """
    before = _state(source)
    yield
    if _state(source) != before:
        raise UnsupportedImageError(
            f"Expected {source.name} to stay as it is while it is read; it was changed meanwhile, so what "
            "was computed is of two images. Embed it again once it is written."
        )


def _state(source: Any) -> object:
    file, folder = getattr(source, "file", None), getattr(source, "folder", None)
    if folder is None:
        return None if file is None else FileIdentity.of(file.path)
    try:
        return footprint(folder)
    except OSError:
        return None
