"""Reading the tokens of embeddings in bands, so that a large region is never copied as a whole."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.core.results import Embedding, Float32
from napari_sslmaps.errors import InvalidOptionError

_BAND = 8_000_000
"""Values read at once."""


def bands_of(embedding: Embedding) -> Iterator[tuple[slice, Float32]]:
    """Yield rows of the grid and their tokens, (rows of the band, cols, dim) float32."""
    rows, cols = embedding.grid.shape
    step = max(1, _BAND // (cols * embedding.tokens.shape[-1]))
    for start in range(0, rows, step):
        band = slice(start, min(start + step, rows))
        yield band, np.asarray(embedding.tokens[band], np.float32)


def gather(embedding: Embedding, chosen: NDArray[np.bool_]) -> Float32:
    """Return the tokens of a (rows, cols) mask, (n, dim) float32, row by row."""
    parts = [tokens[chosen[band]] for band, tokens in bands_of(embedding) if chosen[band].any()]
    return np.concatenate(parts) if parts else np.empty((0, embedding.tokens.shape[-1]), np.float32)


def known_tokens(embedding: Embedding) -> NDArray[np.bool_]:
    """Mask of the tokens that have been computed, (rows, cols)."""
    return np.concatenate([np.isfinite(tokens[..., 0]) for _, tokens in bands_of(embedding)])


def check_one_encoder(embeddings: Sequence[Embedding]) -> None:
    """Refuse an empty list, and tokens of several encoders.

    Raises
    ------
    InvalidOptionError
        If the list is empty, or they are of several encoders; the sentence names them.
    """
    if not embeddings:
        raise InvalidOptionError("Expected at least one embedding; got none.")
    if len({identity_of(embedding) for embedding in embeddings}) > 1:
        names = ", ".join(sorted({embedding.provenance.encoder for embedding in embeddings}))
        raise InvalidOptionError(
            f"Expected embeddings of one encoder; got {names}. Tokens of different encoders have nothing in "
            "common: fit one probe for each."
        )


def identity_of(embedding: Embedding) -> tuple[str, str, int]:
    """Return the encoder, the hash of its weights and the width of its tokens."""
    return embedding.provenance.encoder, embedding.provenance.weights_sha256, embedding.tokens.shape[-1]
