import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sslmaps import Annotation, Embedding
from napari_sslmaps.compare import advice as advice_words
from napari_sslmaps.compare.advice import advise
from napari_sslmaps.compare.image_statistics import ImageStatistics, locality_of, statistics_of
from napari_sslmaps.compare.images import OpenedImage
from napari_sslmaps.compare.request import ComparedImage, ComparisonRequest
from napari_sslmaps.compare.results import AnchorRow, ComparedMethod, Comparison, MapRow, ScoredImage
from napari_sslmaps.compare.tables import tables_of
from napari_sslmaps.compare.verdicts import rank_encoders
from napari_sslmaps.core.findings import cell_text
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.evaluation.anchor_scores import STRATA
from napari_sslmaps.evaluation.map_scores import MapScores
from napari_sslmaps.evaluation.robustness import CENTRED, COSINE, Response, Robustness
from napari_sslmaps.evaluation.uncertainty import bootstrap_mean, paired_difference
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.records.run import ImageRecord
from napari_sslmaps.sources.array import ArraySource

METHODS = {"sees": "dinov3", "foretells": "ijepa", "paints": "mae", "unites": "dira"}
CONTROL = ComparedMethod("position-8px", "position", "position", tuple(METHODS))


def areas(mean, seed, count=12):
    drawn = np.random.default_rng(seed).normal(0, 0.02, count)
    return dict.fromkeys(STRATA, mean + drawn)


def scored(number, means, control=0.6, **fields):
    rows = [AnchorRow(name, areas(mean, number)) for name, mean in means.items()]
    rows.append(AnchorRow(CONTROL.name, areas(control, number)))
    return ScoredImage(
        name=f"image {number}",
        record=ImageRecord("", "", shape_yx=(64, 64), spacing_um_yx=None),
        anchors=tuple(rows),
        nearness=areas(0.55, number),
        provenance={name: {"method": METHODS[name]} for name in means},
        **fields,
    )


def comparison(*images, scores=("anchors",)):
    names = [name for name in METHODS if any(name in image.provenance for image in images)]
    methods = (*(ComparedMethod(name, name) for name in names), CONTROL)
    request = ComparisonRequest(
        tuple(ComparedImage(image.name, "") for image in images),
        tuple(EncoderChoice(name) for name in names),
        scores=scores,
    )
    return Comparison(request=request, methods=methods, images=images)


def statistics(share, *, tokens=3.0, contrast=math.nan, um=math.nan, signal="annotation"):
    return ImageStatistics("image", signal, 24.0, tokens, share, um, 0.031, contrast)


def text(found, start):
    return next(sentence for sentence in found.sentences if sentence.startswith(start))


ALL = {"sees": 0.8, "foretells": 0.7, "paints": 0.75, "unites": 0.58}


def test_who_is_ahead_by_how_much_and_how_sure():
    images = [scored(number, ALL) for number in range(3)]
    found = advise(comparison(*images))
    groups = np.repeat([0, 1, 2], 12)
    values = [np.concatenate([image.areas_of(name)["all"] for image in images]) for name in ALL]
    assert [row[0] for row in found.table.rows] == ["sees", "paints", "foretells", "unites"]
    assert found.table.rows[0][2] == bootstrap_mean(values[0], groups)
    assert found.table.rows[1][3] == paired_difference(values[2], values[0], groups)
    sentence = text(found, "On these 3 images sees is ahead")
    assert cell_text(bootstrap_mean(values[0], groups)) in sentence
    assert ", 0.050 [0.050, 0.050] above paints, more than chance explains." in sentence
    assert found.table.notes == found.sentences


def test_one_image_speaks_of_no_other():
    found = advise(comparison(scored(0, {"sees": 0.8})))
    assert text(found, "On this image sees has a mean").endswith("].")
    assert "say nothing of others" in text(found, "Brackets hold")


def test_who_does_not_beat_its_controls_is_said_so():
    found = advise(comparison(*(scored(number, ALL) for number in range(2))))
    assert "sees, foretells and paints beat all of their controls." in found.sentences
    assert "position-8px" in text(found, "unites does not beat its controls")
    assert {row[0]: row[4] for row in found.table.rows} == {
        "sees": "yes", "foretells": "yes", "paints": "yes", "unites": "no",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("share", "means", "verdict"),
    [
        (0.02, {"sees": 0.8, "foretells": 0.7}, "agree with that paper"),
        (0.02, {"sees": 0.7, "foretells": 0.8}, "contradict that paper"),
        (0.25, {"sees": 0.8, "foretells": 0.7}, "contradict that paper"),
        (0.25, {"sees": 0.7, "foretells": 0.8}, "agree with that paper"),
    ],
)
def test_scores_are_held_against_the_paper(share, means, verdict):
    found = advise(comparison(*(scored(number, means) for number in range(2))), [statistics(share)])
    assert f"Your own scores {verdict}" in text(found, "Your own scores")
    paper = text(found, "Pretext Matters")
    assert "arXiv 2603.22649" in paper
    expected = "sees" if share < 0.1 else "foretells"
    assert paper.index(f"({expected})") < paper.index(f"({'foretells' if expected == 'sees' else 'sees'})")
    favoured = {row[0]: row[5] for row in found.table.rows}
    assert favoured[expected] == "yes"
    assert sorted(favoured.values()) == ["no", "yes"]


