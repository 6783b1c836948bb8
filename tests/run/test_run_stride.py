"""`run --stride`: finer maps in files and records, and records of before without a word of it."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.data import immunohistochemistry

from napari_sslmaps.cli import main
from napari_sslmaps.records.run import RunOptions


def test_a_stride_makes_finer_maps_and_is_run_again_from_its_record(tmp_path):
    Image.fromarray(immunohistochemistry()[:64, :48]).save(tmp_path / "image.png")
    command = [
        "run",
        str(tmp_path / "image.png"),
        "-e",
        "mae-histology",
        "--device",
        "cpu",
        "--anchor",
        "20,20",
    ]
    for arguments in (
        [*command, "--stride", "4", "-o", str(tmp_path / "fine")],
        [*command, "-o", str(tmp_path / "plain")],
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    fine, plain = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("fine", "plain"))
    assert fine["options"]["stride"] == 4
    assert fine["encoders"][0]["provenance"]["stride"] == 4
    assert "stride" not in plain["options"]
    assert "stride" not in plain["encoders"][0]["provenance"]
    with pytest.raises(SystemExit) as end:
        main(["run", "--from", str(tmp_path / "fine" / "run.json"), "-o", str(tmp_path / "again")])
    assert end.value.code == 0
    for path in (tmp_path / "fine").rglob("*.tif"):
        again = tifffile.imread(tmp_path / "again" / path.relative_to(tmp_path / "fine"))
        np.testing.assert_array_equal(again, tifffile.imread(path))


def test_options_without_a_stride_are_written_as_before():
    assert "stride" not in RunOptions().to_flat()
    assert RunOptions.from_flat(RunOptions(stride=4).to_flat()) == RunOptions(stride=4)


def test_a_stride_that_fits_no_patch_ends_in_a_sentence(tmp_path, capsys):
    Image.fromarray(immunohistochemistry()[:64, :48]).save(tmp_path / "image.png")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                str(tmp_path / "image.png"),
                "-e",
                "mae-histology",
                "--stride",
                "3",
                "-o",
                str(tmp_path / "out"),
            ]
        )
    assert end.value.code == 1
    assert "divides the patch of mae-histology, 8 px: 1, 2, 4, 8; got 3" in " ".join(
        capsys.readouterr().err.split()
    )
