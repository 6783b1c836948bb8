import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslmaps.lab.gate.verdict import Needed, label, verdict

SCORES = st.floats(0.1, 0.9)


def test_the_probe_needs_the_margin_where_controls_agree():
    needed = Needed.from_controls([0.5, 0.5, 0.5], [0.4, 0.4, 0.4], colour_knn=0.45)
    assert needed.probe == pytest.approx(0.55)
    assert needed.failed_by(probe=needed.probe, knn=0.45) == []
    assert needed.failed_by(probe=needed.probe - 1e-9, knn=0.45) == ["probe"]


def test_the_probe_needs_three_deviations_where_controls_differ():
    needed = Needed.from_controls([0.45, 0.5, 0.55], [0.4] * 3, colour_knn=0.3)
    assert needed.probe == pytest.approx(0.5 + 3 * 0.05)


@given(st.lists(SCORES, min_size=2, max_size=5), st.lists(SCORES, min_size=2, max_size=5), SCORES)
def test_neighbours_need_the_better_of_untrained_and_colour(probes, neighbours, colour):
    needed = Needed.from_controls(probes, neighbours, colour)
    assert needed.knn == pytest.approx(max(sum(neighbours) / len(neighbours), colour))
    assert needed.failed_by(probe=9.0, knn=needed.knn - 1e-9) == ["knn"]
    assert needed.failed_by(probe=0.0, knn=0.0) == ["probe", "knn"]
    assert needed.probe >= sum(probes) / len(probes) + 0.05 - 1e-9


def result(*failed: str) -> dict:
    estimate = {"value": 0.1, "low": 0.05, "high": 0.15}
    return {
        "domain": "histology",
        "gain": {"probe": estimate, "knn": estimate},
        "gain_over_colour": {"knn": {"value": -0.02, "low": -0.04, "high": 0.01}},
        "trained": {"probe": {"value": 0.6}},
        "needed": {"probe": 0.55, "knn": 0.5},
        "failed": list(failed),
    }


def test_a_verdict_says_what_failed_and_by_how_much():
    assert verdict(result()).startswith("**It beats its controls** on simulated histology")
    text = verdict(result("knn"))
    assert text.startswith("**It does not beat its controls** on simulated histology (nearest neighbours)")
    assert "+0.100 [+0.050, +0.150]" in text
    assert "-0.020 [-0.040, +0.010]" in text
    assert label(result()) == "beats its controls"
    assert label(result("probe", "knn")) == "does not beat its controls (probe, neighbours)"
