"""Files of a record: named without their owner, and found again."""

from pathlib import Path, PureWindowsPath

import pytest

from napari_sslmaps.files import hash_path
from napari_sslmaps.records.places import Places, _is_abroad, place_in, written


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/study/images/a.png", "../images/a.png"),
        ("/study/out/sources/a.tif", "sources/a.tif"),
        ("/data/a.png", "a.png"),
        ("/study/Users/drsmith/a.png", "a.png"),
        ("images/a.png", "images/a.png"),
        ("https://host/a.zarr", "https://host/a.zarr"),
        ("", ""),
    ],
)
def test_a_path_is_written_by_the_way_to_it_or_by_its_name(path: str, place: str) -> None:
    assert place_in(path, Path("/study/out")) == place


def test_nobody_is_named_where_two_users_share_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna"))
    assert place_in("/home/jones/a.png", Path("/home/anna/out")) == "a.png"
    assert place_in("/mnt/anna/a.png", Path("/mnt/out")) == "a.png"
    assert place_in("/home/anna/images/a.png", Path("/home/anna/out")) == "../images/a.png"


def test_files_anywhere_in_a_description_are_written_so() -> None:
    told = {"image": {"path": "/s/a.png", "sha256": "1"}, "groups": [{"name": "/s/a.png"}], "n": 3}
    told["masks"] = [{"path": "/s/m/b.png", "sha256": "2"}]
    told["sample"] = {"path": "/lib/c.png", "sha256": "3", "sample": "histology"}
    assert written(told, Path("/s/out")) == {
        "image": {"path": "../a.png", "sha256": "1"},
        "groups": [{"name": "/s/a.png"}],
        "n": 3,
        "masks": [{"path": "../m/b.png", "sha256": "2"}],
        "sample": {"path": "c.png", "sha256": "3", "sample": "histology"},
    }


def test_a_file_is_found_by_its_hash_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "many" / "deep").mkdir(parents=True)
    for name, content in (("a.png", b"other"), ("deep/patient.png", b"it"), ("deep/b.png", b"more")):
        (tmp_path / "many" / name).write_bytes(content)
    wanted = hash_path(tmp_path / "many" / "deep" / "patient.png")
    out = tmp_path / "out"
    assert Places(out).find("a.png", wanted) == out / "a.png"
    assert Places(out, tmp_path / "many").find("a.png", wanted) == tmp_path / "many" / "deep" / "patient.png"
    assert Places(out, tmp_path / "many").find("../many/a.png", "0") == out / "../many/a.png"


def test_annotations_and_weights_are_found_by_their_hash_too(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for name, content in (("a.geojson", b"other"), ("b.GeoJSON", b"areas"), ("c.pth", b"weights")):
        (folder / name).write_bytes(content)
    places = Places(tmp_path / "out", folder)
    assert places.find("a.geojson", hash_path(folder / "b.GeoJSON")) == folder / "b.GeoJSON"
    assert places.find("vit.pth", hash_path(folder / "c.pth")) == folder / "c.pth"


def test_what_cannot_be_read_beside_the_file_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    wanted, known = hash_path(tmp_path / "b.png"), hash_path

    def hashed(place: Path) -> str:
        if place.name == "a.png":
            raise PermissionError(13, "Permission denied", str(place))
        return known(place)

    monkeypatch.setattr(f"{Places.__module__}.hash_path", hashed)
    assert Places(tmp_path / "out", tmp_path).find("a.png", wanted) == tmp_path / "b.png"


@pytest.mark.parametrize(
    ("path", "abroad"),
    [
        (r"\\evil\share\a.png", True),
        ("//evil/share/a.png", True),
        (r"\\lab\images\a.png", False),
        ("a.png", False),
        (r"C:\a.png", False),
    ],
)
def test_no_other_server_is_asked_for_what_a_record_names(path: str, abroad: bool) -> None:
    assert _is_abroad(path, PureWindowsPath(r"\\lab\images\out")) is abroad


def test_a_path_with_a_nul_character_is_that_of_no_file(tmp_path: Path) -> None:
    assert not Places(tmp_path).find("a/../b\0.png", "").exists()
