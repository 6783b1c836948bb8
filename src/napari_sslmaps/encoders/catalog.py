"""Data only: what is known of each method, and which encoders this package carries."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from napari_sslmaps.core.resolution import Resolution
from napari_sslmaps.core.scale import TokenScale
from napari_sslmaps.encoders.families.registry import architecture_from_dict
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.spec import DOMAINS, Domain, EncoderSpec
from napari_sslmaps.errors import WeightsUnavailableError

EMBEDDED: tuple[str, ...] = tuple(
    f"{method}-{domain}"
    for domain in ("histology", "ultrasound")
    for method in ("mae", "ijepa", "dinov3", "dira")
)
"""Encoders carried in the package, as ``weights/<name>.safetensors`` with a model card ``<name>.md``."""
CONTROLS: Mapping[str, str] = {
    "mae-untrained": "mae-histology",
    "ijepa-untrained": "ijepa-histology",
    "dinov3-untrained": "dinov3-histology",
    "dira-untrained": "dira-histology",
    "mae-ultrasound-untrained": "mae-ultrasound",
    "ijepa-ultrasound-untrained": "ijepa-ultrasound",
    "dinov3-ultrasound-untrained": "dinov3-ultrasound",
    "dira-ultrasound-untrained": "dira-ultrasound",
}
"""Untrained networks, each with its twin: the encoder of the same shape and normalisation."""
ALIASES: Mapping[str, str] = {
    "mae-demo": "mae-histology",
    "ijepa-demo": "ijepa-histology",
    "dinov3-demo": "dinov3-histology",
    "dira-demo": "dira-histology",
}
"""Earlier names, each with the name that it stands for."""
NAMES: tuple[str, ...] = (*EMBEDDED, *CONTROLS, *ALIASES)
"""Every name that `load_encoder` knows."""


_TRAINED: Mapping[Domain, Resolution] = {"ultrasound": Resolution(short_side=192)}
"""Resolutions that the embedded encoders learned at: a whole sector fills a field."""
_SCALES: Mapping[Domain, TokenScale] = {
    "histology": TokenScale(2.0, "%"),
    "ultrasound": TokenScale(3.0, "%"),
}
"""Small scales that gain most of what the best do (docs/scale-scores.md); those blur what one looks at."""
_SHA256 = re.compile("SHA-256 `([0-9a-f]{64})`")


def domain_of(name: str) -> Domain:
    """Return what kind of images an embedded encoder was trained on; empty for controls."""
    domain = ALIASES.get(name, name).rpartition("-")[2]
    return next((known for known in DOMAINS if known == domain), "")


def names_for(domain: Domain) -> tuple[str, ...]:
    """Return the embedded encoders trained on a domain; all of them if there are none."""
    return tuple(name for name in EMBEDDED if domain_of(name) == domain) or EMBEDDED


def weights_path(name: str) -> Path:
    """Return an embedded encoder's weight file, or raise `WeightsUnavailableError` if it is lost."""
    path = _weights_folder() / f"{ALIASES.get(name, name)}.safetensors"
    if not path.is_file():
        raise WeightsUnavailableError(
            f"The weight file of {name} is missing from the installation ({path}). "
            "Install napari-sslmaps again."
        )
    return path


def recorded_sha256(name: str) -> str:
    """Return the hash that an embedded encoder's card gives of its weight file; empty if there is no card."""
    card = weights_path(name).with_suffix(".md")
    found = _SHA256.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return "" if found is None else found[1]


def _weights_folder() -> Path:
    return Path(str(files("napari_sslmaps.encoders").joinpath("weights")))


def embedded_spec(name: str) -> EncoderSpec:
    """Return what an embedded encoder, or a control drawn like one, says of itself."""
    is_control = name in CONTROLS
    path = weights_path(CONTROLS.get(name, name))
    header = read_header(path)
    return EncoderSpec(
        name=name,
        method=header["method"],
        architecture=architecture_from_dict(header["architecture"]),
        normalisation=header["normalisation"],
        path=None if is_control else path,
        sha256="",
        licence=header["licence"],
        origin="control" if is_control else "embedded",
        domain=domain_of(name),
        alias_of=ALIASES.get(name, ""),
        trained=_TRAINED.get(domain_of(CONTROLS.get(name, name))),
        scale=_SCALES.get(domain_of(CONTROLS.get(name, name))),
    )
