"""Paths of records as people write them."""

from pathlib import Path

import pytest

import napari_sslmaps as ssl
from napari_sslmaps.errors import ExportError, RecordError


@pytest.mark.parametrize("load", [ssl.load_anchors, ssl.load_basis, ssl.load_head])
def test_a_path_with_a_nul_is_refused(load) -> None:
    with pytest.raises(RecordError, match="NUL character"):
        load("a\0b")


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    anchors = ssl.AnchorSet((ssl.AnchorGroup("gland", anchors=((1.0, 2.0),)),), shape_yx=(8, 8))
    ssl.save_anchors(anchors, "~/anchors.json")
    assert (tmp_path / "anchors.json").exists()
    assert ssl.load_anchors("~/anchors.json") == anchors


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_of_a_file_is_refused(path: str) -> None:
    anchors = ssl.AnchorSet((ssl.AnchorGroup("gland", anchors=((1.0, 2.0),)),), shape_yx=(8, 8))
    with pytest.raises(ExportError, match="Expected the path of a file"):
        ssl.save_anchors(anchors, path)
