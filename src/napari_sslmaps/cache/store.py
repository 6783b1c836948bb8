"""The cache as a whole: its folder, its keys, its limit, its entries and what it knows of scanned regions."""

import json
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident
from typing import Any

from platformdirs import user_cache_path

from napari_sslmaps.cache import ome
from napari_sslmaps.cache.entry import ABOUT_FILE, BEGUN, FINISHED, CacheEntry
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.files import (
    HIDDEN,
    digest_of,
    is_address,
    read_regular,
    remove_folder,
    size_of,
    user_path,
    whole_file,
)
from napari_sslmaps.sources.identity import FileIdentity
from napari_sslmaps.sources.scan import RegionScan

logger = logging.getLogger(__name__)
FOLDER_VARIABLE = "NAPARI_SSLMAPS_CACHE"
LIMIT_VARIABLE = "NAPARI_SSLMAPS_CACHE_GB"
_DEFAULT_GB = 20.0
_ABANDONED_S = 24 * 3600
_TAG_FILE = "CACHEDIR.TAG"
_OWN = b"napari-sslmaps"
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Written by " + _OWN + b": what lies here is its own.\n"
)
"""Content of CACHEDIR.TAG, by which backup programs know a cache (bford.info/cachedir), and we ours."""
_SUBFOLDER = "napari-sslmaps-cache"
_SCANS = "scans"
_MOST_ABOUT = 64_000_000
_ENTRY = re.compile(rf"[0-9a-f]{{64}}({FINISHED}|{BEGUN})")
_SCAN = re.compile(r"[0-9a-f]{64}\.json")
_TEMPORARY = re.compile(rf"{re.escape(HIDDEN)}[0-9a-f]{{32}}\.tmp")


def default_folder() -> Path:
    """Return the folder that the environment variable NAPARI_SSLMAPS_CACHE names, or the user's own."""
    named = os.environ.get(FOLDER_VARIABLE)
    return user_path(named) if named else user_cache_path("napari-sslmaps") / "embeddings"


def default_limit() -> int:
    """Return the limit in bytes: the environment variable NAPARI_SSLMAPS_CACHE_GB times 10⁹, or 20 GB.

    Raises
    ------
    InvalidOptionError
        If the variable is no number above zero.
    """
    named = os.environ.get(LIMIT_VARIABLE, str(_DEFAULT_GB))
    try:
        gigabytes = float(named)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < float("inf"):
        raise InvalidOptionError(f"Expected a number of GB above 0 in {LIMIT_VARIABLE}; got {named!r}.")
    return int(gigabytes * 1e9)


@dataclass(frozen=True, slots=True)
class CachedEmbedding:
    """One embedding in the cache, as it is listed.

    Parameters
    ----------
    key
        Hash of what decided its numbers.
    about
        Description; empty if it is damaged.
    size
        Size in bytes.
    used
        Time of the last writing or reading.
    finished
        Whether all its tiles are there.
    path
        Folder of the embedding; of a finished one, an OME-Zarr.
    """

    key: str
    about: Mapping[str, Any]
    size: int
    used: datetime
    finished: bool
    path: Path


