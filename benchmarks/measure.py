"""Timing two things against each other in one run, so that only their ratio matters."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
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
    work: Callable[[], object], floor: Callable[[], object], repeats: int = 9
) -> tuple[float, float, float]:
    """Ratio of work to floor, and the seconds of each: the best of `repeats`, taken in turn.

    Other work on the machine only ever adds time, so the best is what the code itself needs.
    """
    work(), floor()
    pairs = [(seconds(work), seconds(floor)) for _ in range(repeats)]
    ours, lowest = (min(times) for times in zip(*pairs, strict=True))
    return ours / lowest, ours, lowest
