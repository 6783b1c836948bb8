"""What goes wrong on the way to published weights, in sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from napari_sslmaps.encoders.published.catalog import WEIGHTS, Published
from napari_sslmaps.encoders.published.local import how_to_bring
from napari_sslmaps.errors import SSLMapsError, WeightsUnavailableError


@contextmanager
def said_in_sentences(entry: Published) -> Iterator[None]:
    """Turn every error of a download into a sentence that says what to do.

    Raises
    ------
    WeightsUnavailableError
        Instead of what huggingface_hub and its HTTP client raise; this package's own errors pass.
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
            f"Expected {entry.repository} with {' or '.join(WEIGHTS)}; the server has none of it (404). It "
            f"may have been renamed: look at {entry.page}, and add what you find there as a file of yours."
        )
    return f"Expected {entry.repository}; the server answers {status}. Try again later."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
