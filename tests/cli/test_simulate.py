"""``napari-sslmaps simulate`` as a person or a program meets it."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_sslmaps.cli.commands import main
from napari_sslmaps.lab.simulators import get_simulator
from napari_sslmaps.lab.simulators.fields import field_seed
from napari_sslmaps.sources.open import open_image

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["simulate", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.mark.parametrize(("name", "channels"), [("histology", 3), ("ultrasound", 1)])
def test_images_masks_and_what_they_are(call: Call, tmp_path: Path, name: str, channels: int) -> None:
    out = tmp_path / "fields"
    code, said, _ = call(name, "--count", 3, "--size", 48, "--seed", 9, "--out", out)
    assert (code, str(out) in said) == (0, True)
    simulator = get_simulator(name)
    described = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    assert described["classes"] == list(simulator.classes)
    assert (described["count"], described["size"], described["seed"]) == (3, 48, 9)
    files = sorted(path.name for path in (out / "images").iterdir())
    assert files == sorted(path.name for path in (out / "masks").iterdir())
    assert files == ["00000.png", "00001.png", "00002.png"]
    image, labels = simulator.draw(field_seed(9, 2), 48)
    assert np.array_equal(iio.imread(out / "masks" / "00002.png"), labels)
    assert np.array_equal(np.atleast_3d(iio.imread(out / "images" / "00002.png")), image[..., :channels])
    with open_image(out / "images" / "00001.png") as source:
        assert source.channels == channels


def test_json_is_all_that_a_program_reads(call: Call, tmp_path: Path) -> None:
    code, said, errors = call("ultrasound", "--count", 1, "--size", 32, "--out", tmp_path / "new", "--json")
    assert (code, json.loads(said)["simulator"], errors) == (0, "ultrasound", "")


def test_a_folder_in_use_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine", encoding="utf-8")
    code, _, said = call("ultrasound", "--count", 1, "--size", 32, "--out", tmp_path)
    assert (code, "new or empty folder" in said) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("brain",), "Expected the simulator to be histology or ultrasound; got 'brain'."),
        (("histology", "--count", "0"), "Expected --count to be at least 1; got 0."),
        (("histology", "--size", "31"), "Expected --size to be at least 32; got 31."),
        (("histology", "--seed", "-1"), "Expected --seed to be at least 0; got -1."),
    ],
)
def test_bad_input_is_said_before_anything_is_made(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    code, _, said = call(*arguments, "--out", tmp_path / "never")
    assert (code, sentence in said) == (1, True)
    assert not (tmp_path / "never").exists()


def test_a_folder_that_cannot_be_made_is_said(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, said = call("histology", "--out", tmp_path / "file" / "below")
    assert (code, "Choose another folder" in said) == (1, True)


def test_a_full_disk_is_one_sentence(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, said = call("histology", "--count", 2, "--size", 32, "--out", tmp_path / "out")
    assert code == 1
    assert "No space left on device. Choose another folder or free some space." in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
