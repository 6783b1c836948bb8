"""What goes wrong at the command line ends in a sentence that says it, and nothing before it."""

import io
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sslmaps.cache.ome import Placement
from napari_sslmaps.cache.store import Cache, key_of
from napari_sslmaps.cli import commands
from napari_sslmaps.encoders import registry
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.encoders.user_encoders import remember
from napari_sslmaps.errors import CheckpointError, InvalidOptionError
from napari_sslmaps.run import compute


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        commands.main(arguments)
    return int(end.value.code or 0), capsys.readouterr().err


def test_a_path_with_a_nul_is_the_path_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = ended(capsys, "run", "a\0b.png", "-e", "mae-demo", "-o", str(tmp_path))
    assert code == 1
    assert "there is none at" in said
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)).save(tmp_path / "a.png")
    code, said = ended(
        capsys, "run", str(tmp_path / "a.png"), "-e", "mae-demo", "-o", str(tmp_path / "o\0ut")
    )
    assert code == 2
    assert "embedded null" in said


@pytest.mark.parametrize("text", ["nan,0,8,8", "inf,0,8,8", "0,0,8,-inf"])
def test_a_region_of_no_numbers_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = ended(capsys, "run", "sample:histology", "--region", text, "-o", "out")
    assert code == 2
    assert "y,x,height,width" in " ".join(said.split())


def test_an_interrupted_run_says_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compute, "compute_run", interrupted)
    asked = ("run", "sample:histology", "-e", "mae-demo", "-o", str(tmp_path))
    code, said = ended(capsys, *asked)
    assert code == 1
    assert "Nothing is kept of what was computed" in said
    assert "Stopped." in said
    assert "Finished tiles are in the cache" in ended(capsys, *asked, "--cache")[1]


def test_a_folder_without_weights_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "hash_path", lambda path: pytest.fail(f"{path} was hashed"))
    (tmp_path / "slide.tif").write_bytes(bytes(100))
    with pytest.raises(CheckpointError, match="it has none"):
        load_encoder(tmp_path)


def test_warnings_of_libraries_do_not_precede_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 96), np.uint8), rowsperstrip=16)
    content = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(2**31)
    assert content != (tmp_path / "a.tif").read_bytes()
    code, said = ended(capsys, "run", str(tmp_path / "a.tif"), "-e", "mae-demo", "-o", str(tmp_path / "out"))
    assert code == 1
    assert said.startswith("Error: Expected a readable TIFF")


def test_a_backend_that_does_not_exist_stops_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "nosuch")
    with commands._libraries_silent(unless=False):
        assert os.environ["MPLBACKEND"] == "agg"
        warnings.warn_explicit("of a library", UserWarning, "tifffile.py", 1, module="tifffile")
    assert os.environ["MPLBACKEND"] == "nosuch"


@pytest.mark.parametrize(
    "about",
    [3, [], {"image": 3}, {"image": "a", "encoder": "b", "grid": [1, 1], "region": "all"}, {"region": {}}],
)
def test_what_is_described_oddly_in_the_cache_is_listed_as_damaged(
    about: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path))
    cache = Cache()
    planes = {"tokens": np.zeros((2, 2, 3), np.float32)}
    cache.entry({}, {}).finish(planes, Placement((8.0, 8.0), (3.5, 3.5)))
    path = cache.root / f"{key_of({})}.zarr" / "zarr.json"
    told = json.loads(path.read_text())
    told["attributes"]["napari_sslmaps"] = about
    path.write_text(json.dumps(told))
    with pytest.raises(SystemExit):
        commands.main(["cache", "list"])
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", [" ", "x" * 101, "a\nb"])
def test_an_encoder_is_not_called_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="Expected a name of letters"):
        remember(tmp_path / "w.pth", name=name)


@pytest.mark.parametrize("coding", ["ascii", "cp1252"])
def test_a_terminal_of_another_coding_is_written_to(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=coding))
    with pytest.raises(SystemExit) as end:
        commands.main(["encoders", "list"])
    assert end.value.code == 0
    sys.stdout.flush()
    assert b"mae-histology" in written.getvalue()
    written.truncate(0)
    with pytest.raises(SystemExit):
        commands.main(["encoders", "list", "--json"])
    sys.stdout.flush()
    assert json.loads(written.getvalue().strip(b"\0").decode(coding))


def test_a_remark_on_the_users_own_list_has_no_line_of_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(tmp_path))
    (tmp_path / "encoders.json").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, said = ended(capsys, "encoders", "list")
    assert code == 0
    assert said.startswith("Expected the list of remembered encoders")
    assert "UserEncodersWarning" not in said


@pytest.mark.parametrize("out", ["s3://bucket/x", "http://host/x", "file:///tmp/x"])
@pytest.mark.parametrize(
    "command",
    [
        "run IMAGE -e mae-demo --out OUT",
        "evaluate IMAGE -e mae-demo --controls none --out OUT",
        "batch IMAGE -e mae-demo --out OUT",
        "pretrain --recipe mae-histology --steps 1 --out OUT",
        "study --design quick --out OUT",
        "simulate histology --count 1 --out OUT",
        "pretext IMAGE -e mae-demo --out OUT",
    ],
)
def test_what_is_written_like_an_address_is_no_folder(
    command: str,
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    code, said = ended(
        capsys, *(word.replace("OUT", out).replace("IMAGE", "a.png") for word in command.split())
    )
    assert code == 1
    assert "is written like an address. Write to a folder here" in " ".join(said.split())
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("folder", "kind"), [("s3://bucket/x", "written like an address"), ("a.txt", "no folder")]
)
@pytest.mark.parametrize("command", ["cache list", "cache prune", "cache clear --yes"])
def test_a_cache_that_is_no_folder_is_told(
    command: str,
    folder: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", folder)
    code, said = ended(capsys, *command.split())
    assert code == 1
    assert f"is {kind}. Choose another, in NAPARI_SSLMAPS_CACHE" in " ".join(said.split())
