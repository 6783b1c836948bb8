"""The user's own encoders: registered, listed, watched for moves and changes, in a file written whole."""

import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock
from platformdirs import user_config_path

from napari_sslmaps.encoders.catalog import NAMES
from napari_sslmaps.encoders.families.registry import architecture_from_dict, architecture_to_dict
from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.hub import located, repository_at
from napari_sslmaps.encoders.spec import Architecture, EncoderSpec
from napari_sslmaps.errors import EncoderListError, EncoderNotFoundError, InvalidOptionError, SSLMapsError
from napari_sslmaps.files import footprint, hash_path, read_regular, user_path
from napari_sslmaps.serialise import dump, load, parse, strict

_SUFFIXES = re.compile(r"(\.(safetensors|pth|pt|bin|ckpt|tar|distcp))+$", re.IGNORECASE)
_QUICK_BYTES = 300_000_000
_MOST_BYTES = 100_000_000
_NAME = re.compile(r"\w[\w.+-]{0,99}")


def remember(path: str | Path, overrides: Overrides | None = None, *, name: str = "") -> EncoderSpec:
    """Load a weight file or folder once, and list it from now on.

    Parameters
    ----------
    path
        A file, folder or name of the hub that `load_encoder` takes.
    overrides
        Corrections by its user; applied each time it is loaded.
    name
        Name in the list; by default that of the file, made unique with a number. The name of a remembered
        encoder whose file has moved or changed can be given again: that is how it is found again.

    Returns
    -------
    EncoderSpec
        Entry in the list, as `list_encoders` returns it.

    Raises
    ------
    WeightsUnavailableError, CheckpointError, InvalidOptionError
        If it does not load, or the name is taken or malformed; nothing is remembered then.
    EncoderListError
        If it loads but the list cannot be written.
    """
    load_triton_apart()
    from napari_sslmaps.encoders.checkpoint.network import check_forward
    from napari_sslmaps.encoders.checkpoint.read import read_checkpoint

    if name:
        _check_name(name)
    file, wanted = located(user_path(path)).absolute(), overrides or Overrides()
    checkpoint = read_checkpoint(file, wanted)
    report = checkpoint.report
    size, mtime_ns = footprint(file)
    entry = UserEncoder(
        path=file,
        sha256=hash_path(file),
        size=size,
        mtime_ns=mtime_ns,
        method=report.method,
        architecture=report.architecture,
        normalisation=report.normalisation,
        licence=checkpoint.licence or "unknown",
        overrides=wanted.keywords,
        doubts=(*report.ambiguous, *check_forward(checkpoint.network, report.architecture)),
    )
    with changed_encoder_list() as entries:
        chosen = _chosen_name(name, entry, entries)
        entries[chosen] = entry
    return _spec(chosen, entry)


def forget(name: str) -> None:
    """Take an encoder off the list; its file stays where it is.

    Raises
    ------
    EncoderNotFoundError
        If none of that name is remembered.
    EncoderListError
        If the list cannot be written.
    """
    with changed_encoder_list() as entries:
        if name not in entries:
            known = ", ".join(entries) or "there are none"
            raise EncoderNotFoundError(f"Expected a remembered encoder ({known}); got {name!r}.")
        del entries[name]


def remembered() -> list[EncoderSpec]:
    """List the remembered encoders in the order they were added, without importing torch.

    Returns
    -------
    list of EncoderSpec
        Encoders of origin ``file``, with their hash; `trouble` says which file has moved or changed. Size and
        time decide; if only the time differs, the hash does, that of a large file once it is asked for by
        name.
    """
    return [_spec(name, entry, hash_up_to=_QUICK_BYTES) for name, entry in read_encoder_list().items()]


def find_remembered(name: str) -> EncoderSpec | None:
    """Return the remembered encoder of a name, hashed if in doubt; None if there is none."""
    entry = read_encoder_list().get(name)
    return None if entry is None else _spec(name, entry)


def doubts_of(name: str) -> tuple[str, ...]:
    """Return what the report of a remembered encoder doubted when it was added, as sentences."""
    entry = read_encoder_list().get(name)
    return () if entry is None else entry.doubts


def changed_since_added(name: str, path: Path, sha256: str) -> str:
    """Say that a remembered file is another now, and what to do."""
    return (
        f"Expected the weights of {name} as they were when they were added (sha256 {sha256[:12]}…); {path} "
        f"has changed. Restore it, or add it again as it is now {_again(name)}."
    )


