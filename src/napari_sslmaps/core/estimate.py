"""A number with its uncertainty."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with a 95 % interval.

    Parameters
    ----------
    value
        As observed; NaN where it is not defined.
    low, high
        Ends of the interval; NaN where there is too little to resample.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0
