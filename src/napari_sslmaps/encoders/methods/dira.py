"""DiRA: its facts, and key names of U-Nets and ResNets."""

import re
from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.methods.contrastive import facts_of_views
from napari_sslmaps.encoders.methods.method import Claim, KeyLayout, Method
from napari_sslmaps.encoders.recognition import PretextHeads, Translated, Unwrapped, separate

_BESIDE: Mapping[str, str] = {
    "discriminator.": "discriminator",
    "projection.": "projection head",
    "fc.": "projection head",
    "queue": "queue of keys",
    **dict.fromkeys(("projector.", "projection_head.", "prototypes.", "predictor."), "projection head"),
    "classifier.": "classification head",
}


_PLAIN = re.compile(r"decoder\.blocks\.\d+\.conv[12]\.[01]\.|segmentation_head\.0\.")
"""Keys of a U-Net's decoder of five blocks, normed and without attention; those of U-Net++ and FPN differ."""


def _is_unet(file: Unwrapped) -> bool:
    return "encoder.conv1.weight" in file.tensors


def _is_resnet(file: Unwrapped) -> bool:
    return {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= set(file.tensors)


def translate_unet(file: Unwrapped) -> Translated:
    """Translate a U-Net of DiRA's training, out of its momentum-contrast wrapper, or this package's own."""
    behind = [key for key in file.tensors if key.startswith(("decoder.", "segmentation_head."))]
    whole = {"decoder.blocks.0.conv1.1.weight", "decoder.blocks.4.conv1.0.weight"} <= set(file.tensors)
    plain = whole and all(_PLAIN.match(key) for key in behind)
    layout = "segmentation-models-pytorch U-Net" if plain else "U-Net's encoder"
    others = {} if plain else dict.fromkeys(("decoder.", "segmentation_head."), "decoder of another network")
    return _with_projection(separate(file, layout, {**_BESIDE, **others}))


def translate_resnet(file: Unwrapped) -> Translated:
    """Translate a ResNet in torchvision's names, as DiRA saves when it learns by discrimination alone."""
    translated = _with_projection(separate(file, "torchvision ResNet", _BESIDE))
    state = {f"encoder.{key}": value for key, value in translated.state.items()}
    return replace(translated, state=state, facts=facts_of_views(file))


def _with_projection(translated: Translated) -> Translated:
    """Call the two layers behind the pooled features as this package's own files do."""
    pretext_heads = {
        f"projection.{key.removeprefix('fc.')}" if key.startswith("fc.") else key: tensor
        for key, tensor in translated.pretext_heads.state.items()
    }
    return replace(translated, pretext_heads=PretextHeads(pretext_heads, translated.pretext_heads.settings))


DIRA = Method(
    name="dira",
    title="DiRA",
    objective="unites discriminative, restorative and adversarial learning",
    citation="Haghighi et al., DiRA: Discriminative, Restorative, and Adversarial Learning for "
    "Self-supervised Medical Image Analysis, CVPR 2022; Medical Image Analysis 2024, 103086",
    normalisation="unit",
    eps=1e-5,
    attention_note="a CNN has no attention: activation is shown instead",
    learns_from="discriminative, restorative and adversarial",
    families=("unet",),
    claim=Claim(
        paper="Haghighi et al., CVPR 2022, arXiv 2204.10437",
        text="gains where few images are labelled, and localisation from image-level labels",
        scores=("label-efficiency", "localisation"),
    ),
    beside=_BESIDE,
    pretext_parts={"discriminator.": "discriminator", "projection.": "projection head"},
    layouts=(KeyLayout(_is_unet, translate_unet), KeyLayout(_is_resnet, translate_resnet)),
    file_holds="the query U-Net, its projection head and the patch discriminator",
    rights="The authors' code (academic use only) was not used. Its authors state that a patent on the "
    "method is pending: whether you may use the method is for you to find out.",
    pretext="napari_sslmaps.pretext.dira:restoration_view",
    edits="distort",
)
