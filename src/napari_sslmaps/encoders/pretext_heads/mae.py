"""MAE's decoder (He et al., arXiv 2111.06377): the visible tokens in, pixels of every patch out."""

from functools import partial

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.families.vit import ViTArchitecture, check_heads
from napari_sslmaps.encoders.families.vit_network import fixed_positions, xavier
from napari_sslmaps.encoders.pretext_heads.blocks import Stack, make_blocks, positions_for, take
from napari_sslmaps.encoders.pretext_heads.reading import Heads, fill, stack_of
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.errors import MapUnavailableError

VARIANCE_FLOOR = 1e-6
"""Added to a patch's variance before its root is taken, as the authors do."""


class DecoderParts:
    """Parts of MAE's decoder and their use, for a module that is or has the decoder without a prefix.

    In MAE's own model the parts lie beside the encoder's, and so they do in the objective that trains them.
    """

    def build_decoder(
        self, dim: int, patch: int, grid: tuple[int, int], stack: Stack, channels: int = 3
    ) -> None:
        """Make the parts with fresh weights.

        Parameters
        ----------
        dim
            Width of the encoder's tokens.
        patch
            Side of a patch in pixels.
        grid
            Rows and columns of patches.
        stack
            Shape of the blocks.
        channels
            Channels of a pixel.
        """
        width = stack.width
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_embed = nn.Linear(dim, width)
        self.decoder_blocks = make_blocks(stack)
        self.decoder_norm = nn.LayerNorm(width, eps=stack.eps)
        self.decoder_pred = nn.Linear(width, patch**2 * channels)
        self.decoder_pos_embed = fixed_positions(width, *grid, prefix=1)
        for part in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            xavier(part)
        nn.init.normal_(self.mask_token, std=0.02)

    def decoder_input(self, encoded: Tensor, visible: Tensor, patches: int) -> Tensor:
        """Return the sequence (B, 1 + N, width) that enters the blocks, of (B, 1 + K, D) visible tokens."""
        narrow = self.decoder_embed(encoded)
        index = visible[:, :, None].expand(-1, -1, narrow.shape[-1])
        full = (
            self.mask_token.to(narrow.dtype)
            .expand(len(encoded), patches, -1)
            .scatter(1, index, narrow[:, 1:])
        )
        return torch.cat([narrow[:, :1], full], dim=1) + self.decoder_pos_embed

    def to_pixels(self, sequence: Tensor, queries: Tensor | None = None) -> Tensor:
        """Return pixels (B, N, patch * patch * channels) of every patch, or of those asked for."""
        sequence = sequence[:, 1:] if queries is None else take(sequence, 1 + queries)
        predicted: Tensor = self.decoder_pred(self.decoder_norm(sequence))
        return predicted


class MAEDecoder(DecoderParts, nn.Module):
    """Light transformer on all patches: mask tokens stand where nothing was seen."""

    def __init__(self, dim: int, patch: int, grid: tuple[int, int], stack: Stack, channels: int = 3) -> None:
        super().__init__()
        self.build_decoder(dim, patch, grid, stack, channels)

    def forward(self, encoded: Tensor, visible: Tensor, patches: int) -> Tensor:
        """Return pixels (B, N, patch * patch * channels) of every patch, in the units it was trained with.

        Parameters
        ----------
        encoded
            (B, 1 + K, D) class token and visible tokens.
        visible
            (B, K) which patches they are.
        patches
            N, how many there are.
        """
        sequence = self.decoder_input(encoded, visible, patches)
        for block in self.decoder_blocks:
            sequence = block(sequence)
        return self.to_pixels(sequence)


def read_decoder(
    pretext_heads: PretextHeads,
    architecture: ViTArchitecture,
    grid: tuple[int, int],
    *,
    heads: int | None = None,
) -> tuple[MAEDecoder, str]:
    """Build the decoder of a file for a grid of patches.

    Parameters
    ----------
    pretext_heads, architecture
        Tensors of the file beside its encoder, and the encoder's shape.
    grid
        Rows and columns of patches.
    heads
        Heads of the decoder's blocks, where known better than the file says.

    Returns
    -------
    tuple
        The decoder in evaluation mode, and a sentence about what was assumed; empty if nothing was.

    Raises
    ------
    MapUnavailableError
        If the file has no decoder.
    CheckpointError
        If it has part of one.
    InvalidOptionError
        If the heads do not divide its width.
    """
    state = {
        key: value for key, value in pretext_heads.state.items() if key.startswith(("decoder_", "mask_token"))
    }
    if "decoder_pred.weight" not in state:
        raise MapUnavailableError(
            "Expected a file with MAE's decoder; this one holds the encoder alone, and no pixels can be "
            "predicted from it. The authors' files named mae_visualize_… and …_full have it."
        )
    if heads is not None:
        check_heads(heads, state["decoder_pred.weight"].shape[1])
    settings = pretext_heads.settings
    eps = settings.get("decoder_eps", architecture.eps)
    stack, note = stack_of(state, "decoder_blocks.", Heads(heads or settings.get("decoder_heads")), eps)
    positions = state.get("decoder_pos_embed")
    if positions is not None:
        state["decoder_pos_embed"] = positions_for(positions, architecture.grid, grid, class_token=True)
    build = partial(MAEDecoder, architecture.dim, architecture.patch, grid, stack, architecture.channels)
    return fill(build, state, "decoder"), note


def to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut (B, C, H, W) images into (B, N, patch * patch * C) rows, channels last, as MAE orders them."""
    batch, channels, height, width = images.shape
    blocks = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch * patch * channels)


def from_patches(rows: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """Lay (B, N, patch * patch * C) rows out as (B, C, H, W) images: the inverse of `to_patches`."""
    blocks = rows.reshape(len(rows), *grid, patch, patch, -1)
    return blocks.permute(0, 5, 1, 3, 2, 4).reshape(len(rows), -1, grid[0] * patch, grid[1] * patch)
