"""Downloading published encoders: asked for, resumed after a cut, verified, into the hub's own cache.

Weights travel by plain HTTP into a file beside the cache's blobs, which survives a cut and a cancelled
download; only once its hash is right does it become a blob. The rest of the cache is left to huggingface_hub.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from filelock import FileLock, Timeout

from napari_sslmaps.encoders.published.entry import Published
from napari_sslmaps.encoders.published.local import find_local, get_published, how_to_bring
from napari_sslmaps.errors import LicenceNotAcceptedError, SSLMapsError, WeightsUnavailableError
from napari_sslmaps.files import hash_path

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

OnBytes = Callable[[int, int], None]
_SHA256_DIGITS = 64


def download_encoder(name: str, *, accept_licence: bool = False, on_progress: OnBytes | None = None) -> Path:
    """Download a published encoder into the hub's cache, unless it is there.

    ``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE`` and ``HF_TOKEN`` are heeded as huggingface_hub does.

    Parameters
    ----------
    name
        A name of ``list_encoders(published=True)``.
    accept_licence
        Whether the user has read its licence and accepts it.
    on_progress
        Callback, called with bytes done and bytes in total; may raise `Cancelled` to stop. What has arrived
        is kept, and the next call continues from there.

    Returns
    -------
    Path
        The folder with its files.

    Raises
    ------
    EncoderNotFoundError
        If none of that name is published.
    LicenceNotAcceptedError
        If it would be downloaded but the licence is not accepted.
    WeightsUnavailableError
        If it cannot be had: no network, no access, not there, damaged on its way, no room; or if its authors
        keep it elsewhere than on the hub.

    Examples
    --------
    >>> import napari_sslmaps as ssl
    >>> ssl.download_encoder("a-name-that-nobody-published", accept_licence=True)
    Traceback (most recent call last):
        ...
    napari_sslmaps.errors.EncoderNotFoundError: ...
    >>> folder = ssl.download_encoder("dinov2-vit-s14", accept_licence=True)  # doctest: +SKIP
    """
    entry = get_published(name)
    folder = find_local(entry)
    if folder is not None:
        return folder
    if not accept_licence:
        raise LicenceNotAcceptedError(
            f"Expected the licence of {name} to be accepted before it is downloaded: {entry.licence}. "
            f"{entry.terms}. Accept it with --accept-licence, or accept_licence=True."
        )
    if entry.elsewhere:
        raise WeightsUnavailableError(
            f"Expected an encoder of the hub; the authors of {name} keep theirs elsewhere. "
            f"{how_to_bring(entry)}."
        )
    with errors_in_sentences(entry):
        return _download(entry, on_progress)


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file of a repository, as its server describes it."""

    name: str
    url: str
    etag: str
    size: int

    @property
    def has_hash(self) -> bool:
        """Whether its etag is a SHA-256, as the hub has for weights; a mirror may have another."""
        return len(self.etag) == _SHA256_DIGITS


def _download(entry: Published, on_progress: OnBytes | None) -> Path:
    from huggingface_hub import hf_hub_download

    remotes = [*_descriptions(entry), _weights(entry)]
    total, done = sum(remote.size for remote in remotes), 0
    for remote in remotes:
        bar_class = _bar_class(on_progress, done, total)
        if remote.has_hash:
            _fetch_blob(entry, remote, bar_class)
        path = Path(hf_hub_download(entry.repository, remote.name, tqdm_class=bar_class))
        done += remote.size
        if on_progress is not None:
            on_progress(done, total)
    return path.parent


def _descriptions(entry: Published) -> list[_Remote]:
    from huggingface_hub.errors import EntryNotFoundError

    if not entry.descriptions:
        return []
    needed, further = entry.descriptions
    found = [_ask(entry, needed)]
    try:
        found.append(_ask(entry, further))
    except EntryNotFoundError:
        return found  # what it says is told by the method, too
    return found


def _weights(entry: Published) -> _Remote:
    from huggingface_hub.errors import EntryNotFoundError

    *preferred, last = entry.weight_names
    for name in preferred:
        try:
            return _ask(entry, name)
        except EntryNotFoundError:
            continue
    return _ask(entry, last)


def _ask(entry: Published, name: str) -> _Remote:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(entry.repository, name)
    answer: HfFileMetadata = get_hf_file_metadata(url, token=None)
    if answer.etag is None or answer.size is None:
        raise WeightsUnavailableError(
            f"Expected the size and hash of {name} from {url}; the server tells neither. If HF_ENDPOINT is "
            "set, check that it names a server of such files."
        )
    return _Remote(name, url, answer.etag, answer.size)


