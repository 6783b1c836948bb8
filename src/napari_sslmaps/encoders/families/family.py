"""A family of networks: what it is asked for lists, files and forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import Inference, Translated, Unwrapped
from napari_sslmaps.encoders.spec import Architecture

if TYPE_CHECKING:
    from torch import nn

    from napari_sslmaps.encoders.families.extractor import FeatureExtractor
    from napari_sslmaps.encoders.methods.method import Method


class Convolutional:
    """Base of the architectures of convolutional networks: they have no attention and no positions."""

    __slots__ = ()

    @property
    def attention_blocks(self) -> int:
        """0: there is no attention."""
        return 0

    @property
    def attention_heads(self) -> int:
        """0: there is no attention."""
        return 0

    @property
    def square_tiles(self) -> bool:
        """Whether tiles should be squares; nothing here depends on it."""
        return False

    @property
    def stored_side(self) -> int:
        """0: there are no positions."""
        return 0

    def work(self, rows: int, cols: int) -> float:
        """Count the tokens of a tile: each takes the same time."""
        return float(rows * cols)


@dataclass(frozen=True, slots=True)
class Network:
    """Functions on the networks of a family, which need torch.

    Parameters
    ----------
    build
        Function that makes a network with untrained weights of an architecture.
    extractor
        Function that wraps such a network, so that pixels give features.
    start
        Function that fills a fresh network, of that architecture, with the weights that a method's training
        starts from; the number, or the method's own for None, multiplies the patch embedding where there is
        one.
    test_side
        Side in pixels of a small input, by which a forward pass is tried.
    """

    build: Callable[[Any], nn.Module]
    extractor: Callable[[Any], FeatureExtractor]
    start: Callable[[Any, Any, Method, float | None], None]
    test_side: Callable[[Any], int]


@dataclass(frozen=True, slots=True)
class Family:
    """Networks of one kind.

    Parameters
    ----------
    kind
        Name of the family in files.
    title
        Name in sentences, with its article.
    architecture
        The dataclass of its architectures.
    mark
        A key, under our names, that each of its networks has and no other.
    prefixes
        Function that finds, among the dotted names of a file, what stands before the keys of each of its
        networks.
    corrections
        Fields of `Overrides` that mean something to it.
    network
        Path of its `Network`, as ``module:name``: lists and help must not load torch.
    recognition
        Path of the function that returns its architecture from weights, as ``module:name``; see `recognise`.
    stages
        Stages whose features can serve as tokens, each with its stride in pixels; empty where it has no
        choice.
    later
        Fields of its architectures that younger versions brought: they are written down only where they are
        not the default, so that the keys of what was computed before stay as they are.
    """

    kind: str
    title: str
    architecture: type[Any]
    mark: str
    prefixes: Callable[[Iterable[str]], set[str]]
    corrections: tuple[str, ...]
    network: str
    recognition: str
    stages: Mapping[str, int] = field(default_factory=dict)
    later: tuple[str, ...] = ()

    def load_network(self) -> Network:
        """Import what is done with its networks."""
        found: Network = resolve_name(self.network)
        return found

    def recognise(self, case: Case, method: Method, written: Architecture | None) -> Architecture:
        """Return the architecture of a file's network.

        Parameters
        ----------
        case, method
            The file, and which method it is of.
        written
            Architecture that the file itself states; None if it states none.

        Raises
        ------
        CheckpointError
            If the weights are none of this family, or do not tell enough.
        InvalidOptionError
            If a correction does not fit.
        """
        found: Architecture = resolve_name(self.recognition)(case, method, written)
        return found


def prefixes_of(names: Iterable[str], key: str) -> set[str]:
    """Return what stands before a key wherever it ends a dotted name; empty where it is the whole name."""
    return {name.removesuffix(key) for name in names if name == key or name.endswith(f".{key}")}


_OF_A_NETWORK = (
    "num_heads",
    "eps",
    "token_stage",
    "antialias",
    "offset",
    "grid",
    "rope_coords",
    "relative_rule",
)


@dataclass(frozen=True, slots=True)
class Case:
    """A file to be identified, and what has been found so far.

    Parameters
    ----------
    file, translated
        Tensors of the file under its own names, and under ours.
    overrides
        Corrections that were given.
    name
        Name of the file in sentences.
    notes
        Values with how each was found.
    doubts
        Sentences of what the file cannot tell, or tells otherwise than was given.
    """

    file: Unwrapped
    translated: Translated
    overrides: Overrides
    name: str
    notes: list[Inference] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def note(self, field_name: str, value: object, how: str) -> None:
        """Write down a value and how it was found."""
        self.notes.append(Inference(field_name, str(value), how))

    def doubt_idle(self, family: Family) -> None:
        """Say which corrections mean nothing to a network; with several files they are for the others."""
        self.doubts.extend(
            f"You gave {name}, which means nothing to {family.title}; it was not used."
            for name in _OF_A_NETWORK
            if name in self.overrides.keywords and name not in family.corrections
        )
