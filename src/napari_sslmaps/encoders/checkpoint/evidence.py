"""What tensors themselves say of how they were trained."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.encoders.initial import sincos_positions

_BRIGHTNESS, _NO_BRIGHTNESS, _SMOOTH = 4.0, 2.0, 0.1


def has_sincos_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the patch positions are the fixed 2-D sine–cosine table of MAE (arXiv 2111.06377)."""
    if "pos_embed" not in state or state["pos_embed"].ndim != 3:
        return False
    stored = state["pos_embed"][0].float()
    dim = stored.shape[1]
    side = math.isqrt(len(stored))
    if dim % 4 or not side:
        return False
    return torch.allclose(stored[-side * side :], sincos_positions(dim, side, side)[0], atol=2e-3)


def predicts_normalised_pixels(decoder: Mapping[str, Tensor]) -> bool | None:
    """Tell from MAE's decoder whether its targets were pixels or pixels normalised patch by patch.

    A normalised patch has mean 0, so nothing of the last layer goes into brightness, the sum of a patch's
    outputs; of plain pixels brightness is the first principal component. What is looked at is the energy of
    the summed rows over the energy of all rows: 1 for rows drawn at random, 0.7 and 0.9 in the decoders of
    this package, whose targets are normalised, 23 after 400 steps with plain ones. Rows drawn at random are
    told apart by the rows of neighbouring pixels, which training makes alike: their mean cosine is 0.2 to 0.4
    in those three, and 0 at random.

    Parameters
    ----------
    decoder
        With ``decoder_pred.weight``, (3 p², w), rows by pixel row, column and channel.

    Returns
    -------
    bool or None
        None if the file has no such layer, if it was not trained, or if it is unclear.
    """
    weight = decoder.get("decoder_pred.weight")
    side = 0 if weight is None else math.isqrt(len(weight) // 3)
    if weight is None or weight.ndim != 2 or side < 2 or 3 * side**2 != len(weight):
        return None
    rows = weight.float()
    image = rows.reshape(side, side, -1)
    if float(functional.cosine_similarity(image[1:], image[:-1], dim=-1).mean()) < _SMOOTH:
        return None
    ratio = float(rows.sum(dim=0).square().sum() / rows.square().sum())
    if ratio > _BRIGHTNESS:
        return False
    return True if ratio < _NO_BRIGHTNESS else None
