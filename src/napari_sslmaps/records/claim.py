"""Folders that results go to: what this package wrote there may be replaced, what is anybody else's not."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import check_local, hash_path, read_regular, special_kind

_MARK = b"napari-sslmaps"
_START_BYTES = 2**16
_RECORD_BYTES = 2**28


def check_claim(
    folder: Path, names: Iterable[str], *, record: str = "", holding: bytes = b"", lacking: bytes = b""
) -> None:
    """Refuse a folder in which something would be lost, or that cannot be written to, before work begins.

    Parameters
    ----------
    folder
        Folder that results are to be written into.
    names
        Files in it that will be written, as patterns. One is taken for this package's own if it begins with
        or ends with its name, as records, maps, figures and reports do.
    record
        Name of the record in the folder. If that is this package's, everything of these names is.
    holding
        Bytes that the record has to hold besides, to tell it from one of another command.
    lacking
        Bytes that the record must not hold, to the same end.

    Raises
    ------
    ExportError
        If the folder is a file, is on a disk that is read-only, or a file in it that would be replaced was
        not written by this package, or its record is one of another command, which would be lost.
    """
    _check_writable(folder)
    if record and _is_ours(folder / record):
        if not _is_ours(folder / record, holding) or (lacking and _is_ours(folder / record, lacking)):
            raise ExportError(
                f"Expected a folder without results of another command; {folder / record} is the record of "
                "such, and would be lost. Choose another folder with --out."
            )
        return
    strangers = [path for path in _existing(folder, names) if not _is_ours(path)]
    if strangers:
        raise stranger(strangers[0])


def check_file(path: Path) -> None:
    """Refuse to replace a file that this package did not write, or a place that cannot be written to.

    Raises
    ------
    ExportError
        If there is such a file or what is no file, or its folder is on a disk that is read-only.
    """
    _check_writable(path.parent)
    if os.path.lexists(path) and not _is_ours(path):
        raise stranger(path)


def hashes_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return names of files in a folder → their SHA-256, by which `remove_own` knows them again."""
    return {name: hash_path(folder / name) for name in sorted(names)}


def remove_own(folder: Path, names: Iterable[str], hashes: Mapping[str, str] | None = None) -> None:
    """Remove what this package wrote into a folder before and no longer belongs to its results.

    Parameters
    ----------
    folder, names
        The folder, and files in it as patterns; others, and those beyond the folder, stay.
    hashes
        Names → hashes, from `hashes_of`, of files that cannot hold this package's name, as tables: one of
        them goes if it is still the same.

    Raises
    ------
    ExportError
        If one cannot be removed.
    """
    inside = folder.resolve()
    for path in _existing(folder, names):
        if path.resolve().is_relative_to(inside) and (_is_ours(path) or _is_same(path, folder, hashes or {})):
            try:
                path.unlink()
            except OSError as error:
                raise ExportError(
                    f"Expected to remove {path}, which is of an earlier run; that failed ({error.strerror}). "
                    "Remove it, or choose another folder."
                ) from error


def stranger(path: Path) -> ExportError:
    """Return the error that says of a path that it is not this package's to replace."""
    kind = special_kind(path) or "there already"
    return ExportError(
        f"Expected to write {path}; it is {kind}, and napari-sslmaps did not write it. Choose another place, "
        "or move it away."
    )


def _check_writable(folder: Path) -> None:
    check_local(folder)
    places = (folder.absolute(), *folder.absolute().parents)
    there = next(place for place in places if os.path.lexists(place))
    if not there.is_dir():
        raise ExportError(f"Expected a folder to write to; {there} is not one. Choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ExportError(
            f"Expected a folder that can be written to; {there} is read-only. Choose another folder, or "
            "change its permissions."
        )


def _existing(folder: Path, names: Iterable[str]) -> list[Path]:
    inside = [name for name in names if name and not PurePath(name).anchor]
    return [path for name in inside for path in sorted(folder.glob(name))] if folder.is_dir() else []


def _is_same(path: Path, folder: Path, hashes: Mapping[str, str]) -> bool:
    written = hashes.get(path.relative_to(folder).as_posix(), "")
    return bool(written) and path.is_file() and hash_path(path) == written


def _is_ours(path: Path, holding: bytes = b"") -> bool:
    """Whether a file begins or ends with this package's name, and holds some bytes."""
    try:
        if holding:
            content = read_regular(path, _RECORD_BYTES)
            return _MARK in content[:_START_BYTES] and holding in content
        if special_kind(path):
            return False
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _START_BYTES))
            return _MARK in start or _MARK in file.read()
    except OSError:
        return False
