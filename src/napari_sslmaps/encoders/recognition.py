"""Results of recognising a weight file: tensors, facts, inferences, what lies beside the encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_sslmaps.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that the file itself, or what lies beside it, says.

    Parameters
    ----------
    value
        Value of the type that the field has elsewhere.
    how
        Place where it says so, for example ``num_attention_heads in config.json``.
    certain
        Whether that leaves no doubt.
    """

    value: Any
    how: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class PretextHeads:
    """Tensors and settings that a pretext task needs beside the encoder.

    Keys of `state` are those of this package's own files:

    - MAE: ``mask_token`` (1, 1, w), ``decoder_embed``, ``decoder_pos_embed`` (1, 1 + N, w),
      ``decoder_blocks.N`` (timm's Block), ``decoder_norm``, ``decoder_pred``;
    - I-JEPA: ``predictor.`` + ``predictor_embed``, ``mask_token``, ``predictor_pos_embed`` (1, N, w),
      ``predictor_blocks.N``, ``predictor_norm``, ``predictor_proj``; ``context.`` + the other branch's
      encoder in timm's names, where the file has it;
    - DINOv3: ``mask_token`` (1, D), ``dino_head.``, ``ibot_head.``;
    - DiRA: ``discriminator.``, ``projection.``; the U-Net's decoder belongs to the network.

    Parameters
    ----------
    state
        Tensors, perhaps memory-mapped, of the file's precision.
    settings
        Values that weights do not tell: ``decoder_heads``, ``predictor_heads``, ``norm_pix``, ``mask_ratio``,
        …; a key that is missing is unknown.
    """

    state: Mapping[str, Tensor] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Translated:
    """An encoder's tensors under our key names.

    Parameters
    ----------
    layout
        Layout of the key names that the file had.
    state
        Tensors by name, for the network's ``load_state_dict``.
    buffers
        Values of buffers that timm does not keep in its state.
    left_out
        Key in the file, and reason, of what is not part of the encoder; the pretext heads among them.
    pretext_heads
        Networks and settings that its pretext task needs.
    facts
        Facts that the file states beyond shapes, by field: ``method``, ``heads``, ``eps``, ``normalisation``,
        ….
    """

    layout: str
    state: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    pretext_heads: PretextHeads = field(default_factory=PretextHeads)
    facts: Mapping[str, Fact] = field(default_factory=dict)


_CHUNKED = re.compile(r"^blocks\.(\d+)\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """Named tensors of one network in a file.

    Parameters
    ----------
    tensors
        Tensors by key, without what containers and wrappers put before it.
    container
        Dotted name under which they lay; empty if there was none.
    header
        Metadata of this package, if the file was written by it.
    args
        Options of the training, if the file keeps them.
    left_out
        Other contents of the file, by name, each with the reason why it was left out.
    outside
        Tensors elsewhere in the file that a pretext task may need, by the name used here: name in the file
        and tensor. ``context.…`` is the other branch.
    mapped
        Whether tensors lie in the file and not in memory.
    config
        ``config.json`` of the folder, if it has one.
    spelling
        Library whose names the network had; empty for timm's, and those of methods.
    """

    tensors: Mapping[str, Tensor]
    container: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, tuple[str, Tensor]] = field(default_factory=dict)
    mapped: bool = True
    config: Mapping[str, Any] | None = None
    spelling: str = ""


def separate(file: Unwrapped, layout: str, beside: Mapping[str, str]) -> Translated:
    """Split a file's tensors into the encoder's and the rest, each of the rest with its reason.

    Parameters
    ----------
    file
        File as it was unwrapped.
    layout
        Layout of the key names.
    beside
        Beginnings of keys that are no part of the encoder, with what they are.

    Returns
    -------
    Translated
        Encoder's tensors, with the rest as pretext heads, under the names that the file has.
    """
    state, left_out = {}, {}
    pretext_heads: dict[str, Tensor] = {}
    for key, tensor in file.tensors.items():
        reason = _reason(key, beside)
        if reason is None:
            state[key] = tensor
        else:
            left_out[key] = reason
            pretext_heads[key] = tensor
    for key, (full, tensor) in file.outside.items():
        left_out[full] = _reason(key, beside) or "beside the encoder"
        pretext_heads[key] = tensor
    return Translated(
        layout,
        state,
        left_out=left_out | dict(file.left_out),
        pretext_heads=PretextHeads(pretext_heads, dict(file.header.get("companions", {}))),
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


@dataclass(frozen=True, slots=True)
class Inference:
    """One value and the evidence for it."""

    field: str
    value: str
    how: str


CHANNELS = (3, 1)
"""Of the images that networks here take: colour, or grey as such."""


def channels_of(state: Mapping[str, Tensor], key: str, what: str) -> int:
    """Return the input channels of a convolution.

    Raises
    ------
    CheckpointError
        If they are neither three nor one.
    """
    channels = shape_of(state, key)[1]
    if channels not in CHANNELS:
        raise CheckpointError(f"Expected {what} with three input channels, or one; this one has {channels}.")
    return channels


def shape_of(state: Mapping[str, Tensor], key: str) -> tuple[int, ...]:
    """Return a tensor's shape, or raise `CheckpointError` that says which is missing."""
    if key not in state:
        raise CheckpointError(f"Expected a tensor {key!r}; the file has none. It may be truncated.")
    return tuple(state[key].shape)


def check_stated(pairs: Mapping[str, tuple[object, object]], name: str) -> None:
    """Refuse a file whose words contradict its tensors.

    Parameters
    ----------
    pairs
        Pairs of what the file says and what its tensors show, by the name of the fact.
    name
        Name of the file in sentences.

    Raises
    ------
    CheckpointError
        If they contradict each other; the sentence lists all that differs.
    """
    apart = [f"{key} {said} instead of {shown}" for key, (said, shown) in pairs.items() if said != shown]
    if apart:
        raise CheckpointError(
            f"Expected metadata that fit the tensors; {name} says {', '.join(apart)}. "
            "Undo edits made by hand, or fetch the file again."
        )


def count_of(keys: Iterable[str], prefix: str) -> int:
    """Count the parts ``prefix0.``, ``prefix1.``, … of a network, all of which must be there.

    Raises
    ------
    CheckpointError
        If one is missing. However high a number is, nothing is built for those below it.
    """
    pattern = re.compile(rf"{re.escape(prefix)}(\d{{1,18}})\.")
    found = sorted({int(match[1]) for key in keys if (match := pattern.match(key))})
    missing = next((number for number, there in enumerate(found) if number != there), None)
    if missing is not None:
        raise CheckpointError(
            f"Expected {prefix}0 to {prefix}{found[-1]}; there are {len(found)} of them, and "
            f"{prefix}{missing} is missing. The file may be one of several."
        )
    return len(found)
