from dataclasses import replace

import numpy as np
import pytest
from encoders_factory import write_encoder
from sklearn.metrics.pairwise import paired_cosine_distances

from napari_sslmaps import (
    Annotation,
    Embedding,
    embed,
    load_encoder,
    score_anchors,
    score_map,
    similarity_map,
)
from napari_sslmaps.core.baselines import colour_embedding, position_embedding
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.errors import Cancelled, InvalidOptionError, UnsupportedImageError
from napari_sslmaps.evaluation.perturbations import PERTURBATIONS, rotate_pixels, rotated_back
from napari_sslmaps.evaluation.robustness import (
    CENTRED,
    COSINE,
    RobustnessOptions,
    join_regions,
    robustness,
    token_cosine,
)
from napari_sslmaps.evaluation.robustness_tables import robustness_plots, robustness_table

STRIDE = 4
GRID = TokenGrid.covering(Region(0, 0, 96, 96), STRIDE)
FEW = RobustnessOptions(("gaussian", "blur", "rotation"), {"rotation": (30, 90)}, seeds=2)


def smooth(seed=0, sigma=6):
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(np.random.default_rng(seed).normal(size=(96, 96, 3)), (sigma, sigma, 0))
    field = (field - field.min()) / np.ptp(field)
    return np.rint(255 * field).astype(np.uint8)


def colours(unit):
    """Means alone: they turn with the image."""
    found = colour_embedding(unit, GRID, window=(0, 1))
    return replace(found, tokens=np.ascontiguousarray(found.tokens[..., :3]))


def places(unit):
    return position_embedding(GRID)


def test_cosines_are_scikit_learn_s():
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(5, 6, 7)).astype(np.float32) for _ in range(2))
    second[0, 0] = np.nan
    foreground = rng.random((5, 6)) < 0.7
    one = replace(Embedding.from_tokens(first), foreground=foreground)
    other = Embedding.from_tokens(second)
    known = foreground & np.isfinite(second).all(axis=-1)
    left, right = first[known], second[known]
    assert token_cosine(one, other) == pytest.approx(
        1 - paired_cosine_distances(left, right).mean(), abs=1e-6
    )
    left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    expected = 1 - paired_cosine_distances(left, right).mean()
    assert token_cosine(one, other, centred=True) == pytest.approx(expected, abs=1e-6)


def test_tokens_without_length_or_without_number_are_no_similarity():
    zeros = Embedding.from_tokens(np.zeros((2, 2, 3)))
    assert token_cosine(zeros, zeros) == 0
    assert np.isnan(token_cosine(zeros, Embedding.from_tokens(np.full((2, 2, 3), np.nan))))


@pytest.mark.parametrize("degrees", [5, 15, 45, 90, 137])
def test_features_that_turn_with_the_image_survive_a_rotation(degrees):
    unit = smooth().astype(np.float32) / 255
    turned, clean = rotated_back(colours(rotate_pixels(unit, degrees)), colours(unit), degrees)
    seen = np.isfinite(clean.tokens[..., 0])
    assert 0.3 < seen.mean() < 0.9
    assert not seen[0].any()
    np.testing.assert_array_equal(np.isfinite(turned.tokens[..., 0]), seen)
    np.testing.assert_allclose(turned.tokens[seen], clean.tokens[seen], atol=0.04)
    assert token_cosine(clean, turned, centred=True) > 0.98


def test_a_quarter_turn_of_tokens_is_exact():
    unit = smooth().astype(np.float32) / 255
    turned, clean = rotated_back(colours(rotate_pixels(unit, 90)), colours(unit), 90)
    seen = np.isfinite(clean.tokens[..., 0])
    assert seen.sum() == (GRID.rows - 2) ** 2
    np.testing.assert_allclose(turned.tokens[seen], clean.tokens[seen], atol=1e-5)


def test_attention_and_activation_turn_with_the_tokens():
    plane = np.arange(GRID.rows * GRID.cols, dtype=np.float32).reshape(GRID.shape)
    clean = replace(places(None), attention=np.stack([plane, 2 * plane]), activation=plane)
    turned = replace(clean, attention=np.rot90(clean.attention, axes=(1, 2)), activation=np.rot90(plane))
    back, kept = rotated_back(turned, clean, 90)
    seen = np.isfinite(kept.activation)
    np.testing.assert_allclose(back.attention[:, seen], clean.attention[:, seen], rtol=1e-5)
    np.testing.assert_allclose(back.activation[seen], plane[seen], rtol=1e-5)
    assert np.isnan(kept.attention[:, ~seen]).all()


def test_positions_do_not_feel_noise_but_rotation():
    found = robustness(smooth(), places, FEW)
    for key in ("gaussian", "blur"):
        np.testing.assert_allclose(found.responses[key].runs[COSINE], 1)
    turned = found.responses["rotation"]
    np.testing.assert_array_equal(turned.strengths, [0, 30, 90])
    assert turned.runs[CENTRED][0] == 1
    assert (turned.runs[CENTRED][1:] < 0.8).all()


def test_scores_change_by_what_was_lost():
    seen = []

    def share(embedding):
        seen.append(embedding)
        return float(np.nanmean(embedding.tokens))

    found = robustness(smooth(), colours, FEW, scores={"share": share})
    changes = found.responses["gaussian"].runs["share"]
    assert changes.shape == (4, 2)
    np.testing.assert_array_equal(changes[0], 0)
    assert found.measures == (COSINE, CENTRED, "share")
    assert all(embedding.grid == GRID for embedding in seen)
    assert np.abs(found.responses["rotation"].runs["share"]).max() < 0.01


