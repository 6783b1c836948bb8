"""Scale on real images: a lead that is known at each scale, on the page and in the figure."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sslmaps.core.scale import SCALES
from napari_sslmaps.lab.study.page import to_markdown
from napari_sslmaps.lab.study.real_scales import change_of_lead, draw_scales, lead_against_scale, scale_blocks

SETS = {"camelyon_tumour": "histology", "hc18_heldout": "ultrasound", "busbra_breast": "ultrasound"}


def profiles_with(rise, *, spread=0.01):
    """Profiles in which I-JEPA's gain grows by `rise` from one patch to the largest scale."""
    rng = np.random.default_rng(0)
    sets = {}
    for name, domain in SETS.items():
        areas = {}
        for method in ("ijepa", "dinov3", "mae", "dira"):
            untrained = rng.normal(0.6, 0.05, (20, len(SCALES)))
            gain = rng.normal(0.1, spread, (20, len(SCALES)))
            if method == "ijepa":
                gain += rise * np.array(SCALES) / SCALES[-1]
            areas[method], areas[f"{method}-untrained"] = (untrained + gain).tolist(), untrained.tolist()
        sets[name] = {"domain": domain, "areas": areas}
    return {"scales": list(SCALES), "sets": sets}


@pytest.mark.parametrize("rise", [0.08, -0.08, 0.0])
def test_the_change_is_what_the_lead_gains_with_scale(rise):
    sets = list(profiles_with(rise)["sets"].values())
    found = change_of_lead(sets)
    assert found.value == pytest.approx(rise, abs=0.01)
    assert found.low < found.value < found.high
    lead = lead_against_scale(sets[0])
    assert lead.shape == (20, len(SCALES))
    assert found.value == pytest.approx(
        np.mean([(each[:, -1] - each[:, 0]).mean() for each in map(lead_against_scale, sets)])
    )


def test_without_a_set_there_is_no_change():
    assert np.isnan(change_of_lead([]).value)


@pytest.mark.parametrize(("rise", "said"), [(0.08, "supports"), (-0.08, "against"), (0.0, "undecided")])
def test_the_page_says_what_each_domain_shows(rise, said):
    spread = 0.05 if rise == 0 else 0.01
    page = to_markdown(list(scale_blocks(profiles_with(rise, spread=spread), "scales.png")), "none.png")
    assert page.count(f"says *{said}*") == 2
    assert "](scales.png)" in page
    assert "none.png" not in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(SETS)
    assert {row.count("|") for row in rows} == {9}


def test_the_figure_has_a_column_for_every_set(tmp_path: Path):
    draw_scales(profiles_with(0.05), tmp_path / "scales.png")
    with Image.open(tmp_path / "scales.png") as picture:
        assert picture.size[0] == pytest.approx(2.9 * len(SETS) * 110, abs=2)
