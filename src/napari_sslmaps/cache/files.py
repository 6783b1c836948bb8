"""Files and folders of the cache that are whole or not there, whatever happens to the process."""

import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

HIDDEN = "."
"""What is being written, and what is being deleted, starts with it."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears at `path`, over an older one, once it is written.

    Nothing is flushed to the device: after a power failure a file may be damaged, which its reader notices.
    """
    temporary = path.with_name(f"{HIDDEN}{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill that appears at `path` once it is filled; one already there is kept instead."""
    temporary = path.with_name(f"{HIDDEN}{uuid4().hex}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if not path.exists():
            with suppress(FileExistsError):
                temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Delete a folder that vanishes at once for whoever opens it next."""
    condemned = path.with_name(f"{HIDDEN}{uuid4().hex}.tmp")
    with suppress(FileNotFoundError):
        path.rename(condemned)
    shutil.rmtree(condemned, ignore_errors=True)


def size_of(path: Path) -> int:
    """Bytes of all files below a folder; 0 where it vanishes meanwhile."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            status = file.stat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total
