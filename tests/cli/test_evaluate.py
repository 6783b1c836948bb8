"""``napari-sslmaps evaluate``, as it is typed."""

import json
from pathlib import Path
from typing import Any

import pytest
from comparison_kit import encoders_in, write_images
from PIL import Image

from napari_sslmaps.cli.commands import main
from napari_sslmaps.compare import compute
from napari_sslmaps.compare.request import ComparisonRequest
from napari_sslmaps.compare.results import ScoredImage
from napari_sslmaps.compare.scores import DEFAULT_CONTROLS, DEFAULT_SCORES, SCORES
from napari_sslmaps.compare.scoring import ImageEmbeddings
from napari_sslmaps.errors import AnnotationError
from napari_sslmaps.files import hash_path
from napari_sslmaps.inputs import images as inputs_images
from napari_sslmaps.records.run import RunRecord
from napari_sslmaps.viewer.compare.model import ComparisonModel


@pytest.fixture
def typed(tmp_path: Path) -> list[str]:
    """A command over two images."""
    images, masks = write_images(tmp_path, 2)
    [encoder] = encoders_in(tmp_path / "weights", "mae")
    return [
        "evaluate",
        *(str(images), "-e", encoder.name, "--masks", str(masks)),
        *("--classes", "disc,stripes", "--anchors", "8", "--device", "cpu", "--figures", "0"),
        *("-o", str(tmp_path / "out")),
    ]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_a_folder_is_scored_and_scored_again_from_its_record(
    typed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*typed, "--controls", "none", "--scores", "maps,anchors") == 0
    said = capsys.readouterr().out
    assert "Similarity to anchors" in said
    assert "distance alone" in said
    record = RunRecord.read(tmp_path / "out" / "run.json")
    assert [image["name"] for image in record.evaluation["images"]] == ["0.png", "1.png"]
    assert record.evaluation["images"][0]["mask"]["classes"] == {"1": "disc", "2": "stripes"}
    again = ("evaluate", "--from", str(tmp_path / "out" / "run.json"), "-o", str(tmp_path / "again"))
    assert run(*again) == 0
    assert "to the last digit" in capsys.readouterr().out
    for name in ("anchors.csv", "images.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    Image.new("L", (64, 64)).save(tmp_path / "masks" / "1.png")
    assert run(*again) == 1
    assert "mask of 1.png of this record" in capsys.readouterr().err


def test_scores_and_controls_are_those_of_the_window_unless_others_are_named(
    typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ComparisonRequest] = []

    def stop(request: ComparisonRequest, *_: Any, **__: Any) -> None:
        asked.append(request)
        raise AnnotationError("Expected no more.")

    monkeypatch.setattr(compute, "compare", stop)
    assert run(*typed) == 1
    assert (asked[0].scores, asked[0].controls) == (DEFAULT_SCORES, DEFAULT_CONTROLS)
    assert (ComparisonModel.scores, ComparisonModel.controls) == (DEFAULT_SCORES, DEFAULT_CONTROLS)


def test_scores_of_a_block_within_a_mask_are_repeated(typed: list[str], tmp_path: Path) -> None:
    common = ("--controls", "position", "--scores", "maps")
    assert run(*typed, *common, "--block", "1", "--attention", "rollout", "--region-mask", "tissue") == 0
    record = RunRecord.read(tmp_path / "out" / "run.json")
    asked = record.options
    assert (asked.maps.attention.block, asked.maps.attention.query, asked.mask) == (1, "rollout", "tissue")
    assert run("evaluate", "--from", str(tmp_path / "out" / "run.json"), "-o", str(tmp_path / "again")) == 0
    assert RunRecord.read(tmp_path / "again" / "run.json").evaluation == record.evaluation
    assert run(*typed, *common, "--block", "9") == 1


def test_the_record_makes_maps_of_the_first_image(typed: list[str], tmp_path: Path) -> None:
    assert run(*typed, "--controls", "none", "--scores", "maps") == 0
    assert run("run", "--from", str(tmp_path / "out" / "run.json"), "-o", str(tmp_path / "maps")) == 0
    assert (tmp_path / "maps" / "mae-tiny" / "attention.tif").exists()


def test_a_table_of_every_score_is_printed_and_each_remark_once(
    typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*typed, "--controls", "none", "--scores", "maps,anchors,boundaries,retrieval") == 0
    printed = capsys.readouterr()
    titles = {SCORES["boundaries"].title, "Similarity to anchors", "Maps against annotation"}
    assert titles <= set(printed.out.splitlines())
    assert any(line.startswith("Retrieval") for line in printed.out.splitlines())
    assert printed.err.count("Encoders and controls alike: images read") == 1


def test_json_is_all_that_is_printed(typed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*typed, "--json", "--controls", "position") == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert printed.err == ""
    anchors = told["tables"]["anchors"]
    assert [row[0] for row in anchors["rows"]] == ["mae-tiny", "position-8px", "distance alone"]
    assert set(anchors["rows"][0][1]) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        (["--scores", "beauty"], 1, "Expected scores among"),
        (["--controls", "luck"], 1, "Expected controls among"),
        (["--labels", "nowhere.csv"], 1, "cannot be read"),
        (["--from", "run.json"], 2, "either images or --from"),
    ],
)
def test_wrong_usage_gets_a_sentence(
    typed: list[str], capsys: pytest.CaptureFixture[str], more: list[str], code: int, sentence: str
) -> None:
    assert run(*typed, *more) == code
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_image_without_a_mask_gets_a_sentence(
    typed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "masks" / "1.png").unlink()
    assert run(*typed) == 1
    assert "1 of 2 have none, 1.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("region", [(), ("--region", "0,0,64,64")])
def test_each_image_is_hashed_once(
    region: tuple[str, ...], typed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return hash_path(path)

    monkeypatch.setattr(inputs_images, "hash_path", counted)
    names = [word for word in typed if word not in ("-e", typed[typed.index("-e") + 1])]
    command = (*names, *region, "--controls", "none", "--scores", "maps")
    assert run(*command) == 0
    images = [tmp_path / "images" / name for name in ("0.png", "1.png")]
    assert hashed == images
    assert run(*command) == 0
    assert hashed == images * 2  # which tells that their scores are those that were kept


def test_ctrl_c_keeps_what_is_done(
    typed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    score = compute.score_image

    def interrupted(embedded: ImageEmbeddings, *rest: Any) -> ScoredImage:
        if embedded.image.name == "1.png":
            raise KeyboardInterrupt
        return score(embedded, *rest)

    command = (*typed, "--controls", "none", "--scores", "maps")
    with monkeypatch.context() as patch:
        patch.setattr(compute, "score_image", interrupted)
        assert run(*command) == 1
    assert "the same command goes on" in " ".join(capsys.readouterr().err.split())
    first = tmp_path / "out" / "images" / "0.png" / "scores.json"
    before = first.stat().st_mtime_ns
    assert run(*command) == 0
    assert first.stat().st_mtime_ns == before
    assert (tmp_path / "out" / "run.json").exists()
