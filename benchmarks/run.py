"""Print every cost against its floor and budget, measured in this one run: ``make bench``."""

import os
import sys
from importlib import import_module
from importlib.metadata import version

# In this order: the window's first run is to meet a process that has not imported torch.
MODULES = (
    "gui",
    "clicks",
    "scale",
    "soak",
    "interaction",
    "embedding",
    "streaming",
    "reading",
    "batch",
    "comparison",
    "probes",
    "simulators",
    "training",
)


def main() -> int:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {version('torch')}")
    missed = 0
    for name in MODULES:
        for outcome in import_module(name).outcomes():
            print(outcome, flush=True)
            missed += not outcome.kept
    print(f"{missed} budgets missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