@dataclass(frozen=True, slots=True)
class Cache:
    """Embeddings on disk. Several processes may use one at the same time.

    Parameters
    ----------
    folder
        Folder of the cache; `default_folder` if omitted. In a folder that holds other things too, a subfolder
        is used, and nothing else is touched.
    limit_bytes
        Bytes that all embeddings may take together, beyond which those used longest ago are deleted;
        `default_limit` if omitted. While an embedding is finished it takes its place twice.
    tiles_only
        Whether finished tiles alone are kept, until somebody deletes them: for one who keeps the whole
        elsewhere.
    """

    folder: Path = field(default_factory=default_folder)
    limit_bytes: int = field(default_factory=default_limit)
    tiles_only: bool = False

    def __post_init__(self) -> None:
        if is_address(self.folder) or _is_no_folder(self.folder):
            kind = "written like an address" if is_address(self.folder) else "no folder"
            raise InvalidOptionError(
                f"Expected a folder on this machine for the cache; {self.folder} is {kind}. Choose another, "
                f"in {FOLDER_VARIABLE} if it is named there."
            )

    @property
    def root(self) -> Path:
        """The folder itself, if this package made it or it is empty; else a subfolder of it."""
        return self.folder if _is_own(self.folder) else self.folder / _SUBFOLDER

    def scan(
        self,
        file: FileIdentity | None,
        region: Region,
        look: Callable[[], RegionScan],
        parts: Sequence[Region] | None = None,
    ) -> RegionScan:
        """Scan a region; of a file that has not changed, by remembering what was seen in it.

        Parameters
        ----------
        file
            The file it lies in, identified before it was opened; None if in none.
        region
            Region of the file.
        look
            Function that scans the region.
        parts
            The only parts of the region that are scanned; None for all of it.
        """
        folder = self.root / _SCANS
        known = None if file is None else recall_scan(folder, file, region, parts)
        if known is not None:
            return known
        scan = look()
        if file is not None and file.settled and FileIdentity.of(file.path) == file:
            with suppress(OSError):  # then it is scanned again; writing tokens will say what is wrong
                keep_scan(folder, file, region, scan, parts)
        return scan

    def entry(
        self, facts: Mapping[str, Any], about: Mapping[str, Any], file: FileIdentity | None = None
    ) -> CacheEntry:
        """Return the place of an embedding.

        Parameters
        ----------
        facts
            JSON-ready; all that decides its numbers.
        about
            JSON-ready; a description for whoever lists or opens the cache.
        file
            File of the image, as it was when opened; None if it has none.
        """
        key = key_of(facts)
        self._take_over(key)
        entry = CacheEntry(self.root, key, about, file, lambda wanted: self._make_room(wanted, key))
        entry.tiles_only = self.tiles_only
        return entry

    def embeddings(self) -> list[CachedEmbedding]:
        """List what is there, last used first."""
        found = []
        for path in self._folders():
            with suppress(FileNotFoundError):  # another process deleted it meanwhile
                found.append(
                    CachedEmbedding(
                        key=path.stem,
                        about=_about(path),
                        size=size_of(path),
                        used=_time(path.stat().st_mtime),
                        finished=path.suffix == FINISHED,
                        path=path,
                    )
                )
        return sorted(found, key=lambda item: item.used, reverse=True)

    def prune(self, limit_bytes: int | None = None, *, keep: str = "") -> list[CachedEmbedding]:
        """Delete what was used longest ago until the rest takes at most `limit_bytes`; return what went.

        Also deletes what killed processes left unfinished behind them for a day.

        Parameters
        ----------
        limit_bytes
            Most bytes that may be left; this cache's own limit if omitted.
        keep
            Key of an embedding not to delete.
        """
        limit = self.limit_bytes if limit_bytes is None else limit_bytes
        self._sweep(_ABANDONED_S)
        there = self.embeddings()
        total, gone = sum(item.size for item in there), []
        for item in reversed(there):
            if total <= limit:
                break
            if item.key != keep:
                remove_folder(item.path)
                gone.append(item)
                total -= item.size
        return gone

    def clear(self) -> list[CachedEmbedding]:
        """Delete everything; return what went."""
        gone = self.prune(-1)
        self._sweep(0)
        for path in _named(self.root / _SCANS, _SCAN):
            path.unlink(missing_ok=True)
        return gone

    def _take_over(self, key: str) -> None:
        """Move an embedding of version 0.1.0, which lay among what is not the cache's own, to the others."""
        root = self.root
        if root == self.folder:
            return
        for name in (f"{key}{FINISHED}", f"{key}{BEGUN}"):
            if not (root / name).exists() and _about(self.folder / name):
                with suppress(OSError):
                    _mark(root)
                    (self.folder / name).rename(root / name)

    def _make_room(self, wanted: int, key: str) -> bool:
        if wanted > self.limit_bytes:
            logger.warning(
                "An embedding of %.1f GB is larger than the cache may be, %.1f GB, and is not kept. "
                "Set %s to allow more.",
                wanted / 1e9,
                self.limit_bytes / 1e9,
                LIMIT_VARIABLE,
            )
            return False
        _mark(self.root)
        self.prune(self.limit_bytes - wanted, keep=key)
        return True

    def _folders(self) -> list[Path]:
        return [path for path in _named(self.root, _ENTRY) if path.is_dir()]

    def _sweep(self, older_than_s: float) -> None:
        """Delete what was being written or deleted when its process ended."""
        for path in [*_named(self.root, _TEMPORARY), *_named(self.root / _SCANS, _TEMPORARY)]:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime < older_than_s:
                    continue
                if path.is_dir():
                    remove_folder(path)
                else:
                    path.unlink()


