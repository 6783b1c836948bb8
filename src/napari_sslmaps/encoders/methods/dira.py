"""DiRA: key names of U-Nets and ResNets."""

from collections.abc import Mapping
from dataclasses import replace

from napari_sslmaps.encoders.recognition import Companions, Translated, Unwrapped, separate

BESIDE: Mapping[str, str] = {
    "discriminator.": "discriminator",
    "projection.": "projection head",
    "fc.": "projection head",
    "queue": "queue of keys",
}


def translate_unet(file: Unwrapped) -> Translated:
    """Translate a U-Net of DiRA's training, out of its momentum-contrast wrapper, or this package's own."""
    whole = "decoder.blocks.0.conv1.0.weight" in file.tensors
    layout = "segmentation-models-pytorch U-Net" if whole else "U-Net's encoder"
    return _with_projection(separate(file, layout, BESIDE))


def translate_resnet(file: Unwrapped) -> Translated:
    """Translate a ResNet in torchvision's names, as DiRA saves when it learns by discrimination alone."""
    translated = _with_projection(separate(file, "torchvision ResNet", BESIDE))
    return replace(translated, state={f"encoder.{key}": value for key, value in translated.state.items()})


def _with_projection(translated: Translated) -> Translated:
    """Call the two layers behind the pooled features as this package's own files do."""
    companions = {
        f"projection.{key.removeprefix('fc.')}" if key.startswith("fc.") else key: tensor
        for key, tensor in translated.companions.state.items()
    }
    return replace(translated, companions=Companions(companions, translated.companions.settings))
