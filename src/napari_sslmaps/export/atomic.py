"""Writing a file so that it is either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

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
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix, delete=False
        ) as file:
            temporary = Path(file.name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"Expected to write {path}; the system says: {error.strerror or error}. "
            "Choose another folder or free some space."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
