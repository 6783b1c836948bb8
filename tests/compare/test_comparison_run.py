"""Request → scores: what is computed, what is taken over, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparison_kit import EXACT, compared, encoders_in, request_in
from PIL import Image

from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.progress import ComparisonProgress
from napari_sslmaps.compare.record import comparison_from_record, numbers_sha256, record_of
from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest, MaskFile
from napari_sslmaps.compare.store import from_plain
from napari_sslmaps.compare.tables import plots_of, tables_of
from napari_sslmaps.compare.write import write_comparison
from napari_sslmaps.core.findings import Table
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.scale import TokenScale, at_scale
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import (
    AnnotationError,
    Cancelled,
    InvalidAnchorError,
    InvalidOptionError,
    RecordError,
    RegionError,
)
from napari_sslmaps.evaluation.anchor_scores import score_anchors
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.evaluation.map_scores import score_maps
from napari_sslmaps.files import hash_path
from napari_sslmaps.maps.attention import attention_map
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.maps.registry import MapOptions
from napari_sslmaps.pipeline.embedding import embed
from napari_sslmaps.records.linear_head import load_head
from napari_sslmaps.records.run import RunRecord
from napari_sslmaps.sources.masks import read_mask
from napari_sslmaps.sources.open import open_image


def table(comparison: object, key: str) -> Table:
    return next(found for found in tables_of(comparison) if found.key == key)


def test_scores_are_those_of_the_functions(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    comparison = compare(request)
    asked = request.images[0]
    encoder = load_encoder(request.encoders[0].name, device="cpu", precision="float32")
    embedding = embed(asked.image, encoder)
    annotation = Annotation.from_labels(read_mask(asked.annotation.path), (64, 64))
    expected = score_maps(attention_map(embedding), annotation).by_class
    found = {
        row.label: row.scores
        for row in comparison.images[0].maps
        if (row.method, row.map) == (encoder.spec.name, "attention")
    }
    assert found == {"disc": expected[1], "stripes": expected[2]}
    anchors = score_anchors(embedding, annotation, count=8)
    areas = comparison.images[0].areas_of(encoder.spec.name)
    for stratum, values in anchors.areas.items():
        np.testing.assert_array_equal(areas[stratum], values)


def test_a_score_that_measures_each_method_has_a_table_and_is_stored(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=("position",), scores=("boundaries",))
    first = compare(request, folder=tmp_path / "out")
    names = [method.name for method in first.methods]
    assert [(row.method, row.map) for row in first.images[0].measured["boundaries"]] == [
        (name, "clusters") for name in names
    ]
    found = table(first, "boundaries")
    assert found.columns == ("Method", "Map", "Boundary F1", "Precision", "Recall")
    assert [row[0] for row in found.rows] == names
    assert all(0 <= row[2].value <= 1 for row in found.rows)
    again = compare(request, folder=tmp_path / "out")
    assert again.images[0].measured == first.images[0].measured


def test_a_scale_profile_has_every_method_at_every_scale_and_resolution(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=("untrained", "position"), scores=("scale",))
    options = replace(request.options, resolutions=("32px",))
    first = compare(replace(request, options=options), folder=tmp_path / "out")
    names = [*(method.name for method in first.methods), "distance alone"]
    found = table(first, "scale")
    assert found.columns[:4] == ("Method", "Read", "One patch", "σ 0.5 %")
    assert {row[:2] for row in found.rows} == {(name, at) for name in names for at in ("as trained", "32px")}
    assert all(0 <= cell.value <= 1 for row in found.rows for cell in row[2:])
    encoder = load_encoder(request.encoders[0].name, device="cpu", precision="float32")
    by_hand = score_anchors(
        at_scale(embed(request.images[0].image, encoder), TokenScale(4.0, "%")),
        Annotation.from_labels(read_mask(request.images[0].annotation.path), (64, 64)),
        count=8,
    )
    cell = found.rows[0][found.columns.index("σ 4 %")]
    assert cell.value == pytest.approx(np.nanmean(by_hand.areas["all"]))
    plots = [plot for plot in plots_of(first) if plot.key.startswith("scale")]
    assert [plot.key for plot in plots] == ["scale-as-trained", "scale-32px", "scale-heat"]
    assert {curve.label for curve in plots[0].curves} == set(names)
    again = compare(replace(request, options=options), folder=tmp_path / "out")
    assert again.images[0].measured == first.images[0].measured
    record = RunRecord.from_dict(json.loads(json.dumps(record_of(first).to_dict())))
    assert comparison_from_record(record, tmp_path).options.resolutions == ("32px",)


def test_scores_are_at_the_scale_that_is_asked_for_of_encoders_and_controls(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=("pixels",), scores=("anchors",))
    run = replace(request.options.run, maps=MapOptions(scale=TokenScale(8.0)))
    scaled = compare(replace(request, options=replace(request.options, run=run)), keep=True)
    assert {found.provenance.scale for found in scaled.embeddings.values()} == {8.0}
    plain = compare(request)
    for method in plain.methods:
        one, other = (found.images[0].areas_of(method.name)["all"] for found in (plain, scaled))
        assert not np.allclose(one, other, equal_nan=True)
    np.testing.assert_array_equal(plain.images[0].nearness["all"], scaled.images[0].nearness["all"])


def test_every_method_has_the_same_anchors_and_is_in_the_tables(tmp_path: Path) -> None:
    kinds = ("untrained", "constant", "position", "pixels", "colour")
    comparison = compare(request_in(tmp_path, controls=kinds))
    names = [method.name for method in comparison.methods]
    assert names[:2] == ["mae-tiny", "dira-tiny"]
    assert {method.control for method in comparison.methods} == {None, *kinds}
    assert comparison.images[0].anchor_yx.shape == (8, 2)
    assert [row[0] for row in table(comparison, "anchors").rows] == [*names, "distance alone"]
    assert {row[0] for row in table(comparison, "maps").rows} == set(names)
    for encoder in ("mae-tiny", "dira-tiny"):
        own = {control.control for control in comparison.controls_of(encoder)}
        assert own == set(kinds)
    assert len(table(comparison, "agreement").rows) == 1


def test_similarity_is_scored_against_the_class_of_its_anchors(tmp_path: Path) -> None:
    comparison = compare(request_in(tmp_path))
    labels = {row.label for row in comparison.images[0].maps if row.map == "similarity"}
    assert labels == {"stripes"}


def test_each_group_of_anchors_has_a_map_that_is_scored_and_recorded(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=("position",))
    groups = (
        AnchorGroup("stripes", anchors=((10.0, 60.0), (30.0, 60.0)), negative=((2.0, 2.0),)),
        AnchorGroup("none", "#ff0000"),
    )
    asked = replace(request.images[0], groups=groups)
    comparison = compare(replace(request, images=(asked,)))
    found = {(row.map, row.label) for row in comparison.images[0].maps if row.map.startswith("sim")}
    assert found == {("similarity", "stripes"), ("similarity, stripes", "stripes")}
    record = RunRecord.from_dict(json.loads(json.dumps(record_of(comparison).to_dict())))
    again = compare(comparison_from_record(record, tmp_path))
    assert numbers_sha256(again.images) == numbers_sha256(comparison.images)


def test_what_is_embedded_already_is_taken_over(tmp_path: Path) -> None:
    request = request_in(tmp_path, controls=())
    encoder = load_encoder(request.encoders[0].name, device="cpu", precision="float32")
    embedding = embed(request.images[0].image, encoder)
    marked = replace(embedding, attention=np.zeros_like(embedding.attention))
    known = {("0.png", "mae-tiny"): marked}
    found = compare(request, embeddings=known, encoders={request.encoders[0].name: encoder}, keep=True)
    assert found.embeddings["0.png", "mae-tiny"] is marked
    assert {row.scores.auroc for row in found.images[0].maps if row.map == "attention"} == {0.5}
    elsewhere = embed(request.images[0].image, encoder, region=Region(0, 0, 48, 48))
    found = compare(request, embeddings={("0.png", "mae-tiny"): elsewhere}, keep=True)
    assert found.embeddings["0.png", "mae-tiny"].grid == embedding.grid


def test_an_image_in_memory_is_compared_in_its_region(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    with open_image(request.images[0].image) as source:
        asked = replace(request.images[0], image=source, region=Region(0, 8, 48, 56))
        comparison = compare(replace(request, images=(asked,)))
        source.read(Region(0, 0, 4, 4))  # it stays open
    assert comparison.images[0].record.path == ""
    assert comparison.images[0].provenance["mae-tiny"]["region"]["width"] == 56


def test_progress_never_falls_and_can_stop(tmp_path: Path) -> None:
    seen: list[ComparisonProgress] = []
    request = request_in(tmp_path, 2)
    compare(request, seen.append)
    shares = [state.share for state in seen]
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    assert {state.doing for state in seen} == {"embedding", "scoring"}
    assert {state.image for state in seen} == {"0.png", "1.png"}

    def stop(state: ComparisonProgress) -> None:
        if state.doing == "scoring":
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        compare(request, stop)


def test_all_findings_over_several_images(tmp_path: Path) -> None:
    request = request_in(tmp_path, 4, controls=("position",), scores=("probes", "label-efficiency"))
    comparison = compare(request)
    probes = table(comparison, "probes")
    assert [row[0] for row in probes.rows] == ["mae-tiny", "dira-tiny", "position-8px"]
    assert probes.columns[2:] == (
        "Recognised: background",
        "Recognised: disc",
        "Recognised: stripes",
    )
    assert "4 images" in probes.notes[0]
    [plot] = plots_of(comparison)
    assert (plot.key, len(plot.curves)) == ("label-efficiency", 3)
    assert table(comparison, "label-efficiency").rows[0][0] == "mae-tiny"


def test_localisation_from_labels_of_images(tmp_path: Path) -> None:
    images = compared(tmp_path, 6)
    labelled = []
    for number, image in enumerate(images):
        if number % 2:
            plain = np.full((64, 64, 3), (90, 40, 120), np.uint8)
            plain[::2] += 20
            Image.fromarray(plain).save(image.image)
            labelled.append(replace(image, label="nothing", annotation=None))
        else:
            labelled.append(replace(image, label="disc"))
    request = ComparisonRequest(
        tuple(labelled),
        encoders_in(tmp_path / "weights", "mae", "dira"),
        controls=("pixels",),
        scores=("localisation",),
        options=ComparisonOptions(EXACT),
    )
    comparison = compare(request)
    assert [row[0] for row in table(comparison, "image-labels").rows] == [
        "mae-tiny",
        "dira-tiny",
        "pixels-8px",
    ]
    place = table(comparison, "localisation")
    assert [row[0] for row in place.rows] == ["mae-tiny", "dira-tiny", "dira-tiny, Grad-CAM", "pixels-8px"]
    assert "3 of 6 images" in place.notes[0]
    write_comparison(comparison, tmp_path / "out")
    kept = load_head(tmp_path / "out" / "heads" / "dira-tiny.json")
    assert (kept.encoder, kept.names) == ("dira-tiny", ("disc", "nothing"))
    np.testing.assert_array_equal(kept.linear.weights, comparison.heads["dira-tiny"].linear.weights)
    assert sorted(comparison.heads) == ["dira-tiny", "mae-tiny"]
    with pytest.raises(InvalidOptionError, match="label for every image"):
        compare(replace(request, images=(replace(labelled[0], label=""), *labelled[1:])))


def test_robustness_gives_a_plot_per_perturbation_and_measure(tmp_path: Path) -> None:
    options = ComparisonOptions(EXACT, anchor_count=8, perturbations=("gain",))
    request = replace(
        request_in(tmp_path, controls=("position",), scores=("anchors", "robustness")), options=options
    )
    comparison = compare(request)
    plots = plots_of(comparison)
    assert len(plots) == 3
    assert all([curve.label for curve in plot.curves] == ["mae-tiny", "dira-tiny"] for plot in plots)
    assert {plot.y_label for plot in plots} >= {"change of AUROC of anchors"}


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"images": ()}, InvalidOptionError, "at least one image"),
        ({"encoders": ()}, InvalidOptionError, "at least one encoder"),
        ({"scores": ("beauty",)}, InvalidOptionError, "beauty"),
        ({"controls": ("nothing",)}, InvalidOptionError, "nothing"),
    ],
)
def test_bad_requests_get_a_sentence(
    tmp_path: Path, change: dict[str, object], error: type[Exception], match: str
) -> None:
    request = request_in(tmp_path)
    with pytest.raises(error, match=match):
        replace(request, **change)


def test_images_that_cannot_be_compared_get_a_sentence(tmp_path: Path) -> None:
    request = request_in(tmp_path, 2)
    first, second = request.images
    with pytest.raises(InvalidOptionError, match="several are called"):
        replace(request, images=(first, replace(second, name=first.name)))
    with pytest.raises(InvalidOptionError, match=r"Expected a mask for 0\.png"):
        compare(replace(request, images=(replace(first, annotation=None),)))
    empty = Annotation.from_labels(np.zeros((64, 64), np.uint8), (64, 64))
    with pytest.raises(AnnotationError, match="empty"):
        compare(replace(request, images=(replace(first, annotation=empty),)))
    Image.fromarray(np.ones((64, 32), np.uint8)).save(tmp_path / "masks" / "0.png")
    with pytest.raises(AnnotationError, match="another scale"):
        compare(replace(request, images=(first,)))
    with pytest.raises(AnnotationError, match=r"0\.png: Expected"):
        compare(request)
    twice = request.encoders[:1] * 2
    with pytest.raises(InvalidOptionError, match="different names"):
        compare(replace(request, encoders=twice))


def test_an_image_of_one_class_is_left_out_among_several_and_named(tmp_path: Path) -> None:
    request = request_in(tmp_path, 3)
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "masks" / "1.png")
    comparison = compare(request)
    assert [bool(image.maps and image.anchors) for image in comparison.images] == [True, False, True]
    for key in ("anchors", "maps"):
        assert any("1.png is left out" in note for note in table(comparison, key).notes)
    assert {row[0] for row in table(comparison, "images").rows} == {"0.png", "2.png"}
    with pytest.raises(AnnotationError, match="all are 'disc'"):
        compare(replace(request, images=request.images[1:2]))
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "masks" / "2.png")
    with pytest.raises(AnnotationError, match="none of 2 can"):
        compare(replace(request, images=request.images[1:]))


def test_anchors_and_regions_are_checked_before_anything_is_embedded(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    asked, seen = request.images[0], []
    far = (100.0, 3.0)
    for change, error in (
        ({"anchors": (far,)}, InvalidAnchorError),
        ({"negative": (far,)}, InvalidAnchorError),
        ({"groups": (AnchorGroup("far", anchors=(far,)),)}, InvalidAnchorError),
        ({"region": Region(0, 0, 80, 64)}, RegionError),
        ({"region": Region(0, 0, 8, 8, level=3)}, RegionError),
    ):
        with pytest.raises(error):
            compare(replace(request, images=(replace(asked, **change),)), seen.append)
    assert {state.method for state in seen} == {""}


def test_a_large_region_is_not_perturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_sslmaps.compare.scoring.MOST_PIXELS", 1000)
    with pytest.raises(RegionError, match="1000 px"):
        compare(request_in(tmp_path, scores=("robustness",)))


def test_samples_bring_their_masks() -> None:
    from napari_sslmaps.compare.listing import ListingOptions, list_images

    (histology, ultrasound), _ = list_images(["sample:histology", "sample:ultrasound"], ListingOptions())
    assert isinstance(histology, ComparedImage)
    assert histology.annotation.classes == {1: "epithelium", 2: "stroma"}
    for image, shape in ((histology, (512, 512)), (ultrasound, (240, 320))):
        mask = Annotation.from_labels(read_mask(image.annotation.path), shape, ignore=image.annotation.ignore)
        assert mask.classes == (1, 2)
        assert mask.labels.min() == -1


def test_grey_and_coloured_images_are_compared_and_that_is_said(tmp_path: Path) -> None:
    request = request_in(tmp_path, 2)
    first, second = request.images
    grey = tmp_path / "grey.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(grey)
    mixed = replace(request, images=(first, replace(second, image=str(grey))))
    for _ in range(2):  # computed, and found in the folder
        comparison = compare(mixed, folder=tmp_path / "scores")
        notes = tables_of(comparison)[0].notes
        assert any("1 of the images are grey and 1 coloured, such as" in note for note in notes)
    assert not any("coloured" in note for note in tables_of(compare(request))[0].notes)


def test_a_mask_that_is_painted_on_meanwhile_is_recorded_as_it_was_scored(tmp_path: Path) -> None:
    request = request_in(tmp_path, scores=("maps",))
    mask = tmp_path / "masks/0.png"
    scored = hash_path(mask)

    def paint(*_: object) -> None:
        Image.fromarray(np.ones((64, 64), np.uint8)).save(mask)

    record = record_of(compare(request, on_image=paint))
    assert hash_path(mask) != scored
    assert record.evaluation["images"][0]["mask"]["sha256"] == scored
    with pytest.raises(RecordError, match=r"Expected the mask of 0\.png of this record"):
        comparison_from_record(record, tmp_path)


def framed(folder: Path, margin: int) -> tuple[ComparedImage, ...]:
    """An image like an ultrasound frame, grey speckle between black margins, with a disc to be found."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 200, (64, 64), dtype=np.uint8)
    rows, cols = np.mgrid[:64, :64]
    labels = ((rows - 32) ** 2 + (cols - 32) ** 2 < 100).astype(np.uint8)
    pixels[:, :margin] = pixels[:, 64 - margin :] = 0
    Image.fromarray(pixels).save(folder / "image.png")
    Image.fromarray(labels).save(folder / "mask.png")
    return (ComparedImage("image.png", str(folder / "image.png"), MaskFile(folder / "mask.png")),)


