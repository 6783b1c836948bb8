"""What tensors themselves say of how they were trained."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


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
