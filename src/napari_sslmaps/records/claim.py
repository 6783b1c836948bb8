"""Folders that results go to: what this package wrote there may be replaced, what is anybody else's not."""

import os
from collections.abc import Iterable
from pathlib import Path

from napari_sslmaps.errors import ExportError
from napari_sslmaps.files import read_regular, special_kind

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
    strangers = [path for path in _there(folder, names) if not _is_ours(path)]
    if strangers:
        raise stranger(strangers[0])


def check_file(path: Path) -> None:
    """Refuse to replace a file that this package did not write, or what is no file.

    Raises
    ------
    ExportError
        If there is one.
    """
    if os.path.lexists(path) and not _is_ours(path):
        raise stranger(path)


def remove_own(folder: Path, names: Iterable[str]) -> None:
    """Remove what this package wrote into a folder before and no longer belongs to its results.

    Parameters
    ----------
    folder, names
        The folder, and files in it as patterns; others, and those beyond the folder, stay.

    Raises
    ------
    ExportError
        If one cannot be removed.
    """
    inside = folder.resolve()
    for path in _there(folder, names):
        if path.resolve().is_relative_to(inside) and _is_ours(path):
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
    places = (folder.absolute(), *folder.absolute().parents)
    there = next(place for place in places if os.path.lexists(place))
    if not there.is_dir():
        raise ExportError(f"Expected a folder to write to; {there} is not one. Choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ExportError(
            f"Expected a folder that can be written to; {there} is read-only. Choose another folder, or "
            "change its permissions."
        )


def _there(folder: Path, names: Iterable[str]) -> list[Path]:
    return [path for name in names for path in sorted(folder.glob(name))] if folder.is_dir() else []


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
