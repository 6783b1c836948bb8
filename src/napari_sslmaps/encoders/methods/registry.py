"""Methods by name."""

from collections.abc import Mapping
from typing import get_args

from napari_sslmaps.encoders.methods.method import MethodInfo
from napari_sslmaps.encoders.spec import Method

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
METHODS: tuple[str, ...] = get_args(Method)
