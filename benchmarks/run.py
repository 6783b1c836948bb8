"""Print every cost against its floor and budget, measured in this one run: ``make bench``."""

import os
import platform
import sys

import embedding
import gui
import interaction
import torch


def main() -> int:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU"
    print(f"{device}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    missed = 0
    for module in (interaction, gui, embedding):
        for outcome in module.outcomes():
            print(outcome, flush=True)
            missed += not outcome.kept
    print(f"{missed} budgets missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
