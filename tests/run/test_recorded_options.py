"""Every option of a run is in its record, and makes the same maps again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from encoders_factory import write_encoder
from PIL import Image

import napari_sslmaps as ssl
from napari_sslmaps.encoders.encoder import Encoder
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError, RecordError, RegionError
from napari_sslmaps.inputs.encoders import EncoderChoice
from napari_sslmaps.inputs.images import wanted_tokens
from napari_sslmaps.maps.groups import AnchorGroup
from napari_sslmaps.records.basis import load_basis
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.records.places import place_in
from napari_sslmaps.records.run import MaskRecord, RunOptions, RunRecord
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.outcome import RunOutcome
from napari_sslmaps.run.request import Reference, RunRequest
from napari_sslmaps.run.write import request_from_record, warnings_of, write_run

EXACT = RunOptions(precision="float32", device="cpu")


def asked(**options: object) -> RunOptions:
    """Return options by the names that records and the command line give them."""
    return RunOptions.from_flat({**EXACT.to_flat(), **options})


GROUPS = (
    AnchorGroup("gland", "#d62728", ((20.0, 30.0),), ((4.0, 4.0),)),
    AnchorGroup("stroma / fat", anchors=((10.0, 50.0),)),
    AnchorGroup("nothing yet"),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: write_encoder(folder / f"{method}-tiny.safetensors", method)
        for method in ("mae", "ijepa", "dira")
    }


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 255, (40, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture
def request_all(weights: dict[str, Path], image: Path) -> RunRequest:
    choices = tuple(EncoderChoice(str(path)) for path in weights.values())
    return RunRequest(str(image), choices, ((20.0, 30.0),), options=EXACT)


@pytest.fixture
def request_one(request_all: RunRequest) -> RunRequest:
    return replace(request_all, encoders=request_all.encoders[:1])


def twice(request: RunRequest, folder: Path) -> tuple[RunRecord, RunOutcome]:
    """Run, and run again from the record; every file must hold the same numbers."""
    outcome = compute_run(request)
    first = write_run(outcome, folder / "first")
    again = request_from_record(RunRecord.read(folder / "first" / "run.json"), folder / "first")
    assert write_run(compute_run(again), folder / "second") == first
    paths = [path.relative_to(folder / "first") for path in (folder / "first").rglob("*.*")]
    assert {path.relative_to(folder / "second") for path in (folder / "second").rglob("*.*")} == set(paths)
    for path in paths:
        if path.suffix == ".tif":
            one, two = (tifffile.imread(folder / part / path) for part in ("first", "second"))
            np.testing.assert_array_equal(one, two, err_msg=str(path))
    return first, outcome


def test_attention_groups_alignment_controls_and_a_difference_are_repeated(
    request_all: RunRequest, tmp_path: Path
) -> None:
    options = asked(
        block=1,
        attention_of="anchor",
        reduction="max",
        aligned=True,
        heads=True,
        difference=("mae-tiny", "dira-tiny"),
        save_basis=True,
    )
    controls = tuple(replace(request_all.encoders[0], control=kind) for kind in ("constant", "colour"))
    request = replace(
        request_all, options=options, groups=GROUPS, encoders=(*request_all.encoders, *controls)
    )
    record, outcome = twice(request, tmp_path)
    by_name = {found.name: found for found in outcome.encoders}
    mae = by_name["mae-tiny"]
    encoder = ssl.load_encoder(request.encoders[0].name, device="cpu", precision="float32")
    stack = ssl.attend(request.image, encoder, block=1, anchor=(20.0, 30.0))
    np.testing.assert_array_equal(
        mae.maps["attention"].values, ssl.attention_map(stack, reduction="max").values
    )
    assert by_name["dira-tiny"].maps["pca"].aligned_to == "mae-tiny"
    assert "attention" not in by_name["mae-tiny-constant"].maps
    assert set(record.encoders[0].outputs) == {
        *("attention", "attention_heads", "pca", "similarity", "groups", "basis"),
        *("similarity-1-gland", "similarity-2-stroma-fat"),
    }
    assert (tmp_path / "first" / "heads.png").is_file()
    difference = read_map(tmp_path / "first" / "difference" / "similarity.tif")
    dira = by_name["dira-tiny"]
    np.testing.assert_array_equal(
        difference.values, mae.maps["similarity"].values - dira.maps["similarity"].values
    )
    labels = read_map(tmp_path / "first" / "mae-tiny" / "groups.tif")
    np.testing.assert_array_equal(labels.values, ssl.group_map(mae.embedding, GROUPS).labels)
    assert record.groups == GROUPS


def test_a_basis_travels_with_the_record_and_is_refused_when_changed(
    request_one: RunRequest, tmp_path: Path
) -> None:
    write_run(compute_run(replace(request_one, options=asked(save_basis=True))), tmp_path / "before")
    basis = load_basis(tmp_path / "before" / "mae-tiny" / "basis.json")
    other = np.random.default_rng(4).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(other).save(tmp_path / "other.png")
    request = replace(request_one, image=str(tmp_path / "other.png"), bases=(basis,))
    record, outcome = twice(request, tmp_path)
    expected = ssl.pca_map(outcome.encoders[0].embedding, basis=basis)
    np.testing.assert_array_equal(outcome.encoders[0].maps["pca"].values, expected.values)
    kept = tmp_path / "first" / record.bases[0].path
    kept.write_text(kept.read_text().replace("mae-tiny", "mae-tinx"))
    with pytest.raises(RecordError, match=r"PCA basis of this record .* has changed .*Restore it"):
        request_from_record(record, tmp_path / "first")
    kept.unlink()
    with pytest.raises(RecordError, match=r"PCA basis of this record .*there is nothing"):
        request_from_record(record, tmp_path / "first")


def test_masks_and_references_are_repeated_and_refused_when_changed(
    request_one: RunRequest, image: Path, tmp_path: Path
) -> None:
    mask = np.zeros((40, 64), np.uint8)
    mask[:, :24] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    there = np.random.default_rng(5).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(there).save(tmp_path / "there.png")
    found, file = wanted_tokens(str(tmp_path / "mask.png"))
    assert found == ""
    request = replace(
        request_one, mask=file, reference=Reference(str(tmp_path / "there.png")), anchors=((60.0, 10.0),)
    )
    record, outcome = twice(request, tmp_path)
    unknown = np.isnan(outcome.encoders[0].maps["similarity"].values)
    np.testing.assert_array_equal(unknown, np.repeat([[False] * 3 + [True] * 5], 5, axis=0))
    assert outcome.encoders[0].maps["similarity"].reference == "there"
    Image.fromarray(mask * 0).save(tmp_path / "mask.png")
    with pytest.raises(RecordError, match=r"mask of this record .* has changed"):
        request_from_record(record, tmp_path)
    Image.fromarray(mask).save(tmp_path / "there.png")
    with pytest.raises(RecordError, match=r"image with the anchors of this record .* has changed"):
        request_from_record(record, tmp_path)


def test_every_encoder_is_loaded_once_and_none_before_its_blocks_are_checked(
    request_all: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def counted(name: str, **options: object) -> Encoder:
        loaded.append(name)
        return ssl.load_encoder(name, **options)

    monkeypatch.setattr("napari_sslmaps.run.compute.load_encoder", counted)
    with pytest.raises(InvalidOptionError, match="block from 1 to 2"):
        compute_run(replace(request_all, options=asked(block=3)))
    assert loaded == []
    heads = EncoderChoice(request_all.encoders[0].name, {"num_heads": 8})
    compute_run(replace(request_all, encoders=(heads, *request_all.encoders[1:]), options=asked(head=7)))
    assert loaded == [choice.name for choice in request_all.encoders]


def test_an_encoder_with_fewer_blocks_shows_its_last_and_says_so(
    request_one: RunRequest, tmp_path: Path
) -> None:
    deep = write_encoder(tmp_path / "deep.safetensors", "mae", depth=3)
    both = (*request_one.encoders, EncoderChoice(str(deep)))
    outcome = compute_run(replace(request_one, encoders=both, options=asked(block=3, attention_of="rollout")))
    assert [found.stack.block for found in outcome.encoders] == [2, 3]
    assert "mae-tiny: there are 2 blocks; block 2 is shown." in warnings_of(outcome)


def test_a_record_of_before_is_read_and_means_the_same(request_one: RunRequest, tmp_path: Path) -> None:
    then = asked(tile=None, centred=False, foreground="", resolution="native")
    as_then = replace(request_one, options=then)
    write_run(compute_run(as_then), tmp_path / "out")
    record = RunRecord.read(tmp_path / "out" / "run.json")
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    entry = written["encoders"][0]
    before = {
        "format": "napari-sslmaps/run",
        "schema": 1,
        "image": {
            "path": place_in(request_one.image, tmp_path / "out"),
            "sha256": record.image.sha256,
            "sample": "",
            "shape_yx": [40, 64],
            "spacing_um_yx": None,
        },
        "encoders": [
            {
                "name": place_in(request_one.encoders[0].name, tmp_path / "out"),
                "sha256": record.encoders[0].sha256,
                "precision": "float32",
                "overrides": {},
                "provenance": entry["provenance"],
                "outputs": entry["outputs"],
            }
        ],
        "region": {"y": 0, "x": 0, "height": 40, "width": 64, "level": 0, "frame": 0},
        "anchors": [[20.0, 30.0]],
        "negative": [],
        "options": {
            "tile": None,
            "overlap": 8,
            "stitching": "drop",
            "device": "cpu",
            "precision": "float32",
            "head": None,
            "rendering": "stretch",
            "foreground": "",
            "centred": False,
            "combine": "mean",
        },
        "figure": "figure.png",
        "package_version": written["package_version"],
    }
    assert RunRecord.from_dict(before) == record
    assert written == before  # what says nothing is left out, so that earlier versions read it, too


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"block": 3}, InvalidOptionError, "block from 1 to 2, or from −1 to −2; got 3"),
        ({"block": 0}, InvalidOptionError, "got 0"),
        ({"attention_of": "head"}, RecordError, "or 'rollout', and is 'head'"),
        ({"reduction": "sum"}, RecordError, "'mean' or 'max', and is 'sum'"),
        ({"mask": "bone"}, InvalidOptionError, "got 'bone'"),
        ({"difference": ("mae-tiny",)}, InvalidOptionError, r"two of the encoders .*mae-tiny.*got mae-tiny"),
    ],
)
def test_bad_options_get_a_sentence(
    options: dict[str, object], error: type[Exception], sentence: str, request_one: RunRequest
) -> None:
    with pytest.raises(error, match=sentence):
        compute_run(replace(request_one, options=asked(**options)))


def test_what_does_not_fit_together_gets_a_sentence(request_one: RunRequest, tmp_path: Path) -> None:
    anchors = asked(attention_of="anchor")
    with pytest.raises(InvalidAnchorError, match="whose token attends; got none"):
        compute_run(replace(request_one, anchors=(), options=anchors))
    with pytest.raises(InvalidAnchorError, match="does not reach into another"):
        compute_run(replace(request_one, options=anchors, reference=Reference(request_one.image)))
    with pytest.raises(InvalidAnchorError, match=r"anchors of 'far' on the region"):
        compute_run(replace(request_one, groups=(AnchorGroup("far", anchors=((99.0, 1.0),)),)))
    outcome = compute_run(request_one)
    foreign = replace(outcome.encoders[0].maps["pca"].basis, weights_sha256="0" * 64)
    with pytest.raises(InvalidOptionError, match=r"basis of one of the encoders \(mae-tiny\)"):
        compute_run(replace(request_one, bases=(foreign,)))
    np.save(tmp_path / "empty.npy", np.zeros((40, 64), np.uint8))
    with pytest.raises(RegionError, match="something in the mask"):
        compute_run(replace(request_one, mask=MaskRecord(str(tmp_path / "empty.npy"), "")))
    _, mask = wanted_tokens(str(tmp_path / "empty.npy"))
    np.save(tmp_path / "empty.npy", np.ones((40, 64), np.uint8))
    with pytest.raises(InvalidOptionError, match=r"mask empty\.npy as it was when this began"):
        compute_run(replace(request_one, mask=mask))
    with pytest.raises(InvalidOptionError, match=r"or a label image; got 'lost\.png'"):
        wanted_tokens("lost.png")


def test_scale_and_resolution_are_written_and_repeated(request_one: RunRequest, tmp_path: Path) -> None:
    plain = compute_run(request_one).encoders[0]
    options = asked(
        scale={"value": 10.0, "unit": "%"}, resolution="32px", maps=["pca", "similarity", "clusters"]
    )
    record, outcome = twice(replace(request_one, options=options), tmp_path)
    found = outcome.encoders[0]
    assert found.embedding.grid.shape == (4, 7)
    assert found.embedding.provenance.resolution == "32 px across"
    assert {key: result.provenance.scale for key, result in found.maps.items()} == dict.fromkeys(
        found.maps, 4.0
    )
    assert any(
        "read at 32 px on the whole image's shorter side" in sentence for sentence in warnings_of(outcome)
    )
    assert record.options == options
    assert plain.embedding.grid.shape == (5, 8)


def test_a_record_of_before_is_native_and_of_single_patches(request_one: RunRequest, tmp_path: Path) -> None:
    write_run(compute_run(request_one), tmp_path)
    told = json.loads((tmp_path / "run.json").read_text())
    assert "scale" not in told["options"]
    told["options"].pop("resolution")
    record = RunRecord.from_dict(told)
    assert (record.options.resolution, record.options.maps.scale.value) == ("native", 0)


def test_a_resolution_that_is_none_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidOptionError, match=r"such as 0\.5um"):
        RunOptions(resolution="fine")


def test_maps_far_from_the_trained_resolution_carry_that_beside_them(request_one: RunRequest) -> None:
    request = replace(request_one, encoders=(EncoderChoice("mae-ultrasound"),))
    as_trained = warnings_of(compute_run(request))
    said = warnings_of(compute_run(replace(request, options=asked(resolution="native"))))
    assert not any("It learned at" in sentence for sentence in as_trained)
    assert any(
        "It learned at 192 px on the whole image's shorter side" in sentence
        and "--resolution trained" in sentence
        for sentence in said
    )
