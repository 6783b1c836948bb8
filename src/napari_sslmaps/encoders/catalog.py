"""Data only: what is known of each method, and which encoders this package carries."""

from collections.abc import Mapping
from dataclasses import dataclass

from napari_sslmaps.encoders.spec import DOMAINS, Domain, Method


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """Facts that hold for every encoder of a method.

    Parameters
    ----------
    title
        The method's name as its authors write it.
    objective
        What the encoder was trained to do, in a few words.
    licence
        Licence of the authors' published weights, shown beside a user's file.
    citation
        Where the method is described.
    normalisation
        Preset that its files expect unless told otherwise.
    eps
        LayerNorm epsilon of the authors' code; files do not hold it.
    attention_note
        How to read its attention map.
    """

    title: str
    objective: str
    licence: str
    citation: str
    normalisation: str
    eps: float
    attention_note: str


METHOD_INFO: Mapping[Method, MethodInfo] = {
    "mae": MethodInfo(
        title="MAE",
        objective="reconstructs the pixels of masked patches",
        licence="CC-BY-NC-4.0",
        citation="He et al., Masked Autoencoders Are Scalable Vision Learners, arXiv 2111.06377",
        normalisation="imagenet",
        eps=1e-6,
        attention_note="CLS query; weak, since CLS has no loss term of its own",
    ),
    "ijepa": MethodInfo(
        title="I-JEPA",
        objective="predicts the latent tokens of masked blocks",
        licence="CC-BY-NC-4.0",
        citation="Assran et al., Self-Supervised Learning from Images with a Joint-Embedding "
        "Predictive Architecture, arXiv 2301.08243",
        normalisation="imagenet",
        eps=1e-6,
        attention_note="mean over patch queries; there is no CLS token",
    ),
    "dino": MethodInfo(
        title="DINO",
        objective="matches the views of an image",
        licence="Apache-2.0",
        citation="Caron et al., Emerging Properties in Self-Supervised Vision Transformers, arXiv 2104.14294",
        normalisation="imagenet",
        eps=1e-6,
        attention_note="CLS query",
    ),
    "dinov2": MethodInfo(
        title="DINOv2",
        objective="matches the views and masked patches of an image",
        licence="Apache-2.0",
        citation="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, "
        "arXiv 2304.07193",
        normalisation="imagenet",
        eps=1e-6,
        attention_note="CLS query",
    ),
    "dinov3": MethodInfo(
        title="DINOv3",
        objective="matches the views and masked patches of an image, with Gram anchoring",
        licence="DINOv3 License",
        citation="Siméoni et al., DINOv3, arXiv 2508.10104",
        normalisation="imagenet",
        eps=1e-5,
        attention_note="CLS query",
    ),
    "dira": MethodInfo(
        title="DiRA",
        objective="unites discriminative, restorative and adversarial learning",
        licence="academic use only, patent pending",
        citation="Haghighi et al., DiRA: Discriminative, Restorative, and Adversarial Learning for "
        "Self-supervised Medical Image Analysis, CVPR 2022; Medical Image Analysis 2024, 103086",
        normalisation="unit",
        eps=1e-5,
        attention_note="a CNN has no attention: activation is shown instead",
    ),
}

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


def domain_of(name: str) -> Domain:
    """Return what kind of images an embedded encoder was trained on; empty for controls."""
    domain = ALIASES.get(name, name).rpartition("-")[2]
    return next((known for known in DOMAINS if known == domain), "")


def names_for(domain: Domain) -> tuple[str, ...]:
    """Return the embedded encoders trained on a domain; all of them if there are none."""
    return tuple(name for name in EMBEDDED if domain_of(name) == domain) or EMBEDDED
