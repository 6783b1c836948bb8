"""The encoders beyond the embedded ones: a user's files and the published, behind one small protocol."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.registry import list_encoders
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.encoders.user_encoders import UserEncodersWarning, forget, remember, remembered

if TYPE_CHECKING:
    from napari_sslmaps.encoders.checkpoint.report import RecognitionReport

OnBytes = Callable[[int, int], None]


class Library(Protocol):
    """Looks at weight files, remembers them, and fetches published ones."""

    def remembered(self, warn: Callable[[str], None]) -> list[EncoderSpec]:
        """Return the files of the user; a `trouble` says which has moved or changed.

        `warn` is told in a sentence if the list itself cannot be read.
        """
        ...

    def published(self) -> list[EncoderSpec]:
        """Return encoders that their authors published; a `trouble` says which is not downloaded."""
        ...

    def inspect(self, path: Path, overrides: Overrides) -> "RecognitionReport":
        """Say what a weight file holds."""
        ...

    def remember(self, path: Path, overrides: Overrides, name: str) -> EncoderSpec:
        """Load a weight file to check it, and list it from now on."""
        ...

    def forget(self, name: str) -> None:
        """List a file no more; the file stays."""
        ...

    def download(self, name: str, on_bytes: OnBytes) -> None:
        """Fetch a published encoder whose licence was accepted; `on_bytes` may raise `Cancelled`."""
        ...


class FileLibrary:
    """The list of the user's files, and the hub's cache."""

    def remembered(self, warn: Callable[[str], None]) -> list[EncoderSpec]:
        """Read the list, without torch."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserEncodersWarning)
            specs = remembered()
        for warning in caught:
            warn(str(warning.message))
        return specs

    def published(self) -> list[EncoderSpec]:
        """List what is published, without torch and without network."""
        return [spec for spec in list_encoders(published=True) if spec.origin == "published"]

    def inspect(self, path: Path, overrides: Overrides) -> "RecognitionReport":
        """Read the file and try its network once."""
        from napari_sslmaps.encoders.checkpoint.read import inspect_checkpoint

        return inspect_checkpoint(path, overrides)

    def remember(self, path: Path, overrides: Overrides, name: str) -> EncoderSpec:
        """Put the file on the list."""
        return remember(path, overrides, name=name)

    def forget(self, name: str) -> None:
        """Take the file off the list."""
        forget(name)

    def download(self, name: str, on_bytes: OnBytes) -> None:
        """Fetch into the hub's cache."""
        from napari_sslmaps.encoders.published.fetch import download_encoder

        download_encoder(name, accept_licence=True, on_progress=on_bytes)