def _is_no_folder(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _time(seconds: float) -> datetime:
    """Return a time; one beyond all calendars, as a damaged file system has, is the first of all."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _named(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """List what is called so in a folder; nothing that lies elsewhere and is linked to."""
    try:
        return [path for path in folder.iterdir() if names.fullmatch(path.name) and not path.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_own(folder: Path) -> bool:
    """Say whether a folder is the cache's alone: marked so, or of nothing but what it writes."""
    try:
        if _OWN in (folder / _TAG_FILE).read_bytes():
            return True
    except OSError:
        pass
    try:
        there = [path for path in folder.iterdir() if path.name != _TAG_FILE]
        scans = list((folder / _SCANS).iterdir()) if folder / _SCANS in there else []
    except OSError:
        return True  # not there, or no folder: whoever writes will say it
    others = [path for path in there if not (_ENTRY.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name))]
    strange = [path for path in scans if not (_SCAN.fullmatch(path.name) or _TEMPORARY.fullmatch(path.name))]
    return not strange and all(path == folder / _SCANS for path in others)


def _mark(root: Path) -> None:
    """Make the folder, and write into it that all that is called as ours is ours."""
    root.mkdir(parents=True, exist_ok=True)
    tag = root / _TAG_FILE
    if not tag.exists() or _OWN not in tag.read_bytes():
        tag.write_bytes(_TAG)


def _about(path: Path) -> dict[str, Any]:
    try:
        about: Any = (
            ome.read_about(path)
            if path.suffix == FINISHED
            else json.loads(read_regular(path / ABOUT_FILE, _MOST_ABOUT))
        )
    except (*ome.DAMAGE, RecursionError):
        return {}
    return about if _can_be_listed(about) else {}


def _can_be_listed(about: object) -> bool:
    if not isinstance(about, dict):
        return False
    region, words = about.get("region"), (about.get("image"), about.get("encoder"))
    whole = isinstance(region, dict) and {"y", "x", "height", "width", "level"} <= region.keys()
    return whole and all(isinstance(word, str) for word in words) and isinstance(about.get("grid"), list)


Parts = Sequence[Region] | None
"""The only parts of a region that are scanned; None for all of it."""


def recall_scan(folder: Path, file: FileIdentity, region: Region, parts: Parts = None) -> RegionScan | None:
    """Return what was seen in a region of a file, or None if that is not known or its record is damaged."""
    try:
        record = json.loads(read_regular(_path(folder, file, region, parts), _MOST_ABOUT))
        values = record["scan"]
        if record["check"] != digest_of(values):
            return None
        return RegionScan(**{**values, "window": tuple(values["window"])})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_scan(
    folder: Path, file: FileIdentity, region: Region, scan: RegionScan, parts: Parts = None
) -> None:
    """Write down what was seen in a region of a file.

    Raises
    ------
    OSError
        If that cannot be written.
    """
    values = asdict(scan)
    record = {"scan": values, "check": digest_of(values)}
    with whole_file(_path(folder, file, region, parts)) as out:
        out.write(json.dumps(record).encode())


def _path(folder: Path, file: FileIdentity, region: Region, parts: Parts) -> Path:
    limited = {} if parts is None else {"parts": [part.to_dict() for part in parts]}
    known = {key: value for key, value in asdict(file).items() if key != "reading" or value}
    return folder / f"{digest_of({**known, **region.to_dict(), **limited})}.json"


NUMERICS = 1
"""Raise it whenever the same pixels, weights and options come to give other tokens."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the hash, as 64 hexadecimal digits, of JSON-ready facts and of `NUMERICS`.

    Parameters
    ----------
    facts
        All that decides the numbers; the order of names does not matter.
    """
    return digest_of({"numerics": NUMERICS, **facts})


_LOGGER = "napari_sslmaps.cache"


class _Listener(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell
        self._thread = get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._tell(record.getMessage())


@contextmanager
def cache_warnings(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell every warning that the cache logs on this thread: what could not be kept, what was damaged."""
    listener, logger = _Listener(tell), logging.getLogger(_LOGGER)
    logger.addHandler(listener)
    try:
        yield
    finally:
        logger.removeHandler(listener)
