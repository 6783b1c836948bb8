"""What simulating costs: processor time per image, so that other work on the machine does not count."""

from time import process_time

from measure import Outcome

from napari_sslmaps.lab.simulators import SIMULATORS, Simulator
from napari_sslmaps.lab.simulators.fields import field_seed

#: Images per second and core that each size is to reach; a training step must never wait for its images.
RATES = {128: 60, 192: 30}


def time_per_image(simulator: Simulator, size: int) -> Outcome:
    """Mean over 40 fields, which differ in cost; the best of three rounds over the same fields."""
    rounds = []
    for _ in range(3):
        start = process_time()  # of all threads: one that only waits counts, too
        for index in range(40):
            simulator.draw(field_seed(1, index), size)
        rounds.append((process_time() - start) / 40)
    cost = min(rounds)
    detail = f"{1 / cost:.0f} images/s per core, wanted {RATES[size]}"
    return Outcome(f"simulate {simulator.name} at {size} px", 1000 * cost, "ms", 1000 / RATES[size], detail)


def outcomes() -> list[Outcome]:
    return [time_per_image(simulator, size) for size in RATES for simulator in SIMULATORS.values()]
