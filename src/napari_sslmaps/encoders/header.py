"""The metadata this package writes in a safetensors file, read without torch."""

import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import CheckpointError, SSLMapsError, WeightsUnavailableError

HEADER_KEY = "napari_sslmaps"
_MOST_BYTES = 100_000_000
"""Of a header, as the safetensors library has it."""
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("method", "normalisation", "licence"), str),
    **dict.fromkeys(("architecture", "companions", "provenance"), dict),
}


def starting_gain(header: Mapping[str, Any]) -> float | None:
    """Return by what the recipe multiplied the initial patch embedding; None for the method's own factor."""
    recipe = header.get("provenance", {}).get("recipe", {})
    options = recipe.get("options", {}) if isinstance(recipe, Mapping) else {}
    gain = options.get("patch_gain")
    return None if gain is None else float(gain)


def read_header(path: Path) -> dict[str, Any]:
    """Read this package's metadata from a safetensors file, without torch and without its tensors.

    Returns
    -------
    dict
        Metadata by key; empty if the file has none.

    Raises
    ------
    CheckpointError
        If the file is not a safetensors file.
    """
    damaged = f"Expected a safetensors file; {path.name} is damaged or something else. Fetch it again."
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 0 < length <= min(path.stat().st_size - 8, _MOST_BYTES):
            raise CheckpointError(damaged)
        content = file.read(length)
    try:
        metadata = json.loads(content).get("__metadata__", {})
        header = json.loads(metadata.get(HEADER_KEY, "{}"))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(damaged) from error
    if not isinstance(header, dict):
        raise CheckpointError(damaged)
    odd = [name for name, kind in _KINDS.items() if not isinstance(header.get(name, kind()), kind)]
    if odd:
        raise CheckpointError(
            f"Expected metadata as this package writes them; in {path.name} {', '.join(odd)} of them are "
            "something else. Undo edits made by hand, or fetch the file again."
        )
    return header


@contextmanager
def permitted(path: str | Path) -> Iterator[None]:
    """Say in a sentence that the system refuses a weight file, or a folder that leads to it."""
    try:
        yield
    except PermissionError as error:
        if isinstance(error, SSLMapsError):
            raise
        raise WeightsUnavailableError(
            f"Expected a weight file that may be read; the system refuses {path}. Change its permissions."
        ) from error
