"""Numbers of every map, on both samples, by each of the four methods' encoders."""

import numpy as np
import pytest
import snapshots
from guard_kit import read_data


def assert_close(now, before, what):
    assert (now["shape"], now["dtype"]) == (before["shape"], before["dtype"]), what
    assert now["known"] == before["known"], what
    for name in ("mean", "percentiles", "sampled"):
        numbers = [np.array(part[name], float) for part in (now, before)]  # None becomes NaN
        np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-5, err_msg=f"{what}: {name}")


@pytest.mark.parametrize("domain", snapshots.DOMAINS)
def test_maps_have_the_numbers_that_they_had(domain):
    now, before = snapshots.map_numbers(domain), read_data(f"maps-{domain}.json")
    flat = {f"{method}: {name}": told for method, maps in now.items() for name, told in maps.items()}
    assert flat.keys() == before.keys()
    for name, numbers in before.items():
        assert_close(flat[name], numbers, name)
