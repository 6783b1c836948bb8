"""Writing a file so that it is either whole or not there."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from napari_sslmaps.errors import ExportError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move it there at the end.

    Folders are made as needed. If writing fails, an older file at `path` stays as it was.

    Parameters
    ----------
    path
        The file wanted.

    Yields
    ------
    Path
        Temporary file in the same folder, with the same suffix.

    Raises
    ------
    ExportError
        If the folder cannot be written to or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}-{uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"Expected to write {path}; the system says: {error.strerror or error}. "
            "Choose another folder or free some space."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
