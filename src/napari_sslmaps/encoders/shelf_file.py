"""The file of the shelf: read, changed under a lock, and written whole."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock
from platformdirs import user_config_path

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.spec import (
    METHODS,
    Architecture,
    Method,
    architecture_from_dict,
    architecture_to_dict,
)
from napari_sslmaps.errors import ShelfError, SSLMapsError

FOLDER_VARIABLE = "NAPARI_SSLMAPS_CONFIG"
"""Environment variable with another folder for the list of remembered encoders."""
FORMAT = "napari-sslmaps/shelf"
SCHEMA = 1
_PATIENCE_SECONDS = 10


class ShelfWarning(UserWarning):
    """The list of remembered encoders could not be read; its text is a sentence for the user."""


class DamagedShelfError(ShelfError):
    """The list was damaged and is kept aside."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A remembered encoder.

    Parameters
    ----------
    path
        Its weight file or folder, absolute.
    sha256, size, mtime_ns
        What it was when it was added; of a folder, as `hash_path` and `footprint` say.
    method, architecture, normalisation, licence
        What it was recognised as.
    overrides
        Keywords of `load_encoder` that correct what the file says.
    doubts
        What its report and a forward pass left doubtful, as sentences.
    """

    path: Path
    sha256: str
    size: int
    mtime_ns: int
    method: Method
    architecture: Architecture
    normalisation: str
    licence: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        changed = {"path": str(self.path), "architecture": architecture_to_dict(self.architecture)}
        return {**values, **changed, "overrides": dict(self.overrides), "doubts": list(self.doubts)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`'s description; raises ValueError, KeyError or TypeError if it is none."""
        values = dict(description)
        if values["method"] not in METHODS:
            raise ValueError(f"unknown method {values['method']!r}")
        values["path"] = Path(values["path"])
        values["architecture"] = architecture_from_dict(values["architecture"])
        values["overrides"] = Overrides.of(values.get("overrides", {})).given
        values["doubts"] = tuple(values.get("doubts", ()))
        return cls(**values)


def config_folder() -> Path:
    """Return the folder of the list: the user's configuration folder, or what the variable names."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else user_config_path("napari-sslmaps")


def shelf_path() -> Path:
    """Return where the list of remembered encoders is kept."""
    return config_folder() / "encoders.json"


def read_shelf() -> dict[str, Entry]:
    """Read what is remembered, by name.

    A damaged file is kept aside under another name, and the list begins anew; an unreadable one or one of a
    later version is left alone. Each is said in a `ShelfWarning`.
    """
    try:
        return _read()
    except ShelfError as error:
        warnings.warn(str(error), ShelfWarning, stacklevel=2)
        return {}


@contextmanager
def changed_shelf() -> Iterator[dict[str, Entry]]:
    """Give the entries, read under a lock, and write them at the end, whole or not at all.

    Raises
    ------
    ShelfError
        If the list cannot be read or written, or another process keeps it locked.
    """
    path = shelf_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_PATIENCE_SECONDS):
            entries = _kept_aside_if_damaged()
            yield entries
            _write(path, entries)
    except OSError as error:
        if isinstance(error, SSLMapsError):
            raise
        raise ShelfError(
            f"Expected to write the list of remembered encoders, {path}; the system says: "
            f"{error.strerror or error}. Weight files still load by their path; make the folder writable, or "
            f"name another in {FOLDER_VARIABLE}."
        ) from error


def _kept_aside_if_damaged() -> dict[str, Entry]:
    try:
        return _read()
    except DamagedShelfError as error:
        warnings.warn(str(error), ShelfWarning, stacklevel=4)
        return {}


def _read() -> dict[str, Entry]:
    path = shelf_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ShelfError(
            f"Expected the list of remembered encoders at {path}; it cannot be read ({error.strerror}). "
            "Make it readable."
        ) from error
    except UnicodeDecodeError as error:
        raise _kept_aside(path, error) from error
    try:
        described = json.loads(text)
        later = described["schema"] > SCHEMA
        entries = {} if later else described["encoders"]
        known = {name: Entry.from_dict(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _kept_aside(path, error) from error
    if later:
        raise ShelfError(
            f"Expected a list of remembered encoders of schema {SCHEMA}; {path} has {described['schema']}. "
            "Update napari-sslmaps to read it."
        )
    return known


def _kept_aside(path: Path, reason: Exception) -> DamagedShelfError:
    """Move a damaged list away, so that nothing of it is lost, and say so."""
    aside = path.with_name(f"{path.stem}-damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json")
    try:
        path.replace(aside)
    except OSError:
        aside = path
    return DamagedShelfError(
        f"Expected the list of remembered encoders; {path.name} is damaged ({reason}). It is kept as "
        f"{aside}; add your weight files again."
    )


def _write(path: Path, entries: Mapping[str, Entry]) -> None:
    described = {name: entry.to_dict() for name, entry in entries.items()}
    text = json.dumps(
        {"format": FORMAT, "schema": SCHEMA, "encoders": described}, indent=2, ensure_ascii=False
    )
    temporary = path.with_name(f".{path.stem}-{uuid4().hex}.json")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