def test_a_difference_that_chance_explains_decides_nothing():
    images = [scored(0, {"sees": 0.7, "foretells": 0.7})]
    drawn = areas(0.7, 99)
    images[0] = replace(
        images[0], anchors=(images[0].anchors[0], AnchorRow("foretells", drawn), images[0].anchors[-1])
    )
    found = advise(comparison(*images), [statistics(0.02)])
    assert "decide nothing" in text(found, "Your own scores")
    assert "which chance can explain." in text(found, "On this image no encoder is clearly ahead: ")


def test_what_a_users_own_images_say_comes_first_and_papers_last():
    images = [scored(number, ALL, robustness=(robust("sees", 0.9),)) for number in range(2)]
    around = [replace(statistics(0.02), outside=0.3)]
    sentences = advise(comparison(*images), around).sentences
    starts = (
        *("On these 2 images", "Brackets", "sees, foretells and paints beat", "unites does not beat"),
        *("30 % of what is scored", "Under Gaussian noise", "The annotated signal", "A third of that"),
        *("Noise is at most", "Pretext Matters", "In simulated scenes", "Your own scores", "The same paper"),
        *("DiRA's paper", "This is evidence"),
    )
    assert [sentence[: len(start)] for sentence, start in zip(sentences, starts, strict=True)] == list(starts)


@pytest.mark.parametrize(
    ("share", "means"), [(0.1, ALL), (0.02, {"sees": 0.8, "paints": 0.7}), (math.nan, ALL)]
)
def test_where_the_paper_says_nothing_neither_do_the_scores(share, means):
    found = advise(comparison(scored(0, means)), [statistics(share)])
    assert not [sentence for sentence in found.sentences if sentence.startswith("Your own scores")]


def test_the_scale_is_told_in_pixels_lengths_tokens_and_share():
    found = advise(comparison(scored(0, ALL)), [statistics(0.021, um=12.0), statistics(0.043, um=16.0)])
    sentence = text(
        found, "The annotated signal stays like itself over 24 px (14 µm), the median of 2 images"
    )
    assert "3 tokens, 3.2 % of the region's side" in sentence
    assert "local" in sentence
    found = advise(comparison(scored(0, ALL)), [statistics(0.2, um=41_900, signal="similarity")])
    assert "(41.9 mm)" in text(found, "What is similar to the anchors")


def test_a_signal_below_the_tokens_is_warned_of():
    found = advise(comparison(scored(0, ALL)), [statistics(0.01, tokens=0.4)])
    assert "finer level" in text(found, "That is less than one token")


def robust(method, cosine):
    runs = {COSINE: np.ones((2, 1)), CENTRED: np.array([[1.0], [cosine]])}
    return Robustness(method, {key: Response(np.array([0.0, 0.1]), runs) for key in ("speckle", "gaussian")})


def test_noise_is_told_and_who_bore_it():
    plain = advise(comparison(scored(0, ALL)), [statistics(0.02)])
    assert "0.031 of the intensity window;" in text(plain, "Noise is at most")
    assert text(plain, "Ask for robustness")
    image = scored(0, ALL, robustness=(robust("paints", 0.4), robust("sees", 0.9)))
    found = advise(comparison(image), [statistics(0.02, contrast=0.3)])
    assert "local contrast at most 0.3" in text(found, "Noise is at most")
    assert text(found, "Under speckle").endswith("sees 0.90, paints 0.40.")


def test_robustness_is_told_as_a_table_too():
    images = [scored(number, ALL, robustness=(robust("sees", 0.9 - 0.2 * number),)) for number in range(2)]
    table = next(
        found for found in tables_of(comparison(*images)) if found.key == "robustness-centred-cosine"
    )
    assert table.columns == ("method", "speckle", "Gaussian noise")
    assert table.rows == (("sees", pytest.approx(0.8), pytest.approx(0.8)),)


