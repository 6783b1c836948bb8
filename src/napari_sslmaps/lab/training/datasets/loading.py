"""Shards of a training's steps: which field comes when, read ahead by other processes where that pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_sslmaps.errors import SSLMapsError, UnsupportedImageError
from napari_sslmaps.lab.training.datasets.protocol import FieldSource
from napari_sslmaps.lab.training.recipes import Recipe

_ATTEMPTS = 100
Key = tuple[int, int]


class Shard(NamedTuple):
    """Fields of one shard, (n, S, S, 3) uint8, and a sentence for each file that could not be read."""

    pixels: Tensor
    skipped: tuple[str, ...]


class Shards(Dataset[Shard]):
    """Shard `s` of step `t` by the key (t, s): it depends on seed, t and s alone.

    Parameters
    ----------
    source
        Fields to load from.
    recipe
        Recipe with the seed, batch and shards.
    """

    def __init__(self, source: FieldSource, recipe: Recipe) -> None:
        self.source = source
        self.order = EpochOrder(len(source), recipe.seed)
        self._batch, self._shard = recipe.batch, recipe.shard
        self._faults: dict[int, str] = {}

    def __getitem__(self, key: Key) -> Shard:
        step, shard = key
        first = step * self._batch + shard * self._shard
        said: dict[str, None] = {}
        fields = [self._field(position, said) for position in range(first, first + self._shard)]
        return Shard(torch.from_numpy(np.stack(fields)), tuple(said))

    def watched(self) -> Tensor:
        """Fields that are looked at and not trained on, (n, S, S, 3) uint8; those unreadable are left out."""
        fields = []
        for place, index in enumerate(self.order.watched.tolist()):
            try:
                fields.append(self.source.read(index, self.order.random(-1 - place)))
            except SSLMapsError:  # said when it is met in training, or held out and of no consequence
                continue
        if not fields:
            fields = [self._field(place, {}) for place in range(4)]
        return torch.from_numpy(np.stack(fields))

    def _field(self, position: int, said: dict[str, None]) -> NDArray[np.uint8]:
        """Read the field at a position, or the next one that can be read."""
        for attempt in range(_ATTEMPTS):
            index = self.order.index(position + attempt)
            if index in self._faults:
                continue
            try:
                return self.source.read(index, self.order.random(position))
            except SSLMapsError as error:
                self._faults[index] = str(error)
                said[str(error)] = None
        reason = next(iter(self._faults.values()))
        raise UnsupportedImageError(
            f"Expected readable images in {self.source.name}; {_ATTEMPTS} tries in a row failed. "
            f"The first fault: {reason}"
        )


class Keys:
    """Keys of one process's shards, from a step to the end, in the order they are computed."""

    def __init__(self, start: int, steps: int, own: range) -> None:
        self._start, self._steps, self._own = start, steps, own

    def __iter__(self) -> Iterator[Key]:
        return ((step, shard) for step in range(self._start, self._steps) for shard in self._own)

    def __len__(self) -> int:
        return (self._steps - self._start) * len(self._own)


def read_ahead(shards: Shards, keys: Keys, *, workers: int, pin: bool) -> Iterator[Shard]:
    """Iterate over the shards of `keys`, read by `workers` processes ahead of time.

    Parameters
    ----------
    shards
        Shards to read from.
    keys
        Keys in the order in which shards are wanted.
    workers
        Processes; 0 reads in this one, which is best for a bank of simulated fields.
    pin
        Whether to put the shards in page-locked memory, for a GPU.
    """
    loader: DataLoader[Shard] = DataLoader(
        shards,
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        pin_memory=pin,
    )
    return iter(loader)


_HELD_OUT, _HELD_OUT_SHARE = 16, 20
_HOLDING, _ORDER, _PLACE = 1, 2, 3


class EpochOrder:
    """Order of `count` fields; a few are held out for watching a training.

    Parameters
    ----------
    count
        Number of fields.
    seed
        Seed of the training.
    """

    def __init__(self, count: int, seed: int) -> None:
        shuffled = np.random.default_rng([seed, _HOLDING]).permutation(count)
        held = min(_HELD_OUT, count // _HELD_OUT_SHARE)
        self.watched: NDArray[np.int64] = shuffled[:held] if held else np.resize(shuffled, _HELD_OUT)
        self.trained: NDArray[np.int64] = np.sort(shuffled[held:])
        self._seed = seed
        self._epoch, self._shuffled = -1, self.trained

    def index(self, position: int) -> int:
        """Field at `position`, counted in images from the start of the training."""
        epoch, place = divmod(position, len(self.trained))
        if epoch != self._epoch:
            random = np.random.default_rng([self._seed, _ORDER, epoch])
            self._epoch, self._shuffled = epoch, random.permutation(self.trained)
        return int(self._shuffled[place])

    def random(self, position: int) -> np.random.Generator:
        """Randomness for reading the field at `position`; watched fields have negative ones."""
        return np.random.default_rng([self._seed, _PLACE, int(position < 0), abs(position)])
