"""Which field comes when: a fresh order in every epoch, told by the seed and the place alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HELD_OUT, _HELD_OUT_SHARE = 16, 20
_HOLDING, _ORDER, _PLACE = 1, 2, 3


class Order:
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
