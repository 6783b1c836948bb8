"""Numbers of any library as Python's own."""

import math
import operator
from typing import Any

import numpy as np


def whole_number(value: Any) -> int | None:
    """Return a whole number, also one of NumPy or torch, as an int; None for anything else.

    A truth value is none, nor is a float, whatever it holds.

    Examples
    --------
    >>> import numpy as np
    >>> [whole_number(value) for value in (7, np.uint8(7), True, np.True_, 7.0, "7", [7])]
    [7, 7, None, None, None, None, None]
    """
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def finite_number(value: Any) -> float | None:
    """Return a number, also one of NumPy or torch, as a float; None for anything else.

    A truth value is none, nor are text, infinity and NaN.

    Examples
    --------
    >>> import numpy as np
    >>> [finite_number(value) for value in (7, np.float32(0.5), True, np.True_, "7", float("nan"), None)]
    [7.0, 0.5, None, None, None, None, None]
    """
    if isinstance(value, (bool, np.bool_, str, bytes)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
