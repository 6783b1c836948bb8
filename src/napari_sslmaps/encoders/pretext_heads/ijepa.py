"""I-JEPA's predictor (Assran et al., arXiv 2301.08243): what is seen in, what is not seen asked for."""

from functools import partial

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import fixed_positions, xavier
from napari_sslmaps.encoders.pretext_heads.blocks import Stack, make_blocks, positions_for, take
from napari_sslmaps.encoders.pretext_heads.reading import Heads, fill, part_of, stack_of
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.errors import MapUnavailableError


class Predictor(nn.Module):
    """Narrow transformer: context tokens and positioned mask tokens in, target representations out.

    Parameters
    ----------
    dim
        Width of the encoder's tokens.
    grid
        Rows and columns of patches.
    stack
        Shape of the blocks.
    """

    def __init__(self, dim: int, grid: tuple[int, int], stack: Stack) -> None:
        super().__init__()
        width = stack.width
        self.predictor_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.predictor_pos_embed = fixed_positions(width, *grid, prefix=0)
        self.predictor_blocks = make_blocks(stack)
        self.predictor_norm = nn.LayerNorm(width, eps=stack.eps)
        self.predictor_proj = nn.Linear(width, dim)
        xavier(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def predictor_input(self, encoded: Tensor, context: Tensor, targets: Tensor) -> Tensor:
        """Return (targets * B, K + T, width) sequences: what is known of (B, K, D), then the queries."""
        positions = self.predictor_pos_embed.expand(len(encoded), -1, -1)
        known = self.predictor_embed(encoded) + take(positions, context)
        queries = torch.cat([self.mask_token + take(positions, block) for block in targets])
        return torch.cat([known.repeat(len(targets), 1, 1), queries], dim=1)

    def to_predictions(self, sequence: Tensor, count: int) -> Tensor:
        """Return the predictions (targets * B, count, D) at the end of the sequences."""
        predicted: Tensor = self.predictor_proj(self.predictor_norm(sequence[:, -count:]))
        return predicted

    def forward(self, encoded: Tensor, context: Tensor, target: Tensor) -> Tensor:
        """Predict the tokens (B, T, D) of one target block.

        Parameters
        ----------
        encoded
            (B, K, D) context tokens.
        context, target
            (B, K) and (B, T) which patches are known and which are asked for.
        """
        sequence = self.predictor_input(encoded, context, target[None])
        for block in self.predictor_blocks:
            sequence = block(sequence)
        return self.to_predictions(sequence, target.shape[1])


def read_predictor(
    pretext_heads: PretextHeads, architecture: ViTArchitecture, grid: tuple[int, int]
) -> tuple[Predictor, str]:
    """Build the predictor of a file for a grid of patches.

    Returns
    -------
    tuple
        The predictor in evaluation mode, and a sentence about what was assumed; empty if nothing was.

    Raises
    ------
    MapUnavailableError
        If the file has no predictor.
    CheckpointError
        If it has part of one.
    """
    state = part_of(pretext_heads.state, "predictor.")
    if "predictor_embed.weight" not in state:
        raise MapUnavailableError(
            "Expected a file with I-JEPA's predictor; this one holds the encoder alone, and nothing can be "
            "predicted from it. The authors' own .pth.tar files have it; transformers' and timm's do not."
        )
    heads = Heads(pretext_heads.settings.get("predictor_heads"), architecture.heads)
    stack, note = stack_of(state, "predictor_blocks.", heads, architecture.eps)
    positions = state.get("predictor_pos_embed")
    if positions is not None:
        state["predictor_pos_embed"] = positions_for(positions, architecture.grid, grid, class_token=False)
    return fill(partial(Predictor, architecture.dim, grid, stack), state, "predictor"), note
