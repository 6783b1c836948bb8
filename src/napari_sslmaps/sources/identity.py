"""A file as it was when it was opened, so that what was seen in it can be remembered."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_JUST_NOW_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A regular file as it is now; equal as long as it is, as far as the file system tells.

    Parameters
    ----------
    path
        Absolute, links followed.
    size
        Size in bytes.
    mtime_ns
        Last modification, in nanoseconds.
    reading
        How it was read, where not in the usual way: another image of the file, other colours.
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
        path = Path(image).expanduser()
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
