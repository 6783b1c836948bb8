"""What tensors themselves say of how they were trained."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

_BRIGHTNESS, _NO_BRIGHTNESS = 4.0, 2.0


def has_sincos_positions(state: Mapping[str, Tensor]) -> bool:
    """Whether the patch positions are the fixed 2-D sine–cosine table of MAE (arXiv 2111.06377)."""
    if "pos_embed" not in state or state["pos_embed"].ndim != 3:
        return False
    stored = state["pos_embed"][0].float()
    dim = stored.shape[1]
    side = math.isqrt(len(stored))
    if dim % 4 or not side:
        return False
    frequencies = 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) * 4 / dim)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    table = torch.cat([angles.sin(), angles.cos()], dim=1).float()
    along_columns = table[None].expand(side, side, -1)
    along_rows = table[:, None].expand(side, side, -1)
    expected = torch.cat([along_columns, along_rows], dim=-1).reshape(side * side, dim)
    return torch.allclose(stored[-side * side :], expected, atol=2e-3)


def predicts_normalised_pixels(decoder: Mapping[str, Tensor]) -> bool | None:
    """Tell from MAE's decoder whether its targets were pixels or pixels normalised patch by patch.

    A normalised patch has mean 0, so nothing of the last layer goes into brightness, the sum of a patch's
    outputs; of plain pixels brightness is the first principal component. What is looked at is the energy of
    the summed rows over the energy of all rows: 1 for rows drawn at random, 0.7 and 0.9 in the decoders of
    this package, whose targets are normalised, 23 after 400 steps with plain ones.

    Parameters
    ----------
    decoder
        With ``decoder_pred.weight``, (3 p², w), and ``decoder_pred.bias``.

    Returns
    -------
    bool or None
        None if the file has no such layer, if it was not trained, or if it is unclear.
    """
    weight, bias = decoder.get("decoder_pred.weight"), decoder.get("decoder_pred.bias")
    if weight is None or bias is None or weight.ndim != 2 or not bool(bias.float().abs().max() > 0):
        return None
    rows = weight.float()
    energy = float(rows.square().sum())
    ratio = float(rows.sum(dim=0).square().sum()) / energy if energy > 0 else math.nan
    if ratio > _BRIGHTNESS:
        return False
    return True if ratio < _NO_BRIGHTNESS else None
