"""What a weight file or folder is: its hash, and the quick signs that it has changed."""

import hashlib
from pathlib import Path


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files of a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in _files(path):
        digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(hash_path(part)))
    return digest.hexdigest()


def footprint(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change in ns: of a file, or of all files of a folder.

    Raises
    ------
    OSError
        If there is nothing, or it cannot be looked at.
    """
    parts = [path.stat()] if not path.is_dir() else [part.stat() for part in _files(path)]
    return sum(part.st_size for part in parts), max((part.st_mtime_ns for part in parts), default=0)


def _files(folder: Path) -> list[Path]:
    return sorted(part for part in folder.rglob("*") if part.is_file())
