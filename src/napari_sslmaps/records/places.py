"""Places of the files of a record: written without what tells who has them, and found again."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from napari_sslmaps.files import hash_path, readable
from napari_sslmaps.sources.formats import is_url
from napari_sslmaps.sources.open import find_images

_OF_USERS = {"home", "users", "documents and settings"}


def place_in(path: str, folder: Path) -> str:
    """Return a path as it is written into a file of a folder that may be given away.

    Parameters
    ----------
    path
        Path as it is known here.
    folder
        Folder of the file that names it.

    Returns
    -------
    str
        The way from the folder; the name alone where that way leads over other disks or past the folders of
        users, whose names it would hold. What is no absolute path stays as it is.
    """
    return readable(path if is_url(path) or not Path(path).is_absolute() else _place_of(path, folder))


def _place_of(path: str, folder: Path) -> str:
    target, base = Path(path), folder.absolute()
    try:
        shared = Path(os.path.commonpath([target, base]))
        way = PurePosixPath(Path(os.path.relpath(target, base)).as_posix())
    except ValueError:  # on another disk
        return target.name
    names = {part.lower() for part in way.parts}
    if len(shared.parts) == 1 or names & {*_OF_USERS, Path.home().name.lower()}:
        return target.name
    return target.name if shared.name.lower() in _OF_USERS else str(way)


def written(value: Any, folder: Path) -> Any:
    """Return a description with every file in it as `place_in` writes it.

    Parameters
    ----------
    value
        JSON-ready. A file is a dict with ``path`` and ``sha256``; of a sample only its name is kept.
    folder
        Folder that the description will lie in.
    """
    if isinstance(value, Mapping):
        values = {key: written(value, folder) for key, value in value.items()}
        if "path" in values and "sha256" in values:
            path = str(values["path"])
            values["path"] = Path(path).name if values.get("sample") else place_in(path, folder)
        return values
    return [written(value, folder) for value in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Places:
    """Folders in which the files of a record are looked for.

    Parameters
    ----------
    folder
        Folder of the record.
    images
        Folder, another one, in which they may lie anywhere and under other names, with their suffix or that
        of any image.
    """

    folder: Path
    images: Path | None = None

    def find(self, path: str, sha256: str) -> Path:
        """Return where a file is now: at its path, beside the record, or where there is one of its hash.

        What is not found is returned as the record has it.
        """
        name = PurePosixPath(path.replace("\\", "/")).name
        if os.name == "nt" and _is_abroad(path, self.folder.absolute()):
            path = name
        near = (_straight(self.folder.absolute() / path), self.folder / name, self.folder / "sources" / name)
        there = next((place for place in near if os.path.exists(place)), None)  # noqa: PTH110  # it says no where Path's raises
        if self.images is None or (there is not None and hash_path(there) == sha256):
            return there or near[0]
        return next((place for place in self._others(name) if _has_hash(place, sha256)), there or near[0])

    def _others(self, name: str) -> Iterator[Path]:
        """Yield what may be a file of that name in the other folder: first those that are called so.

        Annotations and weights are no images, and are known by the suffix that they have in the record.
        """
        if self.images is None or not self.images.is_dir():
            return iter(())
        suffix, others = PurePosixPath(name).suffix.lower(), list[Path]()
        every = list(find_images(self.images, others, results=True))
        alike = [place for place in others if suffix and place.suffix.lower() == suffix]
        return iter(
            sorted((*every, *alike), key=lambda place: (place.name != name, place.suffix.lower() != suffix))
        )


def _is_abroad(path: str, folder: PurePath) -> bool:
    """Whether a record names a server, other than its own, that Windows would tell who the user is."""
    drive = PureWindowsPath(path).drive.lower()
    return drive.startswith("\\\\") and drive != folder.drive.lower()


def _has_hash(place: Path, sha256: str) -> bool:
    """Whether it is the file of that hash; one that cannot be read is not."""
    try:
        return hash_path(place) == sha256
    except OSError:
        return False


def _straight(path: Path) -> Path:
    """Return a path without its ``..``, unless that leads elsewhere, as it may past a link."""
    straight = Path(os.path.normpath(path))
    try:
        return straight if straight.samefile(path) else path
    except (OSError, ValueError):  # there is none, or a NUL character in it
        return path
