"""Whether what a record names is still as it was: images, weights, masks."""

import os
from dataclasses import replace
from pathlib import Path

from napari_sslmaps.encoders.catalog import EMBEDDED, NAMES
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.registry import get_spec, hash_encoder
from napari_sslmaps.encoders.spec import EncoderSpec
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import hash_path
from napari_sslmaps.records.places import Places
from napari_sslmaps.records.run import EncoderRecord, MaskRecord


def check_unchanged(what: str, path: Path, sha256: str) -> None:
    """Refuse to go on where a file of a record has changed, or is gone.

    Raises
    ------
    RecordError
        If one has; the sentence says what has changed.
    """
    if not os.path.exists(path):  # noqa: PTH110  # it says no where Path's raises
        raise RecordError(
            f"Expected the {what} of this record at {path}; there is nothing. Put it back, say with --images "
            "in which folder it is, or run again without --from."
        )
    now = hash_path(path)
    if now != sha256:
        raise RecordError(
            f"Expected the {what} of this record (sha256 {sha256[:12]}…); {path} has changed "
            f"(sha256 {now[:12]}…). Restore it, or run again without --from."
        )


def checked_encoder(encoder: EncoderRecord, places: Places) -> EncoderRecord:
    """Return the encoder of a record where its weights are now.

    Raises
    ------
    RecordError
        If they have changed, or are gone.
    """
    listed = encoder.name in NAMES or encoder.name in PUBLISHED
    spec = get_spec(encoder.name) if listed else None
    if spec is not None and spec.trouble:
        raise RecordError(spec.trouble)
    path = places.find(encoder.name, encoder.sha256) if spec is None else spec.path
    if encoder.name in EMBEDDED and path is not None:
        _check_trained_alike(encoder, hash_path(path))
    elif path is not None:
        check_unchanged(f"weight file of {encoder.name}", path, encoder.sha256)
    elif (drawn := hash_encoder(encoder.name)) != encoder.sha256:
        raise RecordError(
            f"Expected the weights of {encoder.name} of this record (sha256 {encoder.sha256[:12]}…); this "
            f"torch and processor draw others (sha256 {drawn[:12]}…). Run again without --from."
        )
    return encoder if spec is not None or path is None else replace(encoder, name=str(path))


def _check_trained_alike(encoder: EncoderRecord, now: str) -> None:
    if now != encoder.sha256:
        raise RecordError(
            f"Expected {encoder.name} as this record knows it (sha256 {encoder.sha256[:12]}…); it was "
            f"trained anew since (sha256 {now[:12]}…). Install the version of napari-sslmaps that wrote the "
            "record, or run again without --from."
        )


def checked_mask(mask: MaskRecord | None, places: Places) -> MaskRecord | None:
    """Return the mask of a record where it is now.

    Raises
    ------
    RecordError
        If it is gone or has changed.
    """
    if mask is None:
        return None
    path = places.find(mask.path, mask.sha256)
    check_unchanged("mask", path, mask.sha256)
    return replace(mask, path=str(path))


def lasting_name(spec: EncoderSpec) -> str:
    """Return a name that means the same elsewhere: of a user's file its path, not what it is called here."""
    if spec.origin == "file" and spec.path is not None:
        return str(spec.path.absolute())
    return spec.name
