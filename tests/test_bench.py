"""``bench`` measures what it says, for whoever asks."""

import json
from pathlib import Path

import pytest
from encoders_factory import write_encoder

from napari_sslmaps.bench import measure
from napari_sslmaps.cli.commands import main
from napari_sslmaps.errors import InvalidOptionError


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(write_encoder(tmp_path / "tiny.safetensors"))


def test_every_encoder_has_a_row_of_positive_numbers(weights: str) -> None:
    told: list[str] = []
    table = measure([weights, weights], side=64, precision="float32", on_encoder=told.append)
    assert told == [weights, weights]
    assert len(table.rows) == 2
    for row in table.rows:
        assert row[1:3] == ("cpu", "float32")
        assert all(isinstance(cell, float) and cell > 0 for cell in row[3:])
        pixels, seconds = 64 * 64 / 1e6, row[4]
        assert isinstance(seconds, float)
        assert row[5] == pytest.approx(pixels / seconds)


@pytest.mark.parametrize(("names", "side"), [([], 512), (["mae-demo"], 8), (["mae-demo"], 10**6)])
def test_what_cannot_be_measured_is_said(names: list[str], side: int) -> None:
    with pytest.raises(InvalidOptionError, match="at least one encoder and a side from 64"):
        measure(names, side=side)


def test_the_command_prints_a_table_or_json(weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "-e", weights, "--side", "64", "--precision", "float32"]
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "Megapixels/s" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["columns"][0] == "Encoder"
