"""`run --token-block`: maps of an earlier block, said in figure, files and record, and made again alike."""

import json

import numpy as np
import tifffile
from encoders_factory import write_encoder
from typer.testing import CliRunner

from napari_sslmaps.cli.commands import app
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.records.run import RunOptions, RunRecord


def test_a_run_of_a_block_is_recorded_and_repeats(tmp_path):
    encoder, out, again = write_encoder(tmp_path / "tiny.safetensors"), tmp_path / "out", tmp_path / "again"
    flags = ["-e", str(encoder), "--method", "mae", "--region", "0,0,64,64", "--token-block", "-2"]
    made = CliRunner().invoke(
        app, ["run", "sample:histology", *flags, "--no-token-norm", "--anchor", "20,20", "-o", str(out)]
    )
    assert made.exit_code == 0, made.output
    assert "depth of its tokens: block 0, without norm" in " ".join(made.output.split())
    record = RunRecord.read(out / "run.json")
    assert (record.options.token_block, record.options.token_norm) == (-2, False)
    path = out / record.encoders[0].outputs["pca"]
    assert read_map(path).provenance.depth == "block 0, without norm"
    with tifffile.TiffFile(path) as file:
        assert "block 0, without norm" in (file.ome_metadata or "")
    repeated = CliRunner().invoke(app, ["run", "--from", str(out / "run.json"), "-o", str(again)])
    assert repeated.exit_code == 0, repeated.output
    for output in record.encoders[0].outputs.values():
        assert np.array_equal(read_map(out / output).values, read_map(again / output).values, equal_nan=True)


def test_a_block_that_is_not_there_ends_in_a_sentence(tmp_path):
    flags = ["-e", "mae-histology", "--region", "0,0,64,64", "-o", str(tmp_path / "out")]
    made = CliRunner().invoke(app, ["run", "sample:histology", *flags, "--token-block", "9"])
    assert made.exit_code != 0
    assert "a transformer of 4 blocks" in " ".join(made.output.split()) + str(made.exception)


def test_records_say_nothing_of_the_usual_depth():
    assert not {"token_block", "token_norm"} & set(RunOptions().to_flat())
    named = RunOptions(token_block="encoder.layer2", token_norm=False)  # a stage, no password
    assert RunOptions.from_flat(json.loads(json.dumps(named.to_flat()))) == named
