import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Provenance
from napari_sslmaps.errors import RecordError
from napari_sslmaps.records.run import EncoderRecord, ImageRecord, RunOptions, RunRecord

RECORD = RunRecord(
    image=ImageRecord("images/ä.tif", "ab", "", (512, 256), (0.5, 0.25)),
    encoders=(
        EncoderRecord(
            "mae-demo", "cd", "float32", {"num_heads": 4}, Provenance("mae").to_dict(), {"pca": "a/pca.tif"}
        ),
    ),
    region=Region(1, 2, 30, 40, 1, 2),
    anchors=((3.0, 4.5),),
    negative=((5.0, 6.0),),
    options=RunOptions.from_flat({"tile": 16, "head": 2, "centred": True}),
    figure="figure.png",
    package_version="0.1.0",
)


def test_a_record_comes_back_whole(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run.json")
    assert RunRecord.read(tmp_path / "run.json") == RECORD
    plain = replace(RECORD, region=None, anchors=(), negative=(), encoders=())
    assert RunRecord.from_dict(plain.to_dict()) == plain


def test_a_record_is_json_that_people_can_read(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text)["format"] == "napari-sslmaps/run"
    assert "ä.tif" in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "got the format 'other'"),
        ({"schema": 99}, "schema 1; got 99. Update napari-sslmaps"),
        ({"image": {}}, "a run record whose fields fit"),
        ({"image": 3}, "a run record whose fields fit"),
        ({"encoders": [{"name": "x"}]}, "a run record whose fields fit"),
        ({"encoders": [{"name": "x", "sha256": "", "precision": "", "provenance": {"odd": 1}}]}, "odd"),
        ({"anchors": [[1]]}, "a run record whose fields fit"),
        ({"region": {"y": -1, "x": 0, "height": 1, "width": 1}}, "non-negative origin"),
        ({"options": {"speed": 9}}, "options.speed is not known"),
        ({"options": {"tile": "8"}}, "options.tile should be a valid integer, and is '8'"),
        ({"options": {"overlap": 1e999}}, "options.overlap should be"),
        ({"options": {"combine": ["mean"]}}, "options.maps.similarity.combine should be"),
        ({"options": {"foreground": 3}}, "foreground should be a valid string"),
        ({"options": 3}, "options should be"),
        ({"image": {"path": 3, "sha256": ""}}, "image.path should be a valid string, and is 3"),
        ({"image": {"path": "a", "sha256": "", "shape_yx": "../../x"}}, "image.shape_yx should be"),
        ({"figure": {}}, "figure should be a valid string"),
        ({"encoders": [{"name": "x", "sha256": [], "precision": ""}]}, "encoders.0.sha256 should be"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_records_that_do_not_fit_get_a_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(RecordError, match=sentence):
        RunRecord.from_dict({**json.loads(json.dumps(RECORD.to_dict())), **change})


def test_missing_parts_get_a_sentence() -> None:
    description = RECORD.to_dict()
    del description["encoders"]
    with pytest.raises(RecordError, match="encoders is missing"):
        RunRecord.from_dict(description)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), ("{", "damaged"), ("[1]", "holds something else"), ("\udcff", "damaged")],
)
def test_unreadable_files_get_a_sentence(content: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError, match=sentence):
        RunRecord.read(path)
