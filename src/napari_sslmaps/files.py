"""Files and folders written whole or not at all, and told apart by hash and footprint."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from napari_sslmaps.errors import ExportError, InvalidOptionError

if sys.platform == "win32":
    from filelock import FileLock, Timeout
else:
    import fcntl

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


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Read a regular file whole; of anything else, such as a pipe, nothing is waited for.

    Raises
    ------
    OSError
        If it is missing, no regular file, or larger than `most_bytes`.
    """
    try:
        status = path.stat()
    except ValueError as error:
        raise OSError(errno.EINVAL, "there is a NUL character in its path", str(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / 1e6:g} MB", str(path))
    return path.read_bytes()


_MOST_TEXT = 512_000_000


def read_text(path: Path) -> str:
    """Read a regular file in UTF-8, with or without a mark at its beginning, as it is.

    Raises
    ------
    OSError
        If `read_regular` raises it.
    UnicodeDecodeError
        If it is in another coding.
    """
    return read_regular(path, _MOST_TEXT).decode("utf-8-sig")


_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def user_path(named: str | os.PathLike[str]) -> Path:
    """Return a path as a user writes it, ``~`` replaced by their home folder.

    Raises
    ------
    InvalidOptionError
        If it begins with the home folder of somebody unknown here, or is longer than the system takes.
    """
    text = os.fspath(named)
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidOptionError(
            f"Expected a path; {text[:_SHOWN]!r} begins with a home folder that is not known here. Write the "
            "path in full."
        ) from error
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidOptionError(
                f"Expected a path that the system accepts; {text[:_SHOWN]!r}… has {len(text)} letters. "
                "Choose "
                "a shorter one."
            ) from error
    except ValueError:  # a NUL character, which whoever opens it says
        pass
    return path


def readable(name: str) -> str:
    """Return a name as it can be written and drawn: bytes that are no UTF-8 spelled out in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


_SHOWN = 40
"""Letters of a name in that of a file that is being written."""
_LONGEST, _KEPT = 200, 180
"""Bytes of a name that leaves room for endings below the 255 that file systems take; those that are kept."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def fitting(name: str) -> str:
    """Return a name, with ``/`` between folders, as every file system takes its parts.

    One that is too long is cut, one with line ends gets ``_`` for them, and both their hash; one that Windows
    keeps for itself, or that ends in what it drops, gets a ``_``.
    """
    return "/".join(map(_fitting, name.split("/")))


def _fitting(part: str) -> str:
    coded, plain = part.encode("utf-8", "surrogateescape"), _CONTROL.sub("_", part)
    if len(coded) > _LONGEST or plain != part:
        kept = plain.encode("utf-8", "surrogateescape")[:_KEPT].decode("utf-8", "ignore")
        part = f"{kept}-{hashlib.sha256(coded).hexdigest()[:12]}"
    if _RESERVED.fullmatch(part.split(".", 1)[0].rstrip()):
        part = f"_{part}"
    return f"{part}_" if part.endswith((" ", ".")) else part


def special_kind(path: Path) -> str:
    """Say what a path is that gives bytes for ever or none, such as ``a named pipe``; empty for any other."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    return next((kind for matches, kind in _KINDS if matches(mode)), "")


def size_of(path: Path) -> int:
    """Bytes of all files below a folder; 0 where it vanishes meanwhile."""
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            status = file.stat()
            total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move it there at the end.

    Folders are made as needed. If writing fails, an older file at `path` stays as it was.

    Parameters
    ----------
    path
        File that is wanted.

    Yields
    ------
    Path
        Temporary file in the same folder, with the same suffix.

    Raises
    ------
    ExportError
        If the folder cannot be written to or the disk is full.
    """
    if "\0" in str(path) or not path.name:
        raise ExportError(f"Expected the path of a file, without a NUL character; got {str(path)!r}.")
    check_local(path)
    with _said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _growing(path) as temporary, _said(path):  # before a full disk has place again
            yield temporary
            temporary.replace(path)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch and faiss say a full disk in words of their own
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"Expected to write {path}; the system says: {reason_of(error, path.parent)}. "
            "Choose another folder or free some space."
        ) from error


