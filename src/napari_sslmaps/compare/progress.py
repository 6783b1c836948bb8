"""How far a comparison is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ComparisonProgress:
    """How far a comparison is.

    Parameters
    ----------
    image, method
        What is being worked on; an empty `method` while an image is scored.
    done, total
        Images finished, and all.
    share
        In [0, 1]: how much of all the work is done.
    kept
        Images that were finished before.
    """

    image: str
    method: str
    done: int
    total: int
    share: float
    kept: int = 0


OnComparison = Callable[[ComparisonProgress], None]
"""Called after every batch of tiles and every score; may raise `Cancelled` to stop."""