def _fetch_blob(entry: Published, remote: _Remote, bar_class: type) -> None:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    cache = Path(constants.HF_HUB_CACHE)
    folder = repo_folder_name(repo_id=entry.repository, repo_type="model")
    blob = cache / folder / "blobs" / remote.etag
    partial = blob.with_name(f"{remote.etag}.napari-sslmaps.incomplete")
    lock = cache / ".locks" / folder / f"{remote.etag}.napari-sslmaps.lock"
    for path in (blob, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, blocking=False):
            if not blob.exists():
                _fetch(remote, partial, bar_class)
                _verify(remote, partial)
                partial.replace(blob)
    except Timeout as error:
        raise WeightsUnavailableError(
            f"Expected to download {entry.name}; another process is downloading it. Wait for it to end."
        ) from error


def _fetch(remote: _Remote, partial: Path, bar_class: type) -> None:
    here = partial.stat().st_size if partial.exists() else 0
    if here > remote.size:
        partial.unlink()
        here = 0
    free = shutil.disk_usage(partial.parent).free
    if free < remote.size - here:
        raise WeightsUnavailableError(
            f"Expected {(remote.size - here) / 1e6:.0f} MB of free space at {partial.parent}; there are "
            f"{free / 1e6:.0f} MB. Free some, or name another disk in HF_HOME."
        )
    while _goes_on(remote, partial, bar_class):
        pass


def _goes_on(remote: _Remote, partial: Path, bar_class: type) -> bool:
    """Fetch from where the partial file ends; whether it was cut off but more than before has arrived."""
    from httpx2 import NetworkError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    with partial.open("ab") as file:
        here = file.tell()
        try:
            http_get(
                remote.url,
                file,
                resume_size=here,
                headers=build_hf_headers(),
                expected_size=remote.size,
                displayed_filename=remote.name,
                tqdm_class=bar_class,
            )
        except (NetworkError, OSError):
            if not here < file.tell() < remote.size:
                raise
            return True
    return False


def _verify(remote: _Remote, partial: Path) -> None:
    found = hash_path(partial)
    if found != remote.etag:
        partial.unlink()
        raise WeightsUnavailableError(
            f"Expected {remote.name} with sha256 {remote.etag[:12]}…; what arrived has {found[:12]}…. It was "
            "damaged on its way and is removed; download it again."
        )


def _bar_class(on_progress: OnBytes | None, before: int, total: int) -> type:
    """Make a class with what huggingface_hub asks of a progress bar; it reports instead of drawing."""

    class Bar:
        def __init__(self, *, initial: int = 0, **_drawing: Any) -> None:
            self.reached = initial

        def update(self, count: int) -> None:
            self.reached += count
            if on_progress is not None:
                on_progress(before + self.reached, total)

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            return None

    return cast("type", Bar)


@contextmanager
def errors_in_sentences(entry: Published) -> Iterator[None]:
    """Turn every error of a download into a sentence that says what to do.

    Raises
    ------
    WeightsUnavailableError
        If huggingface_hub or its HTTP client raises; this package's own errors pass.
    """
    from httpx2 import ConnectError, ConnectTimeout, HTTPError, ProxyError
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except SSLMapsError:
        raise
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, ConnectError, ConnectTimeout, ProxyError) as error:
        raise WeightsUnavailableError(
            f"Expected a network to download {entry.name}; there is none ({_first_line(error)}). "
            f"{how_to_bring(entry)}."
        ) from error
    except HfHubHTTPError as error:
        raise WeightsUnavailableError(_refusal(entry, error.response.status_code)) from error
    except (HTTPError, OSError) as error:
        raise WeightsUnavailableError(
            f"Expected to download {entry.name} whole; it was cut off ({_first_line(error)}). What has "
            "arrived is kept: ask again, and it goes on from there."
        ) from error


def _refusal(entry: Published, status: int) -> str:
    """Say what a server's refusal means for this encoder, and what to do."""
    token = "a token of yours in HF_TOKEN, or log in with: hf auth login"  # noqa: S105  # words, no token
    if status in (401, 403) and entry.gated:
        return (
            f"Expected access to {entry.repository}; its authors grant it on request, and the server refuses "
            f"({status}). Ask for it at {entry.page}, signed in, and once it is granted put {token}"
        )
    if status in (401, 403):
        return (
            f"Expected access to {entry.repository}; the server refuses ({status}). If a token is set, check "
            f"that it is valid; otherwise put {token}"
        )
    if status == 404:
        return (
            f"Expected {entry.repository} with {' or '.join(entry.weight_names)}; the server has none of it "
            f"(404). It may have been renamed: look at {entry.page}, and add what you find there as "
            "a file of yours."
        )
    return f"Expected {entry.repository}; the server answers {status}. Try again later."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
