"""Whole numbers of any library as Python's own."""

import operator
from typing import Any


def whole_number(value: Any) -> int | None:
    """Return a whole number, also one of NumPy or torch, as an int; None for anything else.

    A truth value is none, nor is a float, whatever it holds.

    Examples
    --------
    >>> import numpy as np
    >>> [whole_number(value) for value in (7, np.uint8(7), True, 7.0, "7", [7])]
    [7, 7, None, None, None, None]
    """
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
