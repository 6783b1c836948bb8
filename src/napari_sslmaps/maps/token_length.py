"""Length of each token: tokens that hold something else than their patch stand out by it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sslmaps.core.results import Embedding, TokenMap
from napari_sslmaps.core.tokens import token_chunks
from napari_sslmaps.maps.map_type import Facts, MapType


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenLengthMap(TokenMap):
    """Euclidean norm of each token as it was embedded, ≥ 0; NaN where not computed."""


def token_length_map(embedding: Embedding) -> TokenLengthMap:
    """Return the Euclidean norm of each token.

    Artefact tokens, in which large transformers keep what concerns the whole image, are several times as
    long as others before the final norm (arXiv 2309.16588). An embedding holds tokens after it, which evens
    lengths out; what is left of the difference is shown.

    Parameters
    ----------
    embedding
        Tokens of a region.

    Returns
    -------
    TokenLengthMap
        Map of values (rows, cols) float32, at least 0; NaN where not computed.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_sslmaps as ssl
    >>> tokens = np.array([[[3, 4], [0, 1]]])
    >>> ssl.token_length_map(ssl.Embedding.from_tokens(tokens)).values.tolist()
    [[5.0, 1.0]]
    """
    values = np.empty(len(embedding.flat), np.float32)
    for place, tokens in token_chunks(embedding.flat):
        values[place] = np.linalg.norm(tokens, axis=1)
    return TokenLengthMap(
        values=values.reshape(embedding.grid.shape), grid=embedding.grid, provenance=embedding.provenance
    )


def _facts(result: TokenLengthMap) -> dict[str, Any]:
    known = result.values[np.isfinite(result.values)]
    median, longest = (float(np.median(known)), float(known.max())) if known.size else (0.0, 0.0)
    return {"median": median, "longest": longest}


def _caption(facts: Facts) -> str:
    median, longest = facts["median"], facts["longest"]
    return f"length of tokens as embedded, median {median:.3g}, longest {longest:.3g}"


TOKEN_LENGTH = MapType(
    key="token-length",
    result=TokenLengthMap,
    title="token length",
    tip="The norm of each token; tokens that hold something other than their patch stand out.",
    colormap="magma",
    standard=False,
    make=lambda given: token_length_map(given.embedding),
    facts=_facts,
    caption=_caption,
    note=lambda _: "norm of each token",
)
