"""MAE's task: patches are hidden, and the decoder says what was there (arXiv 2111.06377)."""

import numpy as np
import torch
from torch import Tensor

from napari_sslmaps.core.pretext_views import Bool, ReconstructionView, upsampled
from napari_sslmaps.core.results import Float32
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.pretext_heads.blocks import take
from napari_sslmaps.encoders.pretext_heads.mae import VARIANCE_FLOOR, from_patches, read_decoder, to_patches
from napari_sslmaps.encoders.pretext_heads.reading import pretext_heads_of
from napari_sslmaps.encoders.pretext_heads.sequence import encode_seen
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.pretext.input import PretextInput, as_batch, transformer
from napari_sslmaps.pretext.masks import random_mask
from napari_sslmaps.pretext.options import MethodOptions
from napari_sslmaps.pretext.selection import mask_on_grid, seen_tokens

_LEAK = (
    "The decoder predicts each patch relative to its own mean and contrast. These are taken from the hidden "
    "pixels here, so that their brightness is given away and only their pattern is predicted."
)
_ASSUMED = (
    "The file does not tell whether its decoder predicts pixels as they are or normalised in each patch; as "
    "they are is assumed. Pass norm_pix=True if the picture comes out flat and grey."
)
_TINTED = (
    "The image is grey, so any colour is an error of the prediction: channels go in with different offsets, "
    "and a patch with more contrast than the network expects gets too much of them back (blue, with "
    "ImageNet's offsets), one with less too little (brown)."
)
_USUAL_RATIO = 0.75


def reconstruction_view(
    input_: PretextInput, encoder: Encoder, method_options: MethodOptions
) -> ReconstructionView:
    """Hide patches and let the decoder predict them."""
    network, architecture = transformer(encoder)
    pretext_heads = pretext_heads_of(encoder)
    decoder, doubt = read_decoder(
        pretext_heads, architecture, input_.grid.shape, heads=method_options.decoder_heads
    )
    normalised, notes = _target(pretext_heads, method_options)
    if normalised and _is_tinted(input_, encoder):
        notes = (*notes, _TINTED)
    ratio = (
        pretext_heads.settings.get("mask_ratio", _USUAL_RATIO)
        if method_options.ratio is None
        else method_options.ratio
    )
    mask = (
        _draw(input_, ratio, method_options.seed)
        if method_options.mask is None
        else mask_on_grid(method_options.mask, input_)
    )
    images = as_batch(input_.picture, encoder)
    visible = torch.from_numpy(seen_tokens(mask)).to(encoder.device)[None]
    encoded = encode_seen(network, images, visible)
    predicted = decoder.to(encoder.device)(encoded, visible, mask.size)
    patches = to_patches(images, input_.patch)
    blind = patches.mean(dim=-1, keepdim=True) if normalised else take(patches, visible).mean(1, keepdim=True)
    if normalised:
        predicted = _denormalise(predicted, patches)
    reconstruction, guess = (
        _paste(rows.expand_as(patches), mask, input_, encoder) for rows in (predicted, blind)
    )
    shown = upsampled(mask, input_.picture.shape[:2])
    error, missed = (np.abs(painted - input_.picture).mean(axis=-1) for painted in (reconstruction, guess))
    return ReconstructionView(
        method=encoder.spec.method,
        region=input_.region,
        grid=input_.grid,
        picture=input_.picture,
        notes=(
            _compare(error[shown], missed[shown], normalised=normalised),
            *notes,
            *([doubt] if doubt else []),
        ),
        provenance=input_.provenance,
        mask=mask,
        masked=np.where(shown[..., None], np.float32(0.5), input_.picture),
        reconstruction=reconstruction,
        error=error,
    )


def _target(pretext_heads: PretextHeads, method_options: MethodOptions) -> tuple[bool, tuple[str, ...]]:
    """Whether the decoder predicts normalised pixels, and what is to be said of it."""
    norm_pix = (
        pretext_heads.settings.get("norm_pix") if method_options.norm_pix is None else method_options.norm_pix
    )
    if norm_pix is None:
        return False, (_ASSUMED,)
    return bool(norm_pix), (_LEAK,) if norm_pix else ()


def _is_tinted(input_: PretextInput, encoder: Encoder) -> bool:
    """Whether a grey picture goes in with channels that differ."""
    grey = not np.ptp(input_.picture, axis=-1).any()
    return grey and any(len(set(values)) > 1 for values in encoder.spec.statistics)


def _compare(error: Float32, missed: Float32, *, normalised: bool) -> str:
    known = "its own mean brightness" if normalised else "the mean of the visible patches"
    return (
        f"Mean error of the hidden patches: {error.mean():.3f}. Without a prediction, each filled with "
        f"{known}, it would be {missed.mean():.3f}."
    )


def _draw(input_: PretextInput, ratio: float, seed: int) -> Bool:
    rows, cols = input_.grid.shape
    _, hidden = random_mask(1, rows * cols, ratio, torch.Generator().manual_seed(seed))
    if hidden.shape[1] in {0, rows * cols}:
        raise InvalidOptionError(
            f"Expected a ratio that hides some of the {rows * cols} patches and leaves some; got {ratio:g}."
        )
    mask = np.zeros(rows * cols, bool)
    mask[hidden[0].numpy()] = True
    return mask.reshape(rows, cols)


def _denormalise(predicted: Tensor, patches: Tensor) -> Tensor:
    """Undo the normalisation of each patch with its true mean and (unbiased) variance."""
    mean, variance = patches.mean(dim=-1, keepdim=True), patches.var(dim=-1, keepdim=True)
    return predicted * (variance + VARIANCE_FLOOR).sqrt() + mean


def _paste(rows: Tensor, mask: Bool, input_: PretextInput, encoder: Encoder) -> Float32:
    """Lay (1, N, P) normalised pixels over the picture where it is hidden, (H, W, 3) in [0, 1]."""
    mean, std = (rows.new_tensor(values) for values in encoder.spec.statistics)
    images = from_patches(rows, input_.patch, input_.grid.shape)
    painted = (images[0].permute(1, 2, 0) * std + mean).clamp(0, 1).cpu().numpy()
    return np.where(upsampled(mask[..., None], painted.shape[:2]), painted, input_.picture)