def default_name(path: Path) -> str:
    """Return what a file or folder is called if nobody names it: after itself, without its suffixes.

    A folder of the hub's cache is called after its repository.
    """
    called = repository_at(path) or _SUFFIXES.sub("", path.name)
    return re.sub(r"[^\w.+-]+", "-", called).strip(".+-") or "encoder"


@dataclass(frozen=True, slots=True)
class UserEncoder:
    """A remembered encoder.

    Parameters
    ----------
    path
        Weight file or folder, absolute.
    sha256, size, mtime_ns
        Hash, bytes and time of change when it was added; for a folder, as `hash_path` and `footprint` return
        them.
    method, architecture, normalisation, licence
        Method, network, normalisation and licence that were recognised.
    overrides
        Keywords of `load_encoder` that correct what the file says.
    doubts
        Sentences on what its report and a forward pass left doubtful.
    """

    path: Path
    sha256: str
    size: int
    mtime_ns: int
    method: str
    architecture: Architecture
    normalisation: str
    licence: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; `from_dict` reads it back."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        changed = {"path": str(self.path), "architecture": architecture_to_dict(self.architecture)}
        form: dict[str, Any] = dump(_EntryForm(**{**values, **changed}))
        return form

    @classmethod
    def from_dict(cls, description: Any) -> Self:
        """Rebuild from `to_dict`'s description; raises RecordError, ValueError, KeyError or TypeError."""
        form = load(_EntryForm, description, "a remembered encoder")
        if form.method not in METHODS:
            raise ValueError(f"unknown method {form.method!r}")
        values = {name: getattr(form, name) for name in form.__dataclass_fields__}
        values["path"] = Path(form.path)
        values["architecture"] = architecture_from_dict(form.architecture)
        values["overrides"] = Overrides.of(form.overrides).keywords
        return cls(**values)


@strict
@dataclass(frozen=True, slots=True)
class _EntryForm:
    """A remembered encoder, as it is written.

    Parameters
    ----------
    path, sha256, size, mtime_ns, method, normalisation, licence, overrides, doubts
        Fields of `UserEncoder`.
    architecture
        Dict that `architecture_to_dict` makes.
    """

    path: str
    sha256: str
    size: int
    mtime_ns: int
    method: str
    architecture: Mapping[str, Any]
    normalisation: str
    licence: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def _spec(name: str, entry: UserEncoder, *, hash_up_to: float = math.inf) -> EncoderSpec:
    trouble = _unavailable_reason(name, entry, hash_up_to)
    if not trouble:
        _note_time(name, entry)
    return EncoderSpec(
        name=name,
        method=entry.method,
        architecture=entry.architecture,
        normalisation=entry.normalisation,
        path=entry.path,
        sha256=entry.sha256,
        licence=entry.licence,
        origin="file",
        overrides=entry.overrides,
        trouble=trouble,
    )


def _unavailable_reason(name: str, entry: UserEncoder, hash_up_to: float = math.inf) -> str:
    try:
        size, mtime_ns = footprint(entry.path)
    except OSError as error:
        return (
            f"Expected the weights of {name} at {entry.path}; the system says: {error.strerror}. Put them "
            f"back, or add them again from where they are now {_again(name)}."
        )
    if (size, mtime_ns) == (entry.size, entry.mtime_ns):
        return ""
    if size == entry.size > hash_up_to:
        return (
            f"Expected the weights of {name} as they were when they were added; {entry.path} was written to "
            "since, and is too large to compare for a list. Loading it by its name settles it, and so does "
            f"adding it again {_again(name)}."
        )
    if size == entry.size and _hash_at(entry.path, size, mtime_ns) == entry.sha256:
        return ""
    return changed_since_added(name, entry.path, entry.sha256)


def _again(name: str) -> str:
    return f"(napari-sslmaps encoders add PATH --name {name})"