def test_black_margins_that_are_scored_are_measured_and_said_until_they_are_left_out(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), images=framed(tmp_path, 16), scores=("maps", "anchors", "probes"))
    out = tmp_path / "out"
    first = compare(request, folder=out)
    assert first.images[0].evidence.outside == pytest.approx(0.5, abs=0.13)  # a token at the edge is inside
    stored = json.loads((out / "images" / "image.png" / "scores.json").read_text(encoding="utf-8"))
    assert stored["scores"]["evidence"]["outside"] == first.images[0].evidence.outside
    share = f"{100 * first.images[0].evidence.outside:.0f} % of what is scored lies outside"
    write_comparison(first, out)
    assert share in (out / "report.html").read_text(encoding="utf-8")
    notes = {key: " ".join(table(first, key).notes) for key in ("anchors", "maps", "probes")}
    assert all(share in text and "--region-mask auto" in text for text in notes.values())
    del stored["scores"]["evidence"]["outside"]  # as earlier versions wrote it
    assert np.isnan(from_plain(stored["scores"]).evidence.outside)
    run = replace(request.options.run, mask="auto")
    inside = compare(replace(request, options=replace(request.options, run=run)))
    assert inside.images[0].evidence.outside == 0
    assert "outside the tissue" not in " ".join(table(inside, "anchors").notes)


def test_margins_too_narrow_to_count_are_not_spoken_of(tmp_path: Path) -> None:
    request = replace(request_in(tmp_path), images=framed(tmp_path, 2), scores=("anchors",))
    assert "outside the tissue" not in " ".join(table(compare(request), "anchors").notes)
