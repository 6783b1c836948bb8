"""What decides the numbers of an embedding, as one hash."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NUMERICS = 1
"""Raise it whenever the same pixels, weights and options come to give other tokens."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the hash, as 64 hexadecimal digits, of JSON-ready facts and of `NUMERICS`.

    Parameters
    ----------
    facts
        All that decides the numbers; the order of names does not matter.
    """
    return digest_of({"numerics": NUMERICS, **facts})


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON-ready values, independent of the order of their names."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
