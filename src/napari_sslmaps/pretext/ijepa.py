"""I-JEPA's task: representations of target blocks are predicted from a context (arXiv 2301.08243)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_sslmaps.core.pretext_views import Bool, PredictionView, TokenBlock
from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.encoders.families.vit import ViTArchitecture
from napari_sslmaps.encoders.families.vit_network import build_vit
from napari_sslmaps.encoders.pretext_heads.ijepa import Predictor, read_predictor
from napari_sslmaps.encoders.pretext_heads.reading import fill, part_of, pretext_heads_of
from napari_sslmaps.encoders.pretext_heads.sequence import encode, encode_seen
from napari_sslmaps.encoders.recognition import PretextHeads
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.pretext.input import PretextInput, as_batch, transformer
from napari_sslmaps.pretext.masks import draw_blocks
from napari_sslmaps.pretext.options import MethodOptions
from napari_sslmaps.pretext.selection import blocks_on_grid, cover, seen_tokens

_ONE_ENCODER = (
    "The file holds one encoder alone: it encodes the context too, in place of the context encoder that the "
    "predictor was trained with."
)


def prediction_view(input_: PretextInput, encoder: Encoder, method_options: MethodOptions) -> PredictionView:
    """Predict the tokens of target blocks from those of the rest."""
    network, architecture = transformer(encoder)
    pretext_heads = pretext_heads_of(encoder)
    predictor, doubt = read_predictor(pretext_heads, architecture, input_.grid.shape)
    context_encoder, target_encoder, alone = _branches(network, architecture, pretext_heads, encoder)
    blocks, context = _choose(input_, method_options)
    images = as_batch(input_.picture, encoder)
    seen = torch.from_numpy(seen_tokens(~context)).to(encoder.device)[None]
    encoded = encode_seen(context_encoder, images, seen)
    actual = functional.layer_norm(encode(target_encoder, images), (architecture.dim,))[0]
    predicted = _predict(predictor.to(encoder.device), encoded, seen, blocks, input_.grid.shape)
    agreement = _agreement(predicted, actual, blocks, input_.grid.shape)
    usual = actual.mean(dim=0)
    centred = _agreement([guess - usual for guess in predicted], actual - usual, blocks, input_.grid.shape)
    known = actual[seen[0]].mean(dim=0)
    blind = _agreement([known.expand_as(guess) for guess in predicted], actual, blocks, input_.grid.shape)
    mean = _mean_over_blocks(predicted, blocks, input_.grid.shape)
    colours = _joint_colours(mean, actual.cpu().numpy(), cover(blocks, input_.grid.shape), input_)
    return PredictionView(
        method=encoder.spec.method,
        region=input_.region,
        grid=input_.grid,
        picture=input_.picture,
        notes=tuple(sentence for sentence in (_compare(agreement, blind), doubt, alone) if sentence),
        provenance=input_.provenance,
        targets=blocks,
        context=context,
        agreement=agreement,
        predicted=colours[0],
        actual=colours[1],
        centred=centred,
    )


def _compare(agreement: Float32, blind: Float32) -> str:
    return (
        f"Mean cosine of predicted and actual tokens: {np.nanmean(agreement):.3f}. The mean token of the "
        f"context, as a guess for every place, has {np.nanmean(blind):.3f}: see the centred agreement."
    )


def _branches(
    network: Any, architecture: ViTArchitecture, pretext_heads: PretextHeads, encoder: Encoder
) -> tuple[Any, Any, str]:
    """Context encoder, target encoder, and a sentence where they are one and the same."""
    state = part_of(pretext_heads.state, "context.")
    if not state:
        return network, network, _ONE_ENCODER
    other = fill(partial(build_vit, architecture), state, "other branch").to(encoder.device)
    if encoder.spec.overrides.get("branch") == "encoder":
        return network, other, ""
    return other, network, ""


def _choose(input_: PretextInput, method_options: MethodOptions) -> tuple[tuple[TokenBlock, ...], Bool]:
    """Target blocks, and which tokens are context: all others, or a block less the targets as in training."""
    shape = input_.grid.shape
    if method_options.targets is not None:
        blocks = blocks_on_grid(method_options.targets, input_)
        return blocks, ~cover(blocks, shape)
    seen, targets = draw_blocks(1, shape, torch.Generator().manual_seed(method_options.seed))
    context = np.zeros(shape[0] * shape[1], bool)
    context[seen[0].numpy()] = True
    blocks = tuple(_block_of(target[0].numpy(), shape[1]) for target in targets)
    return blocks, context.reshape(shape)


def _block_of(tokens: np.ndarray[Any, np.dtype[np.int64]], cols: int) -> TokenBlock:
    (top, left), (bottom, right) = divmod(int(tokens[0]), cols), divmod(int(tokens[-1]), cols)
    return TokenBlock(top, left, bottom - top + 1, right - left + 1)


def _predict(
    predictor: Predictor, encoded: Tensor, seen: Tensor, blocks: Sequence[TokenBlock], shape: tuple[int, int]
) -> list[Tensor]:
    """(T, D) predictions of each block, row by row, block after block as in training."""
    places = [torch.from_numpy(_tokens_of(block, shape)).to(encoded.device)[None] for block in blocks]
    return [predictor(encoded, seen, place)[0] for place in places]


def _tokens_of(block: TokenBlock, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.flatnonzero(cover([block], shape))


def _agreement(
    predicted: Sequence[Tensor], actual: Tensor, blocks: Sequence[TokenBlock], shape: tuple[int, int]
) -> Float32:
    cosines = [
        functional.cosine_similarity(guess, actual[_tokens_of(block, shape)], dim=-1).clamp(-1, 1)[:, None]
        for guess, block in zip(predicted, blocks, strict=True)
    ]
    return _mean_over_blocks(cosines, blocks, shape)[..., 0]


def _mean_over_blocks(
    values: Sequence[Tensor], blocks: Sequence[TokenBlock], shape: tuple[int, int]
) -> Float32:
    """(rows, cols, C) mean of (T, C) values where blocks overlap, NaN outside them."""
    total = np.zeros((*shape, values[0].shape[-1]), np.float32)
    count = np.zeros((*shape, 1), np.float32)
    for block, value in zip(blocks, values, strict=True):
        window = np.s_[block.row : block.row + block.height, block.col : block.col + block.width]
        total[window] += value.cpu().numpy().reshape(block.height, block.width, -1)
        count[window] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _joint_colours(
    predicted: Float32, actual: Float32, covered: Bool, input_: PretextInput
) -> tuple[Float32, Float32]:
    """Both in one PCA: equal colours are equal representations."""
    tokens = np.where(covered[..., None], actual.reshape(predicted.shape), np.nan).astype(np.float32)
    guess = Embedding(predicted, input_.grid, input_.provenance)
    maps = pca_map([guess, replace(guess, tokens=tokens)], foreground=None)
    return maps[0].values, maps[1].values
