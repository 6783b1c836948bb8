"""Reading of the networks of a pretext task from an encoder's file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from napari_sslmaps.encoders.checkpoint.read import read_pretext_heads
from napari_sslmaps.encoders.families.vit_recognition import BLOCKS, weigh_heads
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.pretext_heads.blocks import Stack
from napari_sslmaps.encoders.recognition import PretextHeads, count_of
from napari_sslmaps.errors import CheckpointError, MapUnavailableError

if TYPE_CHECKING:
    from napari_sslmaps.encoders.encoder import Encoder

_HEAD_WIDTHS = (32, 16)


def pretext_heads_of(encoder: "Encoder") -> PretextHeads:
    """Read what an encoder's pretext task needs beside it, from the file that it came from.

    Parameters
    ----------
    encoder
        Encoder that `load_encoder` returned.

    Returns
    -------
    PretextHeads
        Tensors of the file's precision, on the CPU; empty if the file holds the encoder alone.

    Raises
    ------
    MapUnavailableError
        If the encoder is an untrained control, which has no file.
    CheckpointError, WeightsUnavailableError
        If the file has been changed or moved since.
    """
    spec = encoder.spec
    if spec.path is None:
        raise MapUnavailableError(
            f"Expected an encoder that was trained, with the networks of its pretext task; {spec.name} is an "
            "untrained control, which has none. Choose the encoder that it is the twin of."
        )
    return read_pretext_heads(spec.path, Overrides.of(spec.overrides))


def part_of(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return what lies under `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


@dataclass(frozen=True, slots=True)
class Heads:
    """Facts about the number of heads of a stack of blocks.

    Parameters
    ----------
    known
        Number that the file or what lies beside it states.
    usual
        Number that the authors' code would take: for I-JEPA's predictor as many as the encoder has. Without
        it heads of 32 channels, as MAE's decoder has, or of 16 where the width is no multiple of 32.
    """

    known: int | None
    usual: int | None = None

    def of(self, width: int) -> int:
        """Return the number for a width, the known one unchecked."""
        if self.known is not None:
            return self.known
        if self.usual is not None and width % self.usual == 0:
            return self.usual
        return next((width // each for each in _HEAD_WIDTHS if width % each == 0), 1)


def stack_of(state: Mapping[str, Tensor], blocks: str, heads: Heads, eps: float) -> tuple[Stack, str]:
    """Read the shape of a stack of blocks from its tensors.

    Parameters
    ----------
    state
        Tensors by key.
    blocks
        Prefix of the numbers of the blocks, for example ``decoder_blocks.``.
    heads
        Facts about their number of heads.
    eps
        LayerNorm epsilon; files do not hold it.

    Returns
    -------
    tuple
        The shape, and a sentence about the heads; empty if they are known.

    Raises
    ------
    CheckpointError
        If blocks are missing or the heads do not divide the width.
    """
    depth = count_of(state, blocks)
    hidden = state.get(f"{blocks}0.mlp.fc1.weight")
    if hidden is None:
        raise CheckpointError(f"Expected whole blocks {blocks}0, {blocks}1, … in the file; it lacks them.")
    width = hidden.shape[1]
    number, weighed = heads.of(width), None
    if heads.known is None:
        own = {f"{BLOCKS}{key.removeprefix(blocks)}": state[key] for key in state if key.startswith(blocks)}
        weighed = weigh_heads(own, width, depth).heads
        number = weighed or number
    if number < 1 or width % number:
        raise CheckpointError(f"Expected heads of {blocks}0 that divide its width {width}; got {number}.")
    how = "are assumed" if weighed is None else "are what its weights speak for"
    assumed = f"The file does not tell the heads of its {blocks.rstrip('.')}; {number} {how}."
    stack = Stack(width, depth, number, hidden.shape[0] / width, eps)
    return stack, "" if heads.known is not None else assumed


_Network = TypeVar("_Network", bound=nn.Module)


def fill(build: Callable[[], _Network], state: Mapping[str, Tensor], what: str) -> _Network:
    """Build a network around the tensors of `state`, each of which it must have.

    Parameters
    ----------
    build
        Function that makes the network. Its own weights are never drawn: it is made without memory.
    state
        Tensors by key, of any precision.
    what
        Name of the network, for an error's sentence.

    Returns
    -------
    Module
        Network in evaluation mode, float32, without gradients.

    Raises
    ------
    CheckpointError
        If keys are missing, left over, or of another shape.
    """
    with torch.device("meta"):
        network = build()
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    faults = [key for key in own.keys() | found.keys() if own.get(key) != found.get(key)]
    if faults:
        listed = "; ".join(
            f"{key} expected {own.get(key, 'nothing')}, got {found.get(key, 'nothing')}"
            for key in sorted(faults)[:6]
        )
        raise CheckpointError(
            f"The {what} in the file does not fit its own description, in {len(faults)} keys: {listed}."
        )
    exact = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    network.load_state_dict(exact, assign=True)
    return network.eval().requires_grad_(requires_grad=False)
