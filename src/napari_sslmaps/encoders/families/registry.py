"""Families of encoders by name, and their architectures as plain dictionaries."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from inspect import signature
from typing import Any

from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.errors import CheckpointError


def architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    """Return a JSON-ready description; `architecture_from_dict` reads it back."""
    return {"kind": architecture.kind, **asdict(architecture)}


def architecture_from_dict(description: Mapping[str, Any]) -> Architecture:
    """Rebuild an architecture from `architecture_to_dict`'s description.

    Raises
    ------
    CheckpointError
        If the description names an unknown kind or has missing or unknown fields.
    """
    values = dict(description)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise CheckpointError(
            f"Expected an architecture of kind {' or '.join(_KINDS)}; the file says {kind!r}."
        )
    build = _KINDS[kind]
    unknown = set(values) - set(signature(build).parameters)
    if unknown:
        raise CheckpointError(
            f"The architecture in the file has fields this version does not know: "
            f"{', '.join(sorted(unknown))}. Update napari-sslmaps to read it."
        )
    plain = {key: tuple(val) if isinstance(val, list) else val for key, val in values.items()}
    try:
        return build(**plain)
    except TypeError as error:
        raise CheckpointError(f"The architecture in the file is incomplete: {error}.") from error


_KINDS: Mapping[str, Callable[..., Architecture]] = {
    "vit": ViTArchitecture,
    "unet": UNetArchitecture,
}