def test_a_clean_embedding_is_not_computed_again_and_lends_its_grid():
    calls = []
    placed = TokenGrid.covering(Region(5, 7, 96, 96), STRIDE)
    clean = replace(colours(smooth().astype(np.float32) / 255), grid=placed)

    def encode(unit):
        calls.append(unit)
        return colours(unit)

    grids = []
    options = RobustnessOptions(("blur",))
    found = robustness(
        smooth(), encode, options, clean=clean, scores={"g": lambda e: grids.append(e.grid) or 0}
    )
    assert len(calls) == options.count(smooth()) == 3
    assert set(grids) == {placed}
    assert found.responses["blur"].runs[CENTRED].min() > 0.9


def test_the_same_pixels_reach_the_encoder_as_through_embed(tmp_path):
    encoder = load_encoder(write_encoder(tmp_path / "own.safetensors"), device="cpu", precision="float32")
    pixels = smooth()
    own = embed(pixels, encoder)
    seen = []
    options = RobustnessOptions(("blur", "jpeg"), {"blur": (1,), "jpeg": (50,)})
    found = robustness(pixels, lambda unit: seen.append(unit) or embed(unit, encoder, window=(0, 1)), options)
    np.testing.assert_array_equal(embed(seen[0], encoder, window=(0, 1)).tokens, own.tokens)
    assert found.method == "own"
    assert found.responses["blur"].runs[COSINE][1, 0] < 1


def test_progress_is_told_and_may_stop():
    steps = []
    robustness(smooth(), colours, FEW, on_progress=lambda done, total: steps.append((done, total)))
    total = FEW.count(smooth())
    assert total == 3 * 2 + 3 + 2
    assert steps == [(done, total) for done in range(1, total + 1)]

    def stop(done, total):
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        robustness(smooth(), colours, FEW, on_progress=stop)


def test_a_grey_region_is_spared_the_stain_unless_it_is_asked_for():
    grey = smooth()[..., 0]

    def encode(unit):
        assert unit.shape == (96, 96)
        return colours(unit)

    plan = RobustnessOptions().plan(grey.astype(np.float32) / 255)
    assert [change.key for change, *_ in plan] == [key for key in PERTURBATIONS if key != "stain"]
    found = robustness(grey, encode, RobustnessOptions(("blur", "speckle"), seeds=1))
    assert list(found.responses) == ["blur", "speckle"]
    with pytest.raises(UnsupportedImageError, match="grey"):
        robustness(grey, encode, RobustnessOptions(("stain",)))


def test_regions_are_joined_and_drawn_with_bands():
    parts = [robustness(smooth(seed), colours, FEW) for seed in (0, 1, 2)]
    joined = join_regions(parts)
    assert joined.regions == 3
    runs = joined.responses["gaussian"].runs[CENTRED]
    assert runs.shape == (4, 6)
    others = join_regions([robustness(smooth(seed), places, FEW) for seed in (0, 1, 2)])
    plots = robustness_plots([joined, others])
    assert [plot.key for plot in plots] == [f"robustness-centred-cosine-{key}" for key in FEW.perturbations]
    curve = plots[0].curves[0]
    np.testing.assert_allclose(curve.y, runs.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(curve.low, runs.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(curve.high, runs.max(axis=1), rtol=1e-6)
    assert PERTURBATIONS["gaussian"].unit in plots[0].x_label
    assert "6 runs" in plots[0].notes[0]
    table = robustness_table([joined, others])
    assert table.columns == ("method", "Gaussian noise", "blur", "rotation")
    assert table.rows[0][1] == pytest.approx(runs[1:].mean())
    assert table.rows[1][:2] == ("position", pytest.approx(1.0))


def test_regions_of_other_kinds_do_not_join():
    found = robustness(smooth(), colours, FEW)
    with pytest.raises(InvalidOptionError, match="same method"):
        join_regions([found, robustness(smooth(), colours, RobustnessOptions(("blur",)))])
    with pytest.raises(InvalidOptionError, match="'dice'"):
        robustness_plots([found], "dice")


def test_scores_against_an_annotation_leave_out_what_turned_out_of_sight():
    pixels = smooth()
    labels = np.zeros((96, 96), int)
    labels[30:70, 20:60] = 1
    annotation = Annotation.from_labels(labels, labels.shape)

    def anchors(embedding):
        return float(np.nanmean(score_anchors(embedding, annotation, count=16).areas["all"]))

    def map_score(embedding):
        found = similarity_map(embedding, [(48.0, 40.0)], centred=True)
        return score_map(found, annotation).auroc

    scores = {"anchors": anchors, "map": map_score}
    options = RobustnessOptions(("rotation",), {"rotation": (90,)})
    found = robustness(pixels, colours, options, scores=scores).responses["rotation"]
    for name in scores:
        assert abs(found.runs[name][1, 0]) < 0.02
    # places move, but those that were near each other stay so
    moved = robustness(pixels, places, options, scores=scores).responses["rotation"]
    assert moved.runs[CENTRED][1, 0] < 0.5
    assert moved.runs["anchors"][1, 0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "options", [{"perturbations": ("snow",)}, {"strengths": {"rain": (1,)}}, {"seeds": 0}]
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(InvalidOptionError, match="Expected"):
        RobustnessOptions(**options)
