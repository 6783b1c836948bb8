"""DiRA's task: an image is distorted, and the U-Net restores it in grey (arXiv 2204.10437)."""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from napari_sslmaps.core.pretext_views import RestorationView
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.unet import UNetArchitecture
from napari_sslmaps.encoders.pretext_heads.dira import DISCRIMINATOR_STRIDE, read_discriminator
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.errors import MapUnavailableError
from napari_sslmaps.pretext.distortions import cut_masks, distort, shuffle_index, to_grey
from napari_sslmaps.pretext.input import PretextInput, as_batch
from napari_sslmaps.pretext.options import MethodOptions

_WINDOWS, _DRAWS = 60, 20
_FLIPPED = 0.9


def restoration_view(
    input_: PretextInput, encoder: Encoder, method_options: MethodOptions
) -> RestorationView:
    """Distort the picture and let the U-Net restore it."""
    _check(encoder)
    discriminator, silent = read_discriminator(pretext_heads_of(encoder))
    distorted = _distort(input_.picture, method_options.distortion, method_options.seed)
    network: Any = encoder.extractor.network
    restored = torch.sigmoid(network(as_batch(distorted, encoder)))
    clean = to_grey(torch.from_numpy(input_.picture).permute(2, 0, 1)[None])[0, 0].numpy()
    restoration = restored[0, 0].cpu().numpy()
    error = np.abs(restoration - clean)
    given = np.abs(to_grey(torch.from_numpy(distorted).permute(2, 0, 1)[None])[0, 0].numpy() - clean)
    notes = (_compare(error, given), mirror_note(restoration, clean), silent)
    scores = None if discriminator is None else discriminator.to(encoder.device)(restored)[0, 0].cpu().numpy()
    return RestorationView(
        method=encoder.spec.method,
        region=input_.region,
        grid=input_.grid,
        picture=input_.picture,
        notes=tuple(note for note in notes if note),
        provenance=input_.provenance,
        distorted=distorted,
        restoration=restoration,
        error=error,
        scores=scores,
        score_stride=0.0 if discriminator is None else float(DISCRIMINATOR_STRIDE),
    )


def _check(encoder: Encoder) -> None:
    architecture = encoder.spec.architecture
    if not isinstance(architecture, UNetArchitecture) or not architecture.decoder_channels:
        raise MapUnavailableError(
            f"Expected a U-Net with its decoder, which restores; {encoder.spec.name} is an encoder alone. "
            "Of DiRA's files, unet.pth, best_checkpoint.pth and checkpoint.pth have it; resnet50.pth "
            "does not."
        )
    if architecture.classes != 1:
        raise MapUnavailableError(
            f"Expected a U-Net that restores one grey image; {encoder.spec.name} gives "
            f"{architecture.classes} channels, as one fine-tuned for segmentation does."
        )


def _compare(error: Float32, given: Float32) -> str:
    changed = given > 0
    if not changed.any():
        return f"Mean error: {error.mean():.3f}, of a picture that was not distorted."
    return (
        f"Mean error where the picture was distorted: {error[changed].mean():.3f}; left as distorted, it "
        f"would be {given[changed].mean():.3f}."
    )


def mirror_note(restoration: Float32, clean: Float32) -> str:
    """Say so if the restoration fits better when it is mirrored."""
    plain = float(np.square(restoration - clean).mean())
    flipped = float(np.square(restoration[:, ::-1] - clean).mean())
    if flipped >= _FLIPPED * plain:
        return ""
    return (
        f"The restoration fits the picture better when it is mirrored (squared error {flipped:.4f}, not "
        f"{plain:.4f}): DiRA's public training code mirrors the input at random, and not its target."
    )


def _distort(picture: Float32, distortion: str, seed: int) -> Float32:
    """Distort (H, W, 3) in [0, 1] as training does; a picture that is no square is mirrored to one first."""
    if distortion == "none":
        return picture
    generator = Generator().manual_seed(seed)
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.pad(picture, ((0, side - height), (0, side - width), (0, 0)), mode="symmetric")
    images = torch.from_numpy(square).permute(2, 0, 1)[None]
    changed = _change(images, distortion, generator)
    result: Float32 = changed[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()
    return result


def _change(images: Tensor, distortion: str, generator: Generator) -> Tensor:
    side = images.shape[-1]
    if distortion == "trained":
        drawn = (distort(images, generator, _WINDOWS) for _ in range(_DRAWS))
        return next((one for one in drawn if not torch.equal(one, images)), images)
    if distortion == "shuffle":
        index = shuffle_index(1, side, _WINDOWS, generator)
        return images.flatten(2).gather(2, index[:, None].expand(-1, 3, -1)).view_as(images)
    replaced = cut_masks(torch.tensor([distortion == "outer-cutout"]), side, generator)[:, None]
    return torch.where(replaced, torch.rand(images.shape, generator=generator), images)
