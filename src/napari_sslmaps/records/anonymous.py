"""Numbers that stand for files in what is given away, and the key to them, which is kept apart."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import readable, user_path
from napari_sslmaps.records.claim import stranger
from napari_sslmaps.records.json import read_object, write_object
from napari_sslmaps.sources.formats import IMAGE_SUFFIXES

_NUMBERED = re.compile(r"(image|mask)-([1-9]\d*)(\.\w+)*")


def key_beside(folder: Path) -> Path:
    """Return where the key to a folder's numbers is kept: beside it, so that it does not go along."""
    whole = user_path(folder).absolute()
    return whole.with_name(f"{whole.name}-key.json")


def numbered(what: str, number: int, path: str) -> str:
    """Return what a file is called instead: a number, and how its name ends where that names a format."""
    endings = sorted(filter(path.lower().endswith, (*IMAGE_SUFFIXES, ".ome.tif", ".ome.tiff")), key=len)
    return f"{what}-{number}{endings[-1] if endings else ''}"


def number_of(name: str) -> int:
    """Return the number in what a file is called instead."""
    found = _NUMBERED.fullmatch(name)
    return int(found[2]) if found else 0


@dataclass(slots=True)
class Key:
    """Key to the files that the numbers of a folder stand for.

    A file that has a number keeps it, so that the same command goes on with the same names.

    Parameters
    ----------
    path
        Path of the key.
    files
        Paths of the files, by the name that replaces each.
    """

    path: Path
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, *, anew: bool = False) -> "Key":
        """Read the key to a folder's numbers, or begin one.

        Parameters
        ----------
        folder
            Folder of results.
        anew
            Whether the numbers of before are given up.

        Raises
        ------
        ExportError
            If a file of that name is none.
        """
        path = key_beside(folder)
        if not os.path.lexists(path):
            return cls(path)
        try:
            known = read_object(path, "a key")
        except RecordError as error:
            raise stranger(path) from error
        if not all(map(_NUMBERED.fullmatch, known)) or not all(
            isinstance(one, str) for one in known.values()
        ):
            raise stranger(path)
        return cls(path, {} if anew else known)

    def name(self, what: str, path: str, *, number: int | None = None, besides: Collection[str] = ()) -> str:
        """Return what an image or a mask is called instead.

        Parameters
        ----------
        what
            Kind of file: ``image`` or ``mask``.
        path
            Path of the file.
        number
            Number in the name; that of before, or the next one, if omitted.
        besides
            Names that are given already, where a file is asked for several times.
        """
        path = readable(path)
        for known, file in self.files.items():
            if file == path and known.startswith(what) and known not in besides:
                return known
        if number is None:
            taken = [one for one in map(_NUMBERED.fullmatch, self.files) if one and one[1] == what]
            number = max((int(one[2]) for one in taken), default=0) + 1
        name = numbered(what, number, path)
        self.files[name] = path
        return name

    def write(self) -> None:
        """Write it, readable for its owner alone.

        Raises
        ------
        ExportError
            If it cannot be written.
        """
        write_object(self.path, self.files)
        self.path.chmod(0o600)