def test_dira_is_quoted_where_it_is_compared():
    found = advise(comparison(scored(0, ALL)))
    assert "for unites, ask for both scores" in text(found, "DiRA's paper")
    asked = comparison(scored(0, ALL), scores=("label-efficiency", "localisation"))
    assert "both are scored here" in text(advise(asked), "DiRA's paper")
    without = advise(comparison(scored(0, {"sees": 0.8})))
    assert not [sentence for sentence in without.sentences if sentence.startswith("DiRA")]


def test_what_concerns_no_encoder_here_is_not_quoted():
    found = advise(comparison(scored(0, {"paints": 0.8, "unites": 0.7})), [statistics(0.02)])
    assert not [sentence for sentence in found.sentences if sentence.startswith("In simulated scenes")]
    assert "arXiv 2603.22649) takes view invariance" in text(found, "Pretext Matters (")


def test_our_own_study_is_quoted_as_its_page_has_it():
    page = Path(__file__).parents[2] / "docs" / "study.md"
    assert advice_words.STUDY in page.read_text(encoding="utf-8")
    found = advise(comparison(scored(0, ALL)), [statistics(0.02)])
    assert "−0.027" in text(found, "In simulated scenes")


def test_without_scores_nothing_speaks_for_anyone():
    image = ScoredImage(
        "image",
        ImageRecord("", "", shape_yx=(8, 8), spacing_um_yx=None),
        provenance={"sees": {"method": "dinov3"}},
    )
    found = advise(comparison(image))
    assert text(found, "Neither anchors nor maps were scored")
    assert found.table.rows == (("sees", "view invariance", found.table.rows[0][2], None, None, None),)
    assert math.isnan(found.table.rows[0][2].value)
    assert found.sentences[-1] == advice_words.CLOSING


def map_row(method, kind, label, auroc):
    return MapRow(method, kind, label, MapScores(auroc, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5))


def test_maps_rank_where_anchors_were_not_scored():
    rows = (
        map_row("sees", "attention", "gland", 0.7),
        map_row("sees", "pca 1", "gland", 0.99),
        map_row("unites", "activation", "gland", 0.8),
        map_row("sees", "attention", "stroma", 0.6),
        map_row(CONTROL.name, "similarity", "gland", 0.9),
    )
    image = replace(scored(0, {"sees": 0.8, "unites": 0.7}), anchors=(), nearness={}, maps=rows)
    ranking = rank_encoders(comparison(image))
    assert ranking.what == "AUROC of maps"
    assert ranking.order == ("unites", "sees")
    np.testing.assert_allclose(ranking.values["sees"], [0.7, 0.6])
    np.testing.assert_allclose(ranking.values["unites"], [0.8, np.nan])
    assert ranking.lead("unites", "sees").value == pytest.approx(0.1)


def opened_image(pixels, *, labels=None, anchors=(), spacing=None):
    source = ArraySource(pixels, spacing_um_yx=spacing)
    annotation = None if labels is None else Annotation.from_labels(labels, labels.shape)
    asked = ComparedImage("image", source, anchors=anchors)
    record = ImageRecord("", "", shape_yx=pixels.shape[:2], spacing_um_yx=spacing)
    return OpenedImage(asked, source, record, Region(0, 0, *pixels.shape[:2]), annotation)


def test_evidence_is_measured_of_the_region():
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 2, (16, 16)), np.ones((8, 8), int))
    pixels = (np.clip(0.5 + 0.05 * rng.normal(size=(128, 128)), 0, 1) * 1000).astype(np.uint16)
    tokens = Embedding.from_tokens(labels[::8, ::8, None] + [[[0.0, 1.0]]], stride=8)
    embedding = replace(tokens, provenance=Provenance(window=(0.0, 1000.0)))
    found = statistics_of(opened_image(pixels, labels=labels, spacing=(0.5, 0.5)), embedding)
    assert (found.signal, found.scale.reach) == ("annotation", "local")
    assert found.length_px == pytest.approx(5.5, abs=1.5)
    assert found.length_um == pytest.approx(found.length_px / 2)
    assert found.sigma == pytest.approx(0.05, rel=0.06)
    assert found.contrast == pytest.approx(0.1, rel=0.06)
    by_anchor = statistics_of(opened_image(pixels, anchors=((4.0, 4.0),)), embedding)
    assert by_anchor.signal == "similarity"
    assert by_anchor.tokens == pytest.approx(found.tokens, abs=0.3)
    assert math.isnan(by_anchor.length_um)
    nothing = statistics_of(opened_image(pixels), embedding)
    assert nothing.signal == "none"
    assert locality_of([nothing]) == "unknown"
