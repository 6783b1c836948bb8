"""What simulating costs: processor time per image, so that other work on the machine does not count."""

import json
import os
import subprocess
import sys

from measure import Outcome

#: Images per second and core that each size is to reach; a training step must never wait for its images.
RATES = {128: 60, 192: 30}

# The mean over 40 fields, which differ in cost; the best of three rounds over the same fields.
COST = """
import json, sys
from time import process_time
from napari_sslmaps.simulators import SIMULATORS, field_seed

def cost(draw, size):
    start = process_time()
    for index in range(40):
        draw(field_seed(1, index), size)
    return (process_time() - start) / 40

sizes = [int(size) for size in sys.argv[1:]]
print(json.dumps([
    (name, size, min(cost(simulator.draw, size) for _ in range(3)))
    for size in sizes for name, simulator in SIMULATORS.items()
]))
"""


def outcomes() -> list[Outcome]:
    """In a process of its own: the number of threads is settled when numpy is imported."""
    command = [sys.executable, "-c", COST, *map(str, RATES)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=alone)
    return [
        Outcome(
            f"simulate {name} at {size} px",
            1000 * cost,
            "ms",
            1000 / RATES[size],
            f"{1 / cost:.0f} images/s per core, wanted {RATES[size]}",
        )
        for name, size, cost in json.loads(done.stdout)
    ]
