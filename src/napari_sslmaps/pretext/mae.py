"""MAE's task: patches are hidden, and the decoder says what was there (arXiv 2111.06377)."""

import numpy as np
import torch
from torch import Tensor

from napari_sslmaps.core.pretext import Bool, ReconstructionView, upsampled
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.companions import companions_of
from napari_sslmaps.encoders.companions.mae import VARIANCE_FLOOR, from_patches, read_decoder, to_patches
from napari_sslmaps.encoders.companions.sequence import encode_seen
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.spec import get_normalisation
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pretext.chosen import hidden_tokens, mask_on_grid
from napari_sslmaps.pretext.field import Field
from napari_sslmaps.pretext.wishes import Wishes, as_batch, transformer
from napari_sslmaps.pretraining.objectives.mae import random_mask

_LEAK = (
    "The decoder predicts each patch relative to its own mean and contrast, which are taken from the hidden "
    "pixels: their brightness is given away, their pattern is predicted."
)
_ASSUMED = (
    "The file does not tell whether its decoder predicts pixels as they are or normalised in each patch; as "
    "they are is assumed. Pass norm_pix=True if the picture comes out flat and grey."
)
_USUAL_RATIO = 0.75


def reconstruction_view(field: Field, encoder: Encoder, wishes: Wishes) -> ReconstructionView:
    """Hide patches and let the decoder predict them."""
    network, architecture = transformer(encoder)
    companions = companions_of(encoder)
    decoder, doubt = read_decoder(companions, architecture, field.grid.shape)
    notes = [doubt] if doubt else []
    normalised = wishes.norm_pix
    if normalised is None:
        normalised = companions.settings.get("norm_pix")
        if normalised is None:
            notes.append(_ASSUMED)
    if normalised:
        notes.append(_LEAK)
    ratio = companions.settings.get("mask_ratio", _USUAL_RATIO) if wishes.ratio is None else wishes.ratio
    mask = _draw(field, ratio, wishes.seed) if wishes.mask is None else mask_on_grid(wishes.mask, field)
    images = as_batch(field.picture, encoder)
    visible, hidden = (torch.from_numpy(index).to(encoder.device)[None] for index in hidden_tokens(mask))
    encoded = encode_seen(network, images, visible)
    predicted = decoder.to(encoder.device)(encoded, visible, mask.size)
    target = to_patches(images, field.patch)
    if normalised:
        predicted = _denormalise(predicted, target)
    rows = target.index_copy(1, hidden[0], predicted[:, hidden[0]])
    painted = _to_picture(from_patches(rows, field.patch, field.grid.shape), encoder.spec.normalisation)
    shown = upsampled(mask[..., None], field.picture.shape[:2])
    reconstruction = np.where(shown, painted, field.picture)
    return ReconstructionView(
        method=encoder.spec.method,
        region=field.region,
        grid=field.grid,
        picture=field.picture,
        notes=tuple(notes),
        provenance=field.provenance,
        mask=mask,
        masked=np.where(shown, np.float32(0.5), field.picture),
        reconstruction=reconstruction,
        error=np.abs(reconstruction - field.picture).mean(axis=-1),
    )


def _draw(field: Field, ratio: float, seed: int) -> Bool:
    rows, cols = field.grid.shape
    _, hidden = random_mask(1, rows * cols, ratio, torch.Generator().manual_seed(seed))
    if hidden.shape[1] in {0, rows * cols}:
        raise InvalidOptionError(
            f"Expected a ratio that hides some of the {rows * cols} patches and leaves some; got {ratio:g}."
        )
    mask = np.zeros(rows * cols, bool)
    mask[hidden[0].numpy()] = True
    return mask.reshape(rows, cols)


def _denormalise(predicted: Tensor, target: Tensor) -> Tensor:
    """Undo the normalisation of each patch with its true mean and (unbiased) variance."""
    mean, variance = target.mean(dim=-1, keepdim=True), target.var(dim=-1, keepdim=True)
    return predicted * (variance + VARIANCE_FLOOR).sqrt() + mean


def _to_picture(images: Tensor, normalisation: str) -> Float32:
    """Undo an encoder's normalisation: (1, 3, H, W) to (H, W, 3) in [0, 1]."""
    preset = get_normalisation(normalisation)
    mean, std = (images.new_tensor(values) for values in (preset.mean, preset.std))
    picture: Float32 = (images[0].permute(1, 2, 0) * std + mean).clamp(0, 1).cpu().numpy()
    return picture
