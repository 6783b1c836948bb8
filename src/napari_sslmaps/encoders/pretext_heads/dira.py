"""DiRA's judge (Haghighi et al., arXiv 2204.10437): how real each patch of a restored image looks."""

from functools import partial

import torch
from torch import nn

from napari_sslmaps.encoders.pretext_heads.reading import fill, part_of
from napari_sslmaps.encoders.recognition import PretextHeads

DISCRIMINATOR_STRIDE = 8
"""Pixels per score."""


class PatchDiscriminator(nn.Sequential):
    """Judges overlapping patches of a one-channel image, stride 8 (pix2pix, arXiv 1611.07004)."""

    def __init__(self, width: int = 32) -> None:
        layers: list[nn.Module] = []
        channels = 1
        for step in range(3):
            layers += [nn.Conv2d(channels, width << step, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = width << step
        super().__init__(*layers, nn.Conv2d(channels, 1, 3, padding=1))


def read_discriminator(pretext_heads: PretextHeads) -> tuple[PatchDiscriminator | None, str]:
    """Build the discriminator of a file.

    Returns
    -------
    tuple
        The discriminator in evaluation mode, None if the file has none that is known here; and a sentence
        that says so, empty otherwise.
    """
    state = part_of(pretext_heads.state, "discriminator.")
    if not state:
        return None, "The file has no discriminator: there are no scores."
    first = state.get("0.weight")
    build = partial(PatchDiscriminator, 1 if first is None else first.shape[0])
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in build().state_dict().items()}
    if shapes != {key: value.shape for key, value in state.items()}:
        return None, "The file's discriminator is built in a way that is not known here: no scores are shown."
    return fill(build, state, "discriminator"), ""
