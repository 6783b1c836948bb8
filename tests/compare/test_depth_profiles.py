"""Scores against depth: a row for each block of each method, controls at the same ones, plots and keys."""

import numpy as np
import pytest
from encoders_factory import write_encoder

from napari_sslmaps.compare.compute import compare
from napari_sslmaps.compare.request import ComparedImage, ComparisonOptions, ComparisonRequest
from napari_sslmaps.compare.tables import plots_of, tables_of
from napari_sslmaps.evaluation.annotation import Annotation
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.records.run import RunOptions
from napari_sslmaps.sources.array import ArraySource


def image_of(seed: int) -> ComparedImage:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 120, (64, 96, 3), np.uint8)
    pixels[:, 48:] += 90
    labels = np.repeat([[1] * 48 + [2] * 48], 64, axis=0)
    return ComparedImage(f"image {seed}", ArraySource(pixels), Annotation.from_labels(labels, (64, 96)))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    paths = [write_encoder(folder / f"{name}.safetensors", name) for name in ("mae", "dira")]
    request = ComparisonRequest(
        (image_of(0), image_of(1)),
        tuple(EncoderChoice(str(path)) for path in paths),
        controls=("untrained", "colour"),
        scores=("depth",),
        options=ComparisonOptions(RunOptions(device="cpu", precision="float32"), anchor_count=8),
    )
    return compare(request)


def test_the_table_has_a_row_for_each_block_and_stage(comparison):
    (table,) = (table for table in tables_of(comparison) if table.key == "depth")
    rows = {(row[0], row[1]) for row in table.rows}
    vit, unet = {"block 0", "block 1"}, set(comparison.specs["dira"].architecture.token_places)
    for name, places in (("mae", vit), ("mae-untrained", vit), ("dira", unet), ("dira-untrained", unet)):
        assert {place for method, place in rows if method == name} == places
    assert {place for method, place in rows if method.startswith("colour")} == {"any"}
    assert all(0 <= row[2].value <= 1 for row in table.rows)
    assert any(np.isfinite(row[3].value) for row in table.rows)


def test_each_score_has_a_plot_with_a_curve_per_method_and_bands(comparison):
    plots = {plot.key: plot for plot in plots_of(comparison)}
    assert list(plots) == ["depth-anchors", "depth-probe"]
    curves = {curve.label: curve for curve in plots["depth-anchors"].curves}
    assert list(curves) == [method.name for method in comparison.methods]
    assert curves["mae"].x.tolist() == [0.5, 1.0]
    assert curves["mae"].low is not None
    flat = next(curve for name, curve in curves.items() if name.startswith("colour"))
    assert flat.x.tolist() == [0.0, 1.0]
    assert flat.y[0] == flat.y[1]


def test_the_depth_that_is_asked_for_is_what_all_scores_are_of(comparison):
    request = comparison.request
    run = RunOptions(device="cpu", precision="float32", token_block=0, token_norm=False)
    early = compare(
        ComparisonRequest(
            request.images[:1],
            request.encoders[:1],
            controls=("untrained",),
            scores=("anchors",),
            options=ComparisonOptions(run, anchor_count=8),
        )
    )
    told = early.images[0].provenance
    assert all((told[name]["token_block"], told[name]["token_norm"]) == ("block 0", False) for name in told)
    assert len(told) == 2
