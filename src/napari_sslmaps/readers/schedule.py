"""Schedule of what each reader is shown: letters by Latin squares, repeats apart from their firsts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from napari_sslmaps.errors import InvalidOptionError
from napari_sslmaps.readers.study import LETTERS, Design, Reader, Trial

_SET = 4
"""Maps beside each other of which the best and the worst are chosen."""
_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class _Item:
    """Item shown once to every reader: an image, a map, and methods in a row of a square for each reader."""

    image: int
    map: str
    rows: tuple[tuple[str, ...], ...]

    def shown(self, turn: int) -> tuple[str, ...]:
        return self.rows[turn % len(self.rows)]


def williams_square(count: int) -> tuple[tuple[int, ...], ...]:
    """Return orders of things in which each stands equally often in every place and after every other.

    Parameters
    ----------
    count
        Number of things, at least 1.

    Returns
    -------
    tuple
        `count` orders, twice as many where it is odd (Williams, Australian Journal of Chemistry 1949).

    Examples
    --------
    >>> williams_square(4)
    ((0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1))
    """
    first = [(step + 1) // 2 if step % 2 else (count - step // 2) % count for step in range(count)]
    rows = [tuple((place + shift) % count for place in first) for shift in range(count)]
    if count % 2 and count > 1:
        rows += [tuple(reversed(row)) for row in rows]
    return tuple(rows)


def make_schedule(
    readers: Sequence[str],
    images: Sequence[int],
    methods: Mapping[str, Sequence[str]],
    design: Design,
    *,
    repeats: float = 0.1,
    seed: int = 0,
) -> tuple[Reader, ...]:
    """Draw what every reader is shown.

    Each reader sees every item once, in an order of their own, and a share of them again in the second half.
    Which method stands behind which letter is drawn anew for each block of items and turns by a Williams
    square within it, and from reader to reader.

    Parameters
    ----------
    readers
        Names of the readers, each once.
    images
        Numbers of the images.
    methods
        Key of a map → names of the methods that give it.
    design
        Design of the study: how maps are judged.
    repeats
        Share of the items that every reader sees twice, in [0, 1].
    seed
        Seed of everything that is drawn.

    Raises
    ------
    InvalidOptionError
        If there are too few or too many methods, a reader is named twice, or the share is none.
    """
    check_readers(readers)
    check_repeats(repeats)
    for key, names in methods.items():
        check_methods(names, key)
    rng = np.random.default_rng(seed)
    items = [
        item for key, names in methods.items() for item in _items(images, key, _sets(names, design), rng)
    ]
    codes = _ids(rng, len(readers))
    return tuple(
        Reader(name, codes[number], _trials(items, number, repeats, rng))
        for number, name in enumerate(readers)
    )


def check_methods(names: Sequence[str], key: str) -> None:
    """Refuse methods that cannot be told apart or compared.

    Parameters
    ----------
    names
        Names of the methods, controls included.
    key
        Key of the map that they give.

    Raises
    ------
    InvalidOptionError
        If there are too few or too many, or two are the same.
    """
    if not 2 <= len(names) <= len(LETTERS) or len(set(names)) < len(names):
        raise InvalidOptionError(
            f"Expected 2 to {len(LETTERS)} different methods, controls included, that give {key}; got "
            f"{', '.join(names) or 'none'}. Choose other encoders or controls."
        )


def check_readers(readers: Sequence[str]) -> None:
    """Refuse no reader, and one that is named twice; raises `InvalidOptionError`."""
    if not readers or len(set(readers)) < len(readers):
        raise InvalidOptionError(
            f"Expected readers of different names; got {', '.join(readers) or 'none'}. Give each a name."
        )


def check_repeats(repeats: float) -> None:
    """Refuse what is no share; raises `InvalidOptionError`."""
    if not 0 <= repeats <= 1:
        raise InvalidOptionError(f"Expected a share of repeats from 0 to 1; got {repeats:g}.")


def _items(
    images: Sequence[int], key: str, sets: Sequence[tuple[str, ...]], rng: np.random.Generator
) -> list[_Item]:
    """Items of one map; letters are drawn for each block that uses every row of the square once."""
    square = williams_square(len(sets[0]))
    pairs = [(image, names) for image in images for names in sets]
    found = []
    for at, place in enumerate(rng.permutation(len(pairs)).tolist()):
        if at % len(square) == 0:
            drawn = rng.permutation(len(sets[0])).tolist()
        image, names = pairs[place]
        turned = [square[(at + turn) % len(square)] for turn in range(len(square))]
        rows = tuple(tuple(names[drawn[letter]] for letter in row) for row in turned)
        found.append(_Item(image, key, rows))
    return found


def _sets(names: Sequence[str], design: Design) -> list[tuple[str, ...]]:
    """Methods that are shown together: all, pairs, or sets that turn so that each comes equally often."""
    if design == "pairwise":
        return list(combinations(names, 2))
    if design == "rating" or len(names) <= _SET:
        return [tuple(names)]
    count = len(names)
    return [tuple(names[(first + step) % count] for step in range(_SET)) for first in range(count)]


def _trials(
    items: Sequence[_Item], number: int, repeats: float, rng: np.random.Generator
) -> tuple[Trial, ...]:
    order = [items[place] for place in rng.permutation(len(items)).tolist()]
    ids = iter(_ids(rng, 2 * len(items)))
    firsts = [Trial(next(ids), item.image, item.map, item.shown(number)) for item in order]
    half = -(-len(items) // 2)
    count = min(round(repeats * len(items)), half)
    # of the first half alone, and shown in the second
    again = [
        Trial(next(ids), item.image, item.map, item.shown(number + 1), firsts[place].id)
        for place in rng.permutation(half)[:count].tolist()
        for item in (order[place],)
    ]
    late = [*firsts[half:], *again]
    return (*firsts[:half], *(late[place] for place in rng.permutation(len(late)).tolist()))


def _ids(rng: np.random.Generator, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[rng.bytes(_ID_BYTES).hex()] = None
    return list(found)
