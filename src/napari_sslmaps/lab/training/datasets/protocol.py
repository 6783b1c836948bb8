"""Protocol of training data for the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class FieldSource(Protocol):
    """Fields by number.

    Attributes
    ----------
    name
        Name of the data in the provenance.
    fingerprint
        Hash that differs when the files differ; equal on every machine that sees the same files.
    skipped
        A sentence for each file that was left out already.
    """

    @property
    def name(self) -> str:
        """Name of the data in the provenance."""
        ...

    @property
    def fingerprint(self) -> str:
        """Differs when the files differ."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence for each file that was left out already."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Read one field, (S, S, 3) RGB; where it lies in its image is drawn from `random`.

        Raises
        ------
        SSLMapsError
            If its file cannot be read; the text names the file.
        """
        ...


@dataclass(frozen=True, slots=True)
class ArrayFields:
    """Fields of an array, (n, S, S, 3) uint8, in memory or memory-mapped.

    Attributes
    ----------
    pixels
        All fields, (n, S, S, 3) uint8.
    name, fingerprint, skipped
        Facts on the data; see `FieldSource`.
    path
        The ``.npy`` file that `pixels` is mapped from, which another process opens for itself; None if it is
        in memory.
    """

    pixels: NDArray[np.uint8]
    name: str = "array"
    fingerprint: str = ""
    skipped: tuple[str, ...] = ()
    path: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Send another process the name of a file rather than all its fields."""
        facts = (self.name, self.fingerprint, self.skipped, self.path)
        return (ArrayFields, (self.pixels, *facts)) if self.path is None else (_mapped, facts)

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, index: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Return field `index`; nothing is drawn."""
        del random
        pixels: NDArray[np.uint8] = self.pixels[index]
        return pixels


def _mapped(name: str, fingerprint: str, skipped: tuple[str, ...], path: Path) -> ArrayFields:
    return ArrayFields(np.load(path, mmap_mode="r"), name, fingerprint, skipped, path)


@dataclass(frozen=True, slots=True)
class MixedFields:
    """Fields of one source and then of another; an epoch has all of both."""

    first: FieldSource
    second: FieldSource

    @property
    def name(self) -> str:
        """Names of both, joined."""
        return f"{self.first.name}, mixed with {self.second.name}"

    @property
    def fingerprint(self) -> str:
        """Differs when either's does."""
        return f"{self.first.fingerprint} + {self.second.fingerprint}"

    @property
    def skipped(self) -> tuple[str, ...]:
        """Files of both that were left out already."""
        return (*self.first.skipped, *self.second.skipped)

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def read(self, index: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Read a field of the source that it belongs to."""
        if index < len(self.first):
            return self.first.read(index, random)
        return self.second.read(index - len(self.first), random)