@lru_cache(maxsize=64)
def _hash_at(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # what the hash was taken at
    return hash_path(path)


def _note_time(name: str, entry: UserEncoder) -> None:
    """Write down a new time of the same content, so that it is not hashed at each start."""
    with suppress(OSError):
        _, mtime_ns = footprint(entry.path)
        if mtime_ns == entry.mtime_ns:
            return
        with changed_encoder_list() as entries:
            if entries.get(name) == entry:
                entries[name] = replace(entry, mtime_ns=mtime_ns)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or _SUFFIXES.search(name):
        raise InvalidOptionError(
            "Expected a name of letters, digits, '.', '-', '+' and '_' that no weight file would have; got "
            f"{name!r}. Choose another."
        )
    if name in NAMES or name in PUBLISHED:
        raise InvalidOptionError(f"Expected a name that is free; {name!r} is taken. Choose another.")


def _chosen_name(name: str, entry: UserEncoder, entries: Mapping[str, UserEncoder]) -> str:
    """Return the wanted name if it is free or to be found again, or one that is free."""
    if name:
        holder = entries.get(name)
        if holder is not None and holder.path != entry.path and not _unavailable_reason(name, holder):
            raise InvalidOptionError(
                f"Expected a name that is free; {name!r} is that of {holder.path}. Choose another, or forget "
                f"it first (napari-sslmaps encoders forget {name})."
            )
        return name
    for known, other in entries.items():
        if (other.path, other.overrides) == (entry.path, entry.overrides):
            return known
    stem = default_name(entry.path)
    chosen, number = stem, 1
    while chosen in entries or chosen in NAMES or chosen in PUBLISHED:
        number += 1
        chosen = f"{stem}-{number}"
    return chosen


FOLDER_VARIABLE = "NAPARI_SSLMAPS_CONFIG"
"""Environment variable with another folder for the list of remembered encoders."""
FORMAT = "napari-sslmaps/shelf"
SCHEMA = 1
_PATIENCE_SECONDS = 10


class UserEncodersWarning(UserWarning):
    """The list of remembered encoders could not be read; its text is a sentence for the user."""


class DamagedEncoderListError(EncoderListError):
    """The list was damaged and is kept aside."""


def config_folder() -> Path:
    """Return the folder of the list: the user's configuration folder, or what the variable names."""
    named = os.environ.get(FOLDER_VARIABLE)
    return user_path(named) if named else user_config_path("napari-sslmaps")


def encoder_list_path() -> Path:
    """Return where the list of remembered encoders is kept."""
    return config_folder() / "encoders.json"


def read_encoder_list() -> dict[str, UserEncoder]:
    """Read what is remembered, by name.

    A damaged file is kept aside under another name, and the list begins anew; an unreadable one or one of a
    later version is left alone. Each is said in a `UserEncodersWarning`.
    """
    try:
        return _read()
    except EncoderListError as error:
        warnings.warn(str(error), UserEncodersWarning, stacklevel=2)
        return {}


@contextmanager
def changed_encoder_list() -> Iterator[dict[str, UserEncoder]]:
    """Give the entries, read under a lock, and write them at the end, whole or not at all.

    Raises
    ------
    EncoderListError
        If the list cannot be read or written, or another process keeps it locked.
    """
    path = encoder_list_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=_PATIENCE_SECONDS):
            entries = _read_or_set_aside()
            yield entries
            _write(path, entries)
    except OSError as error:
        if isinstance(error, SSLMapsError):
            raise
        raise EncoderListError(
            f"Expected to write the list of remembered encoders, {path}; the system says: "
            f"{error.strerror or error}. Weight files still load by their path; make the folder writable, or "
            f"name another in {FOLDER_VARIABLE}."
        ) from error


def _read_or_set_aside() -> dict[str, UserEncoder]:
    try:
        return _read()
    except DamagedEncoderListError as error:
        warnings.warn(str(error), UserEncodersWarning, stacklevel=4)
        return {}


def _read() -> dict[str, UserEncoder]:
    path = encoder_list_path()
    try:
        text = read_regular(path, _MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EncoderListError(
            f"Expected the list of remembered encoders at {path}; it cannot be read "
            f"({error.strerror}). Make it readable."
        ) from error
    what = "the list of remembered encoders"
    try:
        described = parse(text, what)
        later = described["schema"] > SCHEMA
        entries = {} if later else described["encoders"]
        known = {name: UserEncoder.from_dict(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _set_aside(path, error) from error
    if later:
        raise EncoderListError(
            f"Expected a list of remembered encoders of schema {SCHEMA}; {path} has {described['schema']}. "
            "Update napari-sslmaps to read it."
        )
    return known


def _set_aside(path: Path, reason: Exception) -> DamagedEncoderListError:
    """Move a damaged list away, so that nothing of it is lost, and say so."""
    aside = path.with_name(f"{path.stem}-damaged-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.json")
    try:
        path.replace(aside)
    except OSError:
        aside = path
    return DamagedEncoderListError(
        f"Expected the list of remembered encoders; {path.name} is damaged ({reason}). It is kept as "
        f"{aside}; add your weight files again."
    )


def _write(path: Path, entries: Mapping[str, UserEncoder]) -> None:
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
