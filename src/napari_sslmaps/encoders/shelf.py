"""The user's own encoders, remembered: listed from now on, and watched for moves and changes."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from napari_sslmaps.encoders.catalog import METHOD_INFO, NAMES
from napari_sslmaps.encoders.hashes import footprint, hash_path
from napari_sslmaps.encoders.llvm import load_triton_apart
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.shelf_file import Entry, changed_shelf, read_shelf
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import EncoderNotFoundError, InvalidOptionError

_SUFFIXES = re.compile(r"(\.(safetensors|pth|pt|bin|ckpt|tar|distcp))+$", re.IGNORECASE)
_QUICK_BYTES = 300_000_000
_NAME = re.compile(r"\w[\w.+-]*")


def remember(path: str | Path, overrides: Overrides | None = None, *, name: str = "") -> EncoderSpec:
    """Load a weight file or folder once, and list it from now on.

    Parameters
    ----------
    path
        A file or folder that `load_encoder` takes.
    overrides
        What its user knows better than the file; applied each time it is loaded.
    name
        What to call it; by default after the file, made unique with a number. The name of a remembered
        encoder whose file has moved or changed can be given again: that is how it is found again.

    Returns
    -------
    EncoderSpec
        As `list_encoders` lists it.

    Raises
    ------
    WeightsUnavailableError, CheckpointError, InvalidOptionError
        If it does not load, or the name is taken or malformed; nothing is remembered then.
    ShelfError
        If it loads but the list cannot be written.
    """
    load_triton_apart()
    from napari_sslmaps.encoders.checkpoint import check_forward, read_checkpoint

    if name:
        _check_name(name)
    file, wanted = Path(path).expanduser().absolute(), overrides or Overrides()
    checkpoint = read_checkpoint(file, wanted)
    report = checkpoint.report
    size, mtime_ns = footprint(file)
    entry = Entry(
        path=file,
        sha256=hash_path(file),
        size=size,
        mtime_ns=mtime_ns,
        method=report.method,
        architecture=report.architecture,
        normalisation=report.normalisation,
        licence=checkpoint.licence or METHOD_INFO[report.method].licence,
        overrides=wanted.given,
        doubts=(*report.ambiguous, *check_forward(checkpoint.network, report.architecture)),
    )
    with changed_shelf() as entries:
        chosen = _chosen_name(name, entry, entries)
        entries[chosen] = entry
    return _spec(chosen, entry)


def forget(name: str) -> None:
    """Take an encoder off the list; its file stays where it is.

    Raises
    ------
    EncoderNotFoundError
        If none of that name is remembered.
    ShelfError
        If the list cannot be written.
    """
    with changed_shelf() as entries:
        if name not in entries:
            known = ", ".join(entries) or "there are none"
            raise EncoderNotFoundError(f"Expected a remembered encoder ({known}); got {name!r}.")
        del entries[name]


def remembered() -> list[EncoderSpec]:
    """List the remembered encoders in the order they were added, without importing torch.

    Returns
    -------
    list of EncoderSpec
        Of origin ``file``, with their hash; `trouble` says which file has moved or changed. Size and time
        decide; if only the time differs, the hash does, that of a large file once it is asked for by name.
    """
    return [_spec(name, entry, hash_up_to=_QUICK_BYTES) for name, entry in read_shelf().items()]


def find_remembered(name: str) -> EncoderSpec | None:
    """Return the remembered encoder of a name, hashed if in doubt; None if there is none."""
    entry = read_shelf().get(name)
    return None if entry is None else _spec(name, entry)


def doubts_of(name: str) -> tuple[str, ...]:
    """Return what the report of a remembered encoder doubted when it was added, as sentences."""
    entry = read_shelf().get(name)
    return () if entry is None else entry.doubts


def changed_since_added(name: str, path: Path, sha256: str) -> str:
    """Say that a remembered file is another now, and what to do."""
    return (
        f"Expected the weights of {name} as they were when they were added (sha256 {sha256[:12]}…); {path} "
        f"has changed. Restore it, or add it again as it is now {_again(name)}."
    )


def default_name(path: Path) -> str:
    """Return what a file or folder is called if nobody names it: after itself, without its suffixes."""
    return re.sub(r"[^\w.+-]+", "-", _SUFFIXES.sub("", path.name)).strip(".+-") or "encoder"


def _spec(name: str, entry: Entry, *, hash_up_to: float = math.inf) -> EncoderSpec:
    trouble = _trouble(name, entry, hash_up_to)
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


def _trouble(name: str, entry: Entry, hash_up_to: float = math.inf) -> str:
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


def _note_time(name: str, entry: Entry) -> None:
    """Write down a new time of the same content, so that it is not hashed at each start."""
    with suppress(OSError):
        _, mtime_ns = footprint(entry.path)
        if mtime_ns == entry.mtime_ns:
            return
        with changed_shelf() as entries:
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


def _chosen_name(name: str, entry: Entry, entries: Mapping[str, Entry]) -> str:
    """Return the wanted name if it is free or to be found again, or one that is free."""
    if name:
        holder = entries.get(name)
        if holder is not None and holder.path != entry.path and not _trouble(name, holder):
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
