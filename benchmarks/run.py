"""Print every cost against its floor and budget, measured in this one run: ``make bench``."""

import argparse
import os
import platform
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
    "neighbourhood",
    "embedding",
    "streaming",
    "reading",
    "batch",
    "comparison",
    "probes",
    "simulators",
    "training",
    "peers",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(MODULES)}; all if omitted")
    modules = parser.parse_args().modules or MODULES
    machine = f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, torch {version('torch')}")
    missed = 0
    for name in modules:
        for outcome in import_module(name).outcomes():
            print(outcome, flush=True)
            missed += not outcome.kept
    print(f"{missed} budgets missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
