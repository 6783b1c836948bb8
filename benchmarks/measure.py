"""Timing two things against each other in one run, so that only their ratio matters."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Outcome:
    """One line of the table: what was measured, against which budget."""

    name: str
    value: float
    unit: str
    budget: float
    detail: str = ""

    @property
    def kept(self) -> bool:
        return self.value <= self.budget

    def __str__(self) -> str:
        mark = "kept  " if self.kept else "MISSED"
        return (
            f"{mark}  {self.name:<52} {self.value:8.3g} {self.unit:<4} budget {self.budget:g}  {self.detail}"
        )


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start


def ratio(
    work: Callable[[], object], floor: Callable[[], object], repeats: int = 7
) -> tuple[float, float, float]:
    """Median ratio of work to floor, measured in turn, and the median seconds of each."""
    work(), floor()
    pairs = [(seconds(work), seconds(floor)) for _ in range(repeats)]
    return (
        median(one / other for one, other in pairs),
        median(one for one, _ in pairs),
        median(other for _, other in pairs),
    )
