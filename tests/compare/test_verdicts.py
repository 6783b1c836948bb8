"""Who beats its controls, and how it is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest
from napari_sslmaps.compare.results import AnchorRow, ComparedMethod, Comparison, MapRow, ScoredImage
from napari_sslmaps.compare.tables import anchor_table, class_table, difference_table, map_table
from napari_sslmaps.compare.verdicts import NEARNESS, Verdict, doubts_of, verdicts
from napari_sslmaps.compare.write import plot_table
from napari_sslmaps.core.findings import Curve, Estimate, Plot
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.records.run import ImageRecord

STRATA = ("all", "near", "middle", "far")


def comparison(good: float, control: float, images: int = 3) -> Comparison:
    """An encoder and a control whose anchors score about so much, beside a distance that scores 0.6."""
    rng = np.random.default_rng(0)

    def image(number: int) -> ScoredImage:
        base = rng.normal(0, 0.01, 12)

        def areas(level: float) -> dict[str, np.ndarray]:
            return dict.fromkeys(STRATA, level + base + rng.normal(0, 0.01, 12))

        return ScoredImage(
            name=str(number),
            record=ImageRecord("", ""),
            anchors=(AnchorRow("ours", areas(good)), AnchorRow("pixels-8px", areas(control))),
            nearness=areas(0.6),
            maps=tuple(
                MapRow("ours", "pca", label, MapScores(score, score, 1, score, 0, score, 0, 0.5))
                for label, score in (("disc", 0.9), ("stripes", 0.5 + 0.1 * number))
            ),
        )

    request = ComparisonRequest(
        tuple(ComparedImage(str(number), "unused") for number in range(images)), (EncoderChoice("ours"),)
    )
    methods = (ComparedMethod("ours", "Ours"), ComparedMethod("pixels-8px", "pixels", "pixels", ("ours",)))
    return Comparison(request, methods, tuple(image(number) for number in range(images)))


def test_an_encoder_that_is_clearly_better_beats_its_controls() -> None:
    found = comparison(0.9, 0.7)
    [verdict] = verdicts(found)
    assert verdict.unbeaten == ()
    assert doubts_of([verdict]) == ()
    rows = {row[0]: row for row in anchor_table(found).rows}
    assert rows["ours"][-1] == "yes"
    assert rows["pixels-8px"][-1] is None
    assert rows["ours"][1].low < 0.9 < rows["ours"][1].high + 0.02


@pytest.mark.parametrize(("control", "unbeaten"), [(0.9, ("pixels-8px",)), (0.95, ("pixels-8px",))])
def test_one_that_is_not_is_named_with_the_control(control: float, unbeaten: tuple[str, ...]) -> None:
    found = comparison(0.9, control)
    [verdict] = verdicts(found)
    assert verdict.unbeaten == unbeaten
    table = anchor_table(found)
    assert table.rows[0][-1] == "no"
    assert any("ours does not beat its controls" in note and "pixels-8px" in note for note in table.notes)


def test_nearness_is_a_control_of_every_encoder() -> None:
    [verdict] = verdicts(comparison(0.6, 0.5))
    assert (verdict.unbeaten, verdict.word) == ((NEARNESS,), "all that see")
    assert anchor_table(comparison(0.6, 0.5)).rows[0][-1] == "all that see"


def test_what_nearness_alone_does_as_well_is_said_to_be_in_one_piece() -> None:
    [told] = doubts_of(verdicts(comparison(0.6, 0.5)))
    assert "it is clearly better than pixels-8px, but not than distance alone. Where" in told
    [told] = doubts_of(verdicts(comparison(0.6, 0.6)))
    assert "in one piece" not in told


def test_what_was_not_compared_is_not_said_to_be_beaten() -> None:
    found = comparison(0.6, 0.5)
    [told] = doubts_of(verdicts(replace(found, methods=found.methods[:1])))
    assert "it is no better than distance alone" in told
    assert "which were not compared" in told


def verdict(encoder: str, *unbeaten: str) -> Verdict:
    """A verdict of an encoder beside its twin, pixels, position and distance alone."""
    names = (f"{encoder}-untrained", "pixels", "position", NEARNESS)
    sure, unsure = Estimate(0.1, 0.05, 0.15), Estimate(0.0, -0.1, 0.1)
    differences = tuple((name, unsure if name in unbeaten else sure) for name in names)
    return Verdict(encoder, differences, ("position", NEARNESS), names[0])


def test_encoders_that_fail_alike_share_a_sentence() -> None:
    near = [verdict(name, NEARNESS) for name in ("mae", "ijepa", "dira")]
    [told] = doubts_of([verdict("dinov3"), *near])
    assert told == (
        "mae, ijepa and dira do not beat their controls: they are clearly better than their untrained "
        "twins and pixels, but not than distance alone. Where what is sought lies in one piece, places near "
        "the anchor are right without a look at the image; beating controls that look tells more."
    )
    seen = [verdict("mae", "pixels", NEARNESS), verdict("ijepa", "ijepa-untrained")]
    [told] = doubts_of([*seen, verdict("dira", "pixels", NEARNESS)])
    assert told == (
        "mae, ijepa and dira do not beat their controls: mae and dira are not clearly better than pixels and "
        "distance alone, nor ijepa than ijepa-untrained. What their maps show may not need these encoders."
    )
    [told] = doubts_of([*near[:2], verdict("dira", "position", NEARNESS)])
    assert told.split(". ")[0] == (
        "mae, ijepa and dira do not beat their controls: they are clearly better than their untrained "
        "twins and pixels; mae and ijepa are not clearly better than distance alone, nor dira than position "
        "and distance alone"
    )
    [told] = doubts_of([verdict(name, f"{name}-untrained") for name in ("mae", "dira")])
    assert "they are not clearly better than their untrained twins. What" in told
    assert doubts_of([verdict("dinov3")]) == ()


def test_near_middle_and_far_are_said_at_the_table() -> None:
    found = comparison(0.9, 0.7)
    strata = {**found.images[0].anchors[0].areas, "far": np.array([*[np.nan] * 10, 0.6, 0.7])}
    rows = (AnchorRow("ours", strata), *found.images[0].anchors[1:])
    images = (replace(found.images[0], anchors=rows), *found.images[1:])
    table = anchor_table(replace(found, images=images))
    assert table.tips.keys() == set(table.columns[1:])
    assert "nearest third of the region" in table.tips["AUROC, near"]
    assert any("of 36 anchors 36 near, 36 at middle distance, 26 far." in note for note in table.notes)
    assert difference_table(found).tips.keys() == set(difference_table(found).columns[2:])


def test_differences_are_paired_by_anchor() -> None:
    found = comparison(0.9, 0.7)
    rows = {row[:2]: row[2] for row in difference_table(found).rows}
    difference = rows["ours", "pixels-8px"]
    assert difference.value == pytest.approx(0.2, abs=0.01)
    assert difference.high - difference.low < 0.03  # what both share of an anchor's luck is gone


def test_of_maps_the_class_found_best_is_shown_averaged_over_images() -> None:
    found = comparison(0.9, 0.7)
    [row] = map_table(found).rows
    assert row[2] == "disc"
    assert row[3].value == pytest.approx(0.9)
    assert any("favours" in note for note in map_table(found).notes)
    by_class = {row[2]: row[3].value for row in class_table(found).rows}
    assert by_class == pytest.approx({"disc": 0.9, "stripes": 0.6})
    assert np.isnan(map_table(comparison(0.9, 0.7, images=1)).rows[0][3].low)


def test_without_anchors_there_is_no_verdict(tmp_path: Path) -> None:
    found = comparison(0.9, 0.7, images=1)
    bare = Comparison(found.request, found.methods, (ScoredImage("0", ImageRecord("", "")),))
    assert verdicts(bare) == ()
    assert anchor_table(bare).rows == difference_table(bare).rows == ()


def test_a_plot_is_a_table_of_its_points() -> None:
    x, y = np.array([1, 2], np.float32), np.array([0.5, 0.25], np.float32)
    table = plot_table(Plot("T", "x", "y", (Curve("a", x, y), Curve("b", x, y, y, y))))
    assert table.rows[0] == ("a", 1.0, 0.5, None, None)
    assert table.rows[3] == ("b", 2.0, 0.25, 0.25, 0.25)


def test_what_is_said_of_intervals_is_true_of_one_image() -> None:
    one, several = comparison(0.9, 0.7, images=1), comparison(0.9, 0.7)
    said = {len(each.images): " ".join(anchor_table(each).notes) for each in (one, several)}
    assert "resampling the anchors of the one image; they say nothing about others." in said[1]
    assert "resampling images and the anchors in them." in said[3]
    assert "choice of anchors explains" in difference_table(one).notes[0]
    assert "choice of images and anchors explains" in difference_table(several).notes[0]
