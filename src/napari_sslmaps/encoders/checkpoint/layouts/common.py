"""What several layouts share: telling the encoder's tensors from those beside it."""

import re
from collections.abc import Mapping

from torch import Tensor

from napari_sslmaps.encoders.checkpoint.translated import Companions, Translated
from napari_sslmaps.encoders.checkpoint.unwrap import Unwrapped

_CHUNKED = re.compile(r"^blocks\.(\d+)\.(\d+)\.(.+)$")


def separate(file: Unwrapped, layout: str, beside: Mapping[str, str]) -> Translated:
    """Split a file's tensors into the encoder's and the rest, each of the rest with its reason.

    Parameters
    ----------
    file
        As it was unwrapped.
    layout
        Whose key names it has.
    beside
        Beginnings of keys that are no part of the encoder, with what they are.

    Returns
    -------
    Translated
        With the rest as companions, under the names that the file has.
    """
    state, left_out = {}, {}
    companions: dict[str, Tensor] = {}
    for key, tensor in file.tensors.items():
        reason = _reason(key, beside)
        if reason is None:
            state[key] = tensor
        else:
            left_out[key] = reason
            companions[key] = tensor
    for key, (full, tensor) in file.outside.items():
        left_out[full] = _reason(key, beside) or "beside the encoder"
        companions[key] = tensor
    return Translated(
        layout,
        state,
        left_out=left_out | dict(file.left_out),
        companions=Companions(companions, dict(file.header.get("companions", {}))),
    )


def _reason(key: str, beside: Mapping[str, str]) -> str | None:
    return next((why for prefix, why in beside.items() if key.startswith(prefix)), None)


def unchunk(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo the chunks of stored blocks, ``blocks.<chunk>.<block>.…``: number them from first to last.

    DINOv2 pads each chunk, so that its inner numbers already count from the first block of all; others count
    within each chunk.
    """
    found = {key: match for key in tensors if (match := _CHUNKED.match(key))}
    places = sorted({(int(match[1]), int(match[2])) for match in found.values()})
    padded = len({inner for _, inner in places}) == len(places)
    numbers = {place: place[1] if padded else index for index, place in enumerate(places)}
    return {
        f"blocks.{numbers[int(found[key][1]), int(found[key][2])]}.{found[key][3]}"
        if key in found
        else key: (tensor)
        for key, tensor in tensors.items()
    }
