"""Words that tell names apart in short places."""

import pytest

from napari_sslmaps.core.units import told_apart


@pytest.mark.parametrize(
    ("names", "most", "shown"),
    [
        (["a.png", "b.png"], 12, ["a.png", "b.png"]),
        (["patient_0001_left.webp", "patient_0002_left.webp"], 12, ["…0001…", "…0002…"]),
        (["one_only_and_long.webp"] * 2, 12, ["one_on….webp"] * 2),
        (["slide-12.svs", "slide-1.svs", "slide-112.svs"], 10, ["…12…", "…1…", "…112…"]),
        (["study/case_a/0001.dcm", "study/case_b/0001.dcm"], 12, ["…a…", "…b…"]),
    ],
)
def test_names_are_told_apart_in_short_places(names, most, shown):
    found = told_apart(names, most)
    assert [found[name] for name in names] == shown