@contextmanager
def _growing(path: Path) -> Iterator[Path]:
    """Give a hidden file beside `path` to write to: one of the same name that a killed process left behind.

    Who writes has it locked, so that another who writes the same gets a file of a name of its own.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]
    start = f"{HIDDEN}{path.stem[:_SHOWN]}"
    usual = path.with_name(f"{start}-{digest}{path.suffix}")
    with _locked(usual) as is_mine:
        if is_mine:
            yield usual
            return
        named = path.with_name(f"{start}-{uuid4().hex}{path.suffix}")
        named.touch(exist_ok=False)
        try:
            yield named
        finally:
            with suppress(OSError):
                named.unlink(missing_ok=True)


_WRITER = "napari-sslmaps, "
_ADDRESS = re.compile(r"(https?|ftp|s3|gs|gcs|az|abfss?|hdfs|file|ssh|sftp):", re.IGNORECASE)


def is_address(path: Path) -> bool:
    """Say whether a path is written like an address, such as ``s3://bucket/x``, and is none."""
    return any(_ADDRESS.fullmatch(place.name) and not place.is_dir() for place in (path, *path.parents))


def check_local(path: Path) -> None:
    """Refuse to write to what is written like an address: it would come to lie in a folder called ``s3:``.

    Raises
    ------
    ExportError
        If it is.
    """
    if is_address(path):
        raise ExportError(
            f"Expected a path on this machine to write to; {path} is written like an address. Write to a "
            "folder here, and copy it there."
        )


_LOCK_NAME = "napari-sslmaps.lock"


@contextmanager
def alone_in(folder: Path, work: str = "") -> Iterator[None]:
    """Let one process at a time write to a folder, by a lock that goes with the process, also a killed one.

    Where the file system has no locks, nobody is kept out.

    Parameters
    ----------
    folder
        The folder; made as needed, and removed again where nothing was written to it.
    work
        Name of what is done there, if other work in the folder may go on beside it.

    Raises
    ------
    ExportError
        If another process is at work there, or the folder cannot be written to.
    """
    path = folder / f"{HIDDEN}{f'{work}.' if work else ''}{_LOCK_NAME}"
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with ExitStack() as stack:
            check_local(folder)
            with _said(folder):
                folder.mkdir(parents=True, exist_ok=True)
            with _said(path):
                is_mine = stack.enter_context(_held(path))
            if is_mine is False:
                raise ExportError(
                    f"Expected a folder that nobody else is writing to; {_holder(path)} is at work in "
                    f"{folder}. Wait for it to end, or choose another folder."
                )
            if is_mine:
                with suppress(OSError):  # a full disk, which is said when there is more to write
                    path.write_text(
                        f"{_WRITER}process {os.getpid()} on {platform.node()}\n", encoding="utf-8"
                    )
            yield
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()


@contextmanager
def _held(path: Path) -> Iterator[bool | None]:
    """Lock a file, say whether that is this block's alone, and None where nothing may be written to it."""
    if sys.platform == "win32":
        lock = FileLock(path, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield None
        finally:
            lock.release()
        return
    with _locked(path) as is_mine:
        yield is_mine


def _holder(path: Path) -> str:
    """Return the process that says in its lock file who it is."""
    try:
        said = read_regular(path, _SHOWN**2).decode().strip().removeprefix(_WRITER)
    except (OSError, UnicodeDecodeError):
        said = ""
    return said if re.fullmatch(r"process \d+ on [\w.-]+", said) else "another process"


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Say whether a file, emptied or made, is this block's alone; None where the system has no locks.

    It is removed at the end, unless it was moved away: what is there by then may be somebody else's.
    """
    if sys.platform == "win32":
        yield None
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    is_mine: bool | None = False
    try:
        is_mine = _lock(descriptor, path)
        yield is_mine
    finally:
        if is_mine and _is_at(descriptor, path):
            with suppress(OSError):
                path.unlink()
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, path):  # it was moved to its place meanwhile
            return False
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which nobody writes to it
        path.unlink(missing_ok=True)
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a path is that of an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


_FULL_BYTES = 2**20


def reason_of(error: OSError | RuntimeError, folder: Path) -> str:
    """Say in the system's words why something was not written to a folder."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if shutil.disk_usage(folder).free < _FULL_BYTES:
        return os.strerror(errno.ENOSPC)
    return " ".join(str(error).split())[:_MOST_SAID]


_MOST_SAID = 120


def hash_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files of a folder."""
    if path.is_file():
        return _hash_of_file(path)
    digest = hashlib.sha256()
    for part in _files(path):
        digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(hash_path(part)))
    return digest.hexdigest()


_SETTLED_NS = 2 * 10**9
"""Age from which a file that changes gets another time on every file system."""
_known_hashes: dict[tuple[int, ...], str] = {}


def _hash_of_file(path: Path) -> str:
    """Hash a file; one that is as it was when this process hashed it last is not read again."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if key in _known_hashes:
            return _known_hashes[key]
        found = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    is_same = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == key[2:]
    if is_same and status.st_ino and time.time_ns() - changed > _SETTLED_NS:
        _known_hashes[key] = found
    return found


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


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON-ready values, independent of the order of their names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
