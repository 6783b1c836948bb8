"""What ``napari-sslmaps batch`` hands on of what was typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_sslmaps.batch.run import BatchReport
from napari_sslmaps.cli.commands import app
from napari_sslmaps.encoders.catalog import names_for
from napari_sslmaps.inputs.encoders import EncoderChoice, usual_scale


@pytest.fixture
def asked(monkeypatch, tmp_path):
    found = []

    def take(images, encoders, out, *, options, frames, workers, on_progress):
        assert frames == ""
        found.append((encoders, options))
        return BatchReport((), (), 0, Path(out) / "batch.parquet", 0.0)

    monkeypatch.setattr("napari_sslmaps.batch.run.run_batch", take)
    return found


def batch(*arguments):
    return CliRunner().invoke(app, ["batch", *map(str, arguments)])


def test_corrections_and_mask_reach_the_batch(asked, images, weights, tmp_path):
    result = batch(images, "-e", weights, "--num-heads", 4, "--mask", "tissue", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    ((encoder,), options) = asked[0]
    assert encoder.overrides == {"num_heads": 4}
    assert options.mask == "tissue"


@pytest.mark.parametrize(
    ("option", "said"), [(("--mask", "glass"), "got 'glass'"), (("--num-heads", "0"), "got 0")]
)
def test_what_is_not_permitted_is_said(asked, images, weights, tmp_path, option, said):
    result = batch(images, "-e", weights, *option, "--out", tmp_path)
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert not asked


def test_without_an_encoder_those_for_this_kind_of_image_are_taken(asked, images, tmp_path):
    result = batch(images, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    encoders, options = asked[0]
    assert [one.name for one in encoders] == list(names_for("histology"))
    assert options.maps.maps.scale == usual_scale([EncoderChoice(encoders[0].name)])


def test_corrections_without_a_weight_file_are_refused(asked, images, tmp_path):
    result = batch(images, "-e", "mae-demo", "--num-heads", 4, "--out", tmp_path)
    assert "Expected a weight file to correct with --num-heads" in str(result.exception)
    assert not asked
