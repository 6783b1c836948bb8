"""Families of encoders by kind, and their architectures as plain dictionaries."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from inspect import signature
from typing import Any

from napari_sslmaps.encoders.families.convnext import CONVNEXT
from napari_sslmaps.encoders.families.family import Family, Network
from napari_sslmaps.encoders.families.unet import UNET
from napari_sslmaps.encoders.families.vit import VIT
from napari_sslmaps.encoders.spec import Architecture
from napari_sslmaps.errors import CheckpointError, RecordError
from napari_sslmaps.serialise import load

FAMILIES: Mapping[str, Family] = {
    family.kind: family
    for family in (
        VIT,
        UNET,
        CONVNEXT,
    )
}


def network_of(architecture: Architecture) -> Network:
    """Return what is done with networks of an architecture; loads torch."""
    return FAMILIES[architecture.kind].load_network()


def architecture_to_dict(architecture: Architecture) -> dict[str, Any]:
    """Return a JSON-ready description; `architecture_from_dict` reads it back."""
    later = FAMILIES[architecture.kind].later
    usual = {entry.name: entry.default for entry in fields(architecture) if entry.name in later}
    written = {
        key: value for key, value in asdict(architecture).items() if key not in usual or value != usual[key]
    }
    return {"kind": architecture.kind, **written}


def architecture_from_dict(description: Mapping[str, Any]) -> Architecture:
    """Rebuild an architecture from `architecture_to_dict`'s description.

    Raises
    ------
    CheckpointError
        If the description names an unknown kind or has missing or unknown fields.
    """
    values = dict(description)
    kind = values.pop("kind", None)
    if kind not in FAMILIES:
        raise CheckpointError(
            f"Expected an architecture of kind {' or '.join(FAMILIES)}; the file says {kind!r}."
        )
    build = FAMILIES[kind].architecture
    unknown = set(values) - set(signature(build).parameters)
    if unknown:
        raise CheckpointError(
            f"The architecture in the file has fields this version does not know: "
            f"{', '.join(sorted(unknown))}. Update napari-sslmaps to read it."
        )
    try:
        architecture: Architecture = load(build, values, "an architecture in a weight file")
    except RecordError as error:
        raise CheckpointError(str(error)) from error
    return architecture
