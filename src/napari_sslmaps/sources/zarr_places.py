"""Places of zarr: a folder, a zip file, a URL; and the path to an image inside."""

import asyncio
import errno
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.errors import ArrayNotFoundError, GroupNotFoundError, NodeNotFoundError
from zarr.storage import FsspecStore, LocalStore, ZipStore

from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.extras import require_extra
from napari_sslmaps.files import size_of, special_kind
from napari_sslmaps.sources.formats import ZARR_MARKERS

_METADATA, _MOST_METADATA = (*ZARR_MARKERS, ".zmetadata"), 64_000_000
_TRIES, _PAUSE_S = 4, 0.5
_CONNECT_S, _READ_S = 10.0, 30.0


class RegularFiles(LocalStore):
    """A folder of which nothing is read but files: a pipe would be waited for without end."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key; None if there is none.

        Raises
        ------
        OSError
            If it is no file, or metadata longer than any are.
        """
        special = special_kind(self.root / key)
        if special:
            raise OSError(errno.EINVAL, f"{key} in it is {special}")
        if PurePosixPath(key).name in _METADATA:
            with suppress(FileNotFoundError):
                _check_short((self.root / key).stat().st_size, key)
        return await super().get(key, prototype, byte_range)


@dataclass(frozen=True, slots=True)
class ZarrPlace:
    """A place that zarr can be read from.

    Parameters
    ----------
    store
        Store that gives bytes by keys.
    inside
        Path from the store's root to the image, with ``/`` between groups.
    address
        The whole path or URL, for sentences.
    session
        Session that asks a server; None without one.
    """

    store: Store
    inside: str
    address: str
    session: "_Session | None" = None

    @property
    def name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(self.address.replace("\\", "/")).name or Path(self.address).absolute().name

    @property
    def title(self) -> str:
        """Short name for titles."""
        return re.sub(r"(\.ome)?\.(zarr|ozx)(\.zip)?$", "", self.name)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn what goes wrong on the way to a server into a sentence."""
        if self.session is None:
            yield
            return
        try:
            yield
        except (NodeNotFoundError, GroupNotFoundError, ArrayNotFoundError) as error:
            raise UnsupportedImageError(
                f"Expected an OME-Zarr image at {self.address}; there is none. Check the address; a file of "
                "another kind has to be downloaded."
            ) from error
        except self.troubles as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UnsupportedImageError(
                f"Expected {self.address} to be readable; the server did not give it after several tries "
                f"({reason[:160]}). Check the address and the connection, and try again."
            ) from error

    @property
    def troubles(self) -> tuple[type[Exception], ...]:
        """What goes wrong on the way to a server."""
        return self.store.troubles if isinstance(self.store, _PatientStore) else ()

    def above(self) -> "ZarrPlace":
        """Return the place that an address leads through last; close it."""
        return _at(self.address.rpartition("/")[0])

    def stored_bytes(self, inside: str) -> int:
        """Return the bytes that an array has, or all of them where it lies in one file or behind a server."""
        if isinstance(self.store, RegularFiles):
            return size_of(self.store.root / inside)
        return 2**63 if self.session is not None else Path(self.address).stat().st_size

    def close(self) -> None:
        """Let go of the file, or end the connections."""
        self.store.close()
        if self.session is not None:
            self.session.close()


def place_of(where: Path | str, inside: str = "") -> ZarrPlace:
    """Return the place of an image in a folder, in a zip file, or at a URL, which is a string.

    Raises
    ------
    MissingExtraError
        If a URL needs a package that is not installed.
    UnsupportedImageError
        If a file is no zip file, or holds no zarr.
    """
    if isinstance(where, str):
        return _at(where)
    if where.is_dir():
        root = where.absolute()
        if _is_zarr(root.parent):  # what is in there says what this is
            root, inside = root.parent, f"{root.name}/{inside}".rstrip("/")
        return ZarrPlace(RegularFiles(root, read_only=True), inside, str(where))
    return _in_zip(where, inside)


def _is_zarr(folder: Path) -> bool:
    return any((folder / marker).is_file() for marker in ZARR_MARKERS)


def _in_zip(path: Path, inside: str) -> ZarrPlace:
    """Return the place in a zip file; where its root is a folder in there, the way begins there."""
    try:
        with zipfile.ZipFile(path) as file:
            names = [PurePosixPath(name) for name in file.namelist()]
            _check_metadata(file)
    except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
        raise UnsupportedImageError(
            f"Expected a zip file; {path.name} cannot be read ({error}). Copy or download it again."
        ) from error
    roots = [name.parent for name in names if name.name in ZARR_MARKERS]
    if not roots:
        raise UnsupportedImageError(
            f"Expected OME-Zarr in the zip file {path.name}; there is none. Unpack it and open what is in it."
        )
    root = min(roots, key=lambda place: len(place.parts))
    way = (root / inside).as_posix().removeprefix(".").strip("/")
    return ZarrPlace(ZipStore(path, mode="r"), way, str(path / inside) if inside else str(path))


def _check_metadata(file: zipfile.ZipFile) -> None:
    for each in file.infolist():
        if PurePosixPath(each.filename).name in _METADATA:
            _check_short(each.file_size, each.filename)


def _check_short(size: int, name: str) -> None:
    if size > _MOST_METADATA:
        raise UnsupportedImageError(
            f"Expected metadata of at most {_MOST_METADATA / 1e6:g} MB in an OME-Zarr; its {name} has "
            f"{size / 1e6:.0f} MB. Export it again."
        )


def _at(url: str) -> ZarrPlace:
    """Return the place that a URL names; S3 is read without an account unless the environment names one."""
    require_extra("remote")
    scheme = url.split("://", 1)[0].lower()
    session, options = _Session(), {}
    if scheme in ("http", "https"):
        options = {"get_client": session.client, "skip_instance_cache": True}
    elif scheme == "s3":
        known = any(name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"))
        limits = {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S}
        options = {"anon": not known, "config_kwargs": limits, "skip_instance_cache": True}
    try:
        store = _PatientStore.from_url(url, options, read_only=True)
    except (ImportError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedImageError(
            f"Expected an address that can be reached; {url} cannot be ({reason[:160]}). Check it, or "
            "download the image and open that."
        ) from error
    return ZarrPlace(store, "", url.rstrip("/"), session)


class _Session:
    """The connections to a server of one place, which end with it."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, asyncio.AbstractEventLoop]] = []

    async def client(self, **_: Any) -> Any:
        """Return what fsspec asks a server with."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        made = aiohttp.ClientSession(timeout=timeout)
        self._held.append((made, asyncio.get_running_loop()))
        return made

    def close(self) -> None:
        """End them; twice is harmless."""
        while self._held:
            made, loop = self._held.pop()
            asyncio.run_coroutine_threadsafe(made.close(), loop).result(_CONNECT_S)


class _PatientStore(FsspecStore):
    """Asks again after a pause, where a connection breaks off or a server is busy.

    What was asked for at once is ended with it: where one answer fails, nobody waits for the others.
    """

    def __init__(self, *options: Any, **named: Any) -> None:
        super().__init__(*options, **named)
        self._pending: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def close(self) -> None:
        """End what was asked for and has no answer, and the connections of S3's client; twice is harmless."""
        super().close()
        loop, self._loop = self._loop, None
        if loop is not None:
            client = None
            with suppress(AttributeError, RuntimeError):  # of another kind, or never connected
                client = self.fs.s3
            asyncio.run_coroutine_threadsafe(_end(list(self._pending), client), loop).result(_CONNECT_S)

    @property
    def troubles(self) -> tuple[type[Exception], ...]:
        """What goes wrong on the way; S3's client has tried several times before."""
        s3: Any = sys.modules.get("botocore.exceptions")  # loaded where it is asked
        of_s3: tuple[type[Exception], ...] = () if s3 is None else (s3.BotoCoreError, s3.ClientError)
        return (OSError, *_troubles(), *of_s3)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a key; None if there is none."""
        task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            return await self._patiently(key, prototype, byte_range)
        self._pending.add(task)
        try:
            return await self._patiently(key, prototype, byte_range)
        finally:
            self._pending.discard(task)

    async def _patiently(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        for attempt in range(_TRIES):
            try:
                return _part(await super().get(key, prototype, byte_range), byte_range)
            except _troubles() as error:
                status = getattr(error, "status", None)
                if status in (401, 403) and key.rsplit("/", 1)[-1] in _METADATA:
                    return None  # what servers that list nothing say of what is not there
                lasting = status is not None and status < 500 and status != 429
                if lasting or attempt == _TRIES - 1:
                    raise
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        return None


def _part(found: Buffer | None, wanted: ByteRequest | None) -> Buffer | None:
    """Cut out the bytes that were asked for, where a server answers with the whole file all the same."""
    if found is not None and isinstance(wanted, RangeByteRequest) and len(found) > wanted.end - wanted.start:
        return found[wanted.start : wanted.end]
    if found is not None and isinstance(wanted, SuffixByteRequest) and len(found) > wanted.suffix:
        return found[len(found) - wanted.suffix :]
    return found


async def _end(tasks: list[asyncio.Task[Any]], client: Any) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if client is not None:
        await client.close()


def _troubles() -> tuple[type[Exception], ...]:
    import aiohttp

    return (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError, ConnectionError, PermissionError)
