"""Numbers that sum an embedding up, for a table of many: they need no annotation."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import cast

import numpy as np

from napari_sslmaps.core.diagnostics import effective_rank, seam_score, weave_score
from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tiling import Tiles
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.maps.attention import AttentionMap
from napari_sslmaps.maps.pca import ComponentMap

_SAMPLE = 8192


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers that sum up one embedding.

    Parameters
    ----------
    foreground_share
        Share of tokens whose pixels are not flat.
    common_share
        Squared length of the mean token over the mean squared length of tokens, in [0, 1]; near 1, tokens
        hardly differ, and similarity is best centred.
    effective_rank
        Directions that tokens use (RankMe), of up to 8192 of them, evenly spaced.
    components_share
        Share of the tokens' variance in the components that the PCA map shows.
    attention_entropy
        Entropy of the attention over patch tokens, over that of uniform attention, in [0, 1]; None for a CNN.
    prefix_attention
        Attention mass on CLS and registers, mean over heads; None for a CNN.
    seam_score
        Ratio of the difference of neighbouring tokens across tile borders to that inside tiles; None without
        borders.
    weave_score
        Ratio of the difference of neighbouring tokens to that of tokens a patch apart; None unless tokens
        were woven of several passes.
    """

    foreground_share: float
    common_share: float
    effective_rank: float
    components_share: float
    attention_entropy: float | None
    prefix_attention: float | None
    seam_score: float | None
    weave_score: float | None


def score(embedding: Embedding, maps: Mapping[str, TokenMap], tiles: Tiles, passes: int = 1) -> Summary:
    """Sum up an embedding and its maps.

    Parameters
    ----------
    embedding
        Complete embedding: only tokens outside its mask are NaN, and they do not count.
    maps
        Maps by key; the PCA map is among them, and the attention map if the embedding has attention.
    tiles
        The plan it was computed by.
    passes
        Passes along each axis that its tokens were woven of.
    """
    components, attention = cast("ComponentMap", maps["pca"]), maps.get("attention")
    flat, onto = embedding.flat, components.basis.components.T.astype(np.float32)
    energy, projected = 0.0, np.empty((len(flat), onto.shape[1]), np.float32)
    for place, tokens in token_chunks(flat):
        energy += float(np.nansum(np.vecdot(tokens, tokens), dtype=np.float64))
        projected[place] = tokens @ onto
    there = np.flatnonzero(np.isfinite(projected[:, 0]))
    energy /= len(there)
    common = float(np.square(embedding.mean_token, dtype=np.float64).sum())
    explained = float(projected[there].var(axis=0, dtype=np.float64).sum())
    foreground = embedding.foreground
    seams, weave = seam_score(embedding.tokens, tiles), weave_score(embedding.tokens, passes)
    return Summary(
        foreground_share=1.0 if foreground is None else float(foreground.sum() / len(there)),
        common_share=common / energy if energy > 0 else 1.0,
        effective_rank=effective_rank(flat[there[:: -(-len(there) // _SAMPLE)]]),
        components_share=explained / (energy - common) if energy > common else 1.0,
        attention_entropy=_entropy(attention) if isinstance(attention, AttentionMap) else None,
        prefix_attention=attention.prefix_attention if isinstance(attention, AttentionMap) else None,
        seam_score=None if isnan(seams) else seams,
        weave_score=None if isnan(weave) else weave,
    )


def _entropy(attention: AttentionMap) -> float:
    values = attention.values.astype(np.float64).ravel()
    values = values[np.isfinite(values)]
    total = values.sum()
    if len(values) < 2 or not total > 0:
        return 1.0
    shares = values / total
    return float(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum() / np.log(len(values)))
