"""The question on real images: lead, slope and verdict of leads that are known."""

import numpy as np
import pytest

from napari_sslmaps.lab.study.page import to_markdown
from napari_sslmaps.lab.study.real_images import leads, real_blocks, slope, verdict

SHARES = {
    "ebhi_seg_heldout": 0.1,
    "camelyon_tumour": 0.2,
    "usgra_nerve_vessel": 0.04,
    "busbra_breast": 0.08,
    "hc18_heldout": 0.16,
}
DOMAINS = {"histology": tuple(SHARES)[:2], "ultrasound": tuple(SHARES)[2:]}


def results_with(rise, *, spread=0.02, learned=0.01):
    """Results in which I-JEPA's lead grows by `rise` where the signal is twice as long."""
    rng = np.random.default_rng(0)
    found = {}
    for domain, names in DOMAINS.items():
        for method in ("ijepa", "dinov3", "mae", "dira"):
            masks = {}
            for name in names:
                ahead = rise * np.log2(SHARES[name]) if method == "ijepa" else 0
                untrained = rng.normal(0.6, 0.1, 30)
                encoder = untrained + ahead + rng.normal(0.1, spread, 30)
                masks[name] = {
                    "share": SHARES[name],
                    "by_image": {"encoder": encoder.tolist(), "untrained": untrained.tolist()},
                    "areas": {
                        "encoder": {"all": float(encoder.mean())},
                        "untrained": {"all": float(untrained.mean())},
                    },
                    "gains": {"untrained": {"value": 0.1, "low": learned, "high": 0.2}},
                }
            found[f"{method}-{domain}"] = {"domain": domain, "method": method, "masks": masks}
    return found


@pytest.mark.parametrize(("rise", "said"), [(0.05, "supports"), (-0.05, "against"), (0.0, "undecided")])
def test_the_verdict_follows_the_slope(rise, said):
    found = leads(results_with(rise))
    estimate = slope(found)
    assert estimate.value == pytest.approx(rise, abs=0.01)
    assert estimate.low < estimate.value < estimate.high
    assert verdict(found) == said


def test_the_slope_is_that_of_least_squares_with_an_intercept_for_each_domain():
    found = leads(results_with(0.03))
    design = np.array(
        [[np.log2(each.share), each.domain == "histology", each.domain == "ultrasound"] for each in found],
        float,
    )
    wanted = np.linalg.lstsq(design, np.array([each.lead.mean() for each in found]), rcond=None)[0][0]
    assert slope(found).value == pytest.approx(wanted)


def test_what_has_not_learned_shows_nothing():
    assert verdict(leads(results_with(0.05, learned=-0.01))) == "undecided"


def test_one_set_has_no_slope():
    results = results_with(0.05)
    assert np.isnan(slope(leads(results)[:1]).value)
    del results["dinov3-histology"]
    assert {each.domain for each in leads(results)} == {"ultrasound"}


def test_the_page_has_a_row_for_every_set():
    page = to_markdown(list(real_blocks(results_with(0.05))), "none.png", level=3)
    assert "says *supports*" in page
    assert "**undecided**" in page  # with one training of each
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(SHARES)
    assert {row.count("|") for row in rows} == {10}
    assert " local |" in page
    assert " global |" in page
