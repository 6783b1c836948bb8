"""Tensors that transformers stores apart and our layers hold in one: q, k and v, a gate and its value."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from napari_sslmaps.encoders.checkpoint.layouts.transformers_keys import PART, PARTS
from napari_sslmaps.errors import CheckpointError

Pieces = dict[str, tuple[Tensor, ...]]


class Joined(Mapping[str, Tensor]):
    """Tensors by name, joined along their first axis each time they are asked for.

    A large file stays where it is mapped until its weights are copied, one layer at a time.

    Parameters
    ----------
    pieces
        Of each tensor, in order.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def __getitem__(self, key: str) -> Tensor:
        pieces = self._pieces[key]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


def find_pieces(state: Mapping[str, Tensor]) -> Pieces:
    """Gather the pieces of each tensor under our name; a bias that one piece lacks is zero.

    Parameters
    ----------
    state
        As `translate_key` names it.

    Raises
    ------
    CheckpointError
        If a piece of a weight is missing.
    """
    pieces: Pieces = {}
    for key, tensor in state.items():
        found = PART.fullmatch(key)
        if found is None:
            pieces[key] = (tensor,)
            continue
        stem, layer, _, kind = found.groups()
        names = [f"{stem}{layer}[{part}]{kind}" for part in PARTS[layer]]
        missing = [name for name in names if name not in state]
        if missing and kind == ".weight":
            raise CheckpointError(
                f"Expected {', '.join(names)}; the folder lacks {', '.join(missing)}. A shard may be missing."
            )
        pieces[f"{stem}{layer}{kind}"] = tuple(state.get(name, torch.zeros_like(tensor)) for name in names)
    return pieces
