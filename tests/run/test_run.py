"""Request → maps → files → request."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from encoders_factory import write_encoder
from PIL import Image
from skimage.data import immunohistochemistry

import napari_sslmaps as ssl
from napari_sslmaps.core.region import Region
from napari_sslmaps.encoders import catalog
from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.published.catalog import PUBLISHED
from napari_sslmaps.encoders.published.local import folder_to_bring_to
from napari_sslmaps.encoders.registry import hash_encoder
from napari_sslmaps.encoders.user_encoders import forget, remember
from napari_sslmaps.errors import (
    Cancelled,
    EncoderNotFoundError,
    InvalidAnchorError,
    InvalidOptionError,
    RecordError,
    RegionError,
    UnsupportedImageError,
)
from napari_sslmaps.figures.picture import picture_of
from napari_sslmaps.inputs.encoders import EncoderChoice, fitting_encoders, fitting_most
from napari_sslmaps.pipeline.progress import EmbeddingProgress
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.records.run import RunOptions, RunRecord
from napari_sslmaps.run.compute import compute_run
from napari_sslmaps.run.request import RunRequest
from napari_sslmaps.run.write import draw_run, request_from_record, warnings_of, write_run
from napari_sslmaps.sources.open import open_image
from napari_sslmaps.sources.open_options import AS_STORED

EXACT = RunOptions(precision="float32", device="cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    return {
        method: write_encoder(folder / f"{method}-tiny.safetensors", method)
        for method in ("mae", "ijepa", "dinov3", "dira")
    }


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(3).integers(0, 255, (72, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture
def request_all(weights: dict[str, Path], image: Path) -> RunRequest:
    choices = tuple(EncoderChoice(str(path)) for path in weights.values())
    return RunRequest(str(image), choices, ((20.0, 30.0),), options=EXACT)


def test_a_run_writes_what_the_functions_compute(
    request_all: RunRequest, weights: dict[str, Path], image: Path, tmp_path: Path
) -> None:
    record = write_run(compute_run(request_all), tmp_path / "out")
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    vit = ["attention.tif", "attention_heads.tif", "pca.tif", "similarity.tif"]
    expected = {f"{method}-tiny/{name}" for method in ("mae", "ijepa", "dinov3") for name in vit}
    expected |= {f"dira-tiny/{name}" for name in ("activation.tif", "pca.tif", "similarity.tif")}
    assert written == expected | {"figure.png", "run.json"}
    assert {part for entry in record.encoders for part in entry.outputs.values()} == expected
    encoder = ssl.load_encoder(weights["mae"], device="cpu", precision="float32")
    embedding = ssl.embed(image, encoder)
    maps = {
        "attention": ssl.attention_map(embedding),
        "pca": ssl.pca_map(embedding),
        "similarity": ssl.similarity_map(embedding, [(20, 30)]),
    }
    for kind, result in maps.items():
        stored = read_map(tmp_path / "out" / "mae-tiny" / f"{kind}.tif")
        np.testing.assert_array_equal(stored.values, result.values)
        assert stored.grid == result.grid


def test_a_record_repeats_the_run_to_the_last_bit(request_all: RunRequest, tmp_path: Path) -> None:
    options = RunOptions.from_flat({**EXACT.to_flat(), "tile": 6, "overlap": 2, "head": 1})
    request = replace(request_all, region=Region(8, 4, 60, 90), negative=((60.0, 80.0),), options=options)
    first = write_run(compute_run(request), tmp_path / "first")
    again = request_from_record(RunRecord.read(tmp_path / "first" / "run.json"), tmp_path / "first")
    second = write_run(compute_run(again), tmp_path / "second")
    assert first == second
    for entry in first.encoders:
        for part in entry.outputs.values():
            a, b = (tifffile.imread(tmp_path / folder / part) for folder in ("first", "second"))
            np.testing.assert_array_equal(a, b)


def test_the_record_keeps_the_precision_that_auto_chose(request_all: RunRequest, tmp_path: Path) -> None:
    request = replace(request_all, encoders=request_all.encoders[:1], options=RunOptions(device="cpu"))
    record = write_run(compute_run(request), tmp_path / "out")
    assert record.options.precision == "auto"
    assert record.encoders[0].precision in ("float32", "bfloat16")
    assert request_from_record(record, tmp_path).encoders[0].precision == record.encoders[0].precision


def test_a_changed_image_is_refused(request_all: RunRequest, image: Path, tmp_path: Path) -> None:
    record = write_run(compute_run(replace(request_all, encoders=request_all.encoders[:1])), tmp_path / "out")
    Image.new("RGB", (100, 72)).save(image)
    with pytest.raises(RecordError, match=r"image of this record .*image\.png has changed .*Restore it"):
        request_from_record(record, tmp_path / "out")
    image.unlink()
    with pytest.raises(RecordError, match=r"there is nothing\. Put it back"):
        request_from_record(record, tmp_path / "out")


def test_an_image_beside_the_record_is_found(request_all: RunRequest, image: Path, tmp_path: Path) -> None:
    record = write_run(compute_run(replace(request_all, encoders=request_all.encoders[:1])), tmp_path / "out")
    image.rename(tmp_path / "out" / "image.png")
    assert request_from_record(record, tmp_path / "out").image == str(tmp_path / "out" / "image.png")


def test_changed_weights_are_refused(request_all: RunRequest, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "mine.safetensors", "mae")
    record = write_run(
        compute_run(replace(request_all, encoders=(EncoderChoice(str(path)),))), tmp_path / "out"
    )
    write_encoder(path, "mae", seed=1)
    with pytest.raises(RecordError, match=r"weight file of .*mine\.safetensors has changed"):
        request_from_record(record, tmp_path / "out")


def test_a_record_repeats_aliases_and_controls(request_all: RunRequest, tmp_path: Path) -> None:
    choices = (EncoderChoice("mae-demo"), EncoderChoice("mae-untrained"))
    request = replace(request_all, encoders=choices)
    record = write_run(compute_run(request), tmp_path / "out")
    assert [entry.name for entry in record.encoders] == ["mae-demo", "mae-untrained"]
    for entry in record.encoders:
        assert entry.sha256 == entry.provenance["weights_sha256"] == hash_encoder(entry.name)
        assert entry.provenance["encoder"] == entry.name
    again = compute_run(request_from_record(record, tmp_path / "out"))
    for outcome, entry in zip(again.encoders, record.encoders, strict=True):
        stored = read_map(tmp_path / "out" / entry.outputs["similarity"]).values
        np.testing.assert_array_equal(outcome.maps["similarity"].values, stored)


def test_a_control_that_would_be_drawn_otherwise_is_refused(request_all: RunRequest, tmp_path: Path) -> None:
    request = replace(request_all, encoders=(EncoderChoice("mae-untrained"),))
    record = write_run(compute_run(request), tmp_path / "out")
    other = replace(record, encoders=(replace(record.encoders[0], sha256="0" * 64),))
    with pytest.raises(RecordError, match=r"draw others .*Run again without --from"):
        request_from_record(other, tmp_path / "out")


def test_a_record_names_a_published_encoder(request_all: RunRequest, tmp_path: Path) -> None:
    folder = folder_to_bring_to(PUBLISHED["mae-vit-b16"])
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    weights = write_encoder(folder / "model.safetensors", "mae")
    request = replace(request_all, encoders=(EncoderChoice("mae-vit-b16"),))
    record = write_run(compute_run(request), tmp_path / "out")
    assert record.encoders[0].name == "mae-vit-b16"
    assert request_from_record(record, tmp_path / "out").encoders[0].name == "mae-vit-b16"
    write_encoder(weights, "mae", seed=1)
    with pytest.raises(RecordError, match=r"weight file of mae-vit-b16 .* has changed"):
        request_from_record(record, tmp_path / "out")
    weights.unlink()
    with pytest.raises(RecordError, match="encoders download mae-vit-b16"):
        request_from_record(record, tmp_path / "out")


def test_a_record_names_a_remembered_encoder_by_its_file(request_all: RunRequest, tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "epoch_199.safetensors", "mae")
    remember(path, Overrides(num_heads=4), name="liver")
    choice = EncoderChoice("liver", {"normalisation": "unit"})
    record = write_run(compute_run(replace(request_all, encoders=(choice,))), tmp_path / "out")
    (entry,) = record.encoders
    assert (entry.name, entry.overrides) == (str(path), {"num_heads": 4, "normalisation": "unit"})
    assert set(entry.outputs.values()) >= {"liver/pca.tif"}
    forget("liver")
    (again,) = request_from_record(record, tmp_path / "out").encoders
    assert again == EncoderChoice(str(path), entry.overrides, "float32")


@pytest.mark.parametrize(("sample", "domain"), [("histology", "histology"), ("ultrasound", "ultrasound")])
def test_the_set_that_fits_the_image(sample: str, domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "EMBEDDED", ("mae-histology", "mae-ultrasound", "dira-ultrasound"))
    names = [choice.name for choice in fitting_encoders(f"sample:{sample}")]
    assert names == [name for name in catalog.EMBEDDED if name.endswith(domain)]


def test_without_a_fitting_set_it_is_every_embedded_encoder(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "EMBEDDED", ("mae-ultrasound", "dira-ultrasound"))
    assert [choice.name for choice in fitting_encoders(str(image))] == ["mae-ultrasound", "dira-ultrasound"]


def test_two_encoders_of_one_name_get_a_folder_each(request_all: RunRequest, tmp_path: Path) -> None:
    twice = replace(request_all, encoders=request_all.encoders[:1] * 2)
    record = write_run(compute_run(twice), tmp_path / "out")
    assert [entry.outputs["pca"] for entry in record.encoders] == ["mae-tiny/pca.tif", "mae-tiny-2/pca.tif"]


def test_without_anchors_there_is_no_similarity(request_all: RunRequest, tmp_path: Path) -> None:
    bare = replace(request_all, encoders=request_all.encoders[:1], anchors=())
    record = write_run(compute_run(bare), tmp_path / "out")
    assert "similarity" not in record.encoders[0].outputs


def test_maps_of_an_earlier_run_do_not_stay_beside_those_of_a_later_one(
    request_all: RunRequest, tmp_path: Path
) -> None:
    out, first = tmp_path / "out", replace(request_all, encoders=request_all.encoders[:1])
    write_run(compute_run(replace(request_all, encoders=request_all.encoders[:2])), out)
    (out / "copy").mkdir()
    for name in ("copy/similarity.tif", "mae-tiny/mine.tif"):
        (out / name).write_bytes((out / "mae-tiny" / "similarity.tif").read_bytes())
    write_run(compute_run(replace(first, anchors=())), out)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        *("figure.png", "run.json", "copy/similarity.tif", "mae-tiny/mine.tif"),
        *(f"mae-tiny/{kind}.tif" for kind in ("attention", "attention_heads", "pca")),
    }


def test_samples_are_images(request_all: RunRequest, tmp_path: Path) -> None:
    request = replace(request_all, image="sample:ultrasound", encoders=request_all.encoders[:1])
    outcome = compute_run(request)
    draw_run(outcome, tmp_path / "figure.pdf")
    record = write_run(outcome, tmp_path / "out")
    assert (record.image.sample, record.image.shape_yx) == ("ultrasound", (240, 320))
    assert request_from_record(record, tmp_path).image == "sample:ultrasound"


def test_cautions_name_what_differs(request_all: RunRequest) -> None:
    said = " ".join(warnings_of(compute_run(request_all)))
    assert "dira-tiny: a CNN has no attention; activation is shown instead." in said
    assert "mae-tiny: Weak" in said
    assert "dinov3-tiny" not in said


def test_much_that_is_empty_is_said_unless_it_was_left_out(request_all: RunRequest, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    pixels[:, :32] = 0
    path = tmp_path / "half.png"
    Image.fromarray(pixels).save(path)
    encoders = request_all.encoders[:1]
    request = replace(request_all, image=str(path), encoders=encoders, anchors=((40.0, 40.0),))
    said = "In 50 % of the region nothing varies; --mask auto leaves out"
    assert any(sentence.startswith(said) for sentence in warnings_of(compute_run(request)))
    masked = replace(request, options=replace(request.options, mask="field-of-view"))
    assert not any("varies" in sentence for sentence in warnings_of(compute_run(masked)))


def test_progress_can_stop_a_run(request_all: RunRequest) -> None:
    heard: list[str] = []

    def stop(name: str, progress: EmbeddingProgress) -> None:
        heard.append(name)
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        compute_run(request_all, stop)
    assert heard == ["mae-tiny"]


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"encoders": ()}, InvalidOptionError, "at least one encoder"),
        ({"encoders": (EncoderChoice("resnet"),)}, EncoderNotFoundError, "got 'resnet'"),
        (
            {"anchors": ((20.0, 300.0),)},
            InvalidAnchorError,
            r"columns 0–\d+; got \(20, 300\)\. Choose a place inside",
        ),
        ({"anchors": ((float("nan"), 3.0),)}, InvalidAnchorError, "two finite numbers"),
        ({"anchors": (), "negative": ((1.0, 2.0),)}, InvalidAnchorError, "beside the negative ones"),
        ({"region": Region(0, 0, 73, 10)}, RegionError, "inside the image"),
        ({"region": Region(0, 0, 7, 7), "anchors": ()}, RegionError, "at least one patch"),
        ({"region": Region(0, 0, 72, 100, level=1)}, RegionError, "level below 1"),
        ({"region": Region(0, 0, 72, 100, frame=1)}, RegionError, "frame"),
        ({"image": "sample:cat"}, UnsupportedImageError, "among histology, ultrasound; got 'cat'"),
        ({"image": "absent.tif"}, UnsupportedImageError, "there is none at"),
        ({"options": RunOptions(tile=4, overlap=4)}, InvalidOptionError, "overlap"),
        ({"options": RunOptions.from_flat({"head": 7})}, InvalidOptionError, "head from 0 to 1"),
        ({"options": RunOptions(device="tpu")}, InvalidOptionError, "'tpu'"),
    ],
)
def test_bad_requests_get_a_sentence(
    change: dict[str, object], error: type[Exception], sentence: str, request_all: RunRequest
) -> None:
    with pytest.raises(error, match=sentence):
        compute_run(replace(request_all, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize("constant", [0, 255])
def test_a_region_without_structure_is_refused(
    constant: int, request_all: RunRequest, tmp_path: Path
) -> None:
    Image.new("L", (64, 64), constant).save(tmp_path / "flat.png")
    with pytest.raises(UnsupportedImageError, match="nothing but position bias"):
        compute_run(replace(request_all, image=str(tmp_path / "flat.png")))


def test_a_picture_of_a_large_image_is_made_of_means() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (103, 207), dtype=np.uint8)
    source = open_image(pixels)
    picture = picture_of(source, Region(1, 2, 100, 200), (0, 255), max_side=70)
    blocks = pixels[1:100, 2:200].reshape(33, 3, 66, 3).mean(axis=(1, 3)) / 255
    assert picture.pixels.shape == (33, 66, 3)
    np.testing.assert_allclose(picture.pixels[..., 0], blocks, rtol=1e-5)
    assert picture.pixels_extent is not None
    assert (picture.extent.edges, picture.pixels_extent.edges) == (
        (1.5, 201.5, 100.5, 0.5),
        (1.5, 199.5, 99.5, 0.5),
    )


def test_a_picture_of_a_pyramid_comes_from_a_coarser_level() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (128, 256, 3), dtype=np.uint8)
    source = open_image([pixels, pixels[::2, ::2], pixels[::4, ::4]])
    picture = picture_of(source, Region(5, 6, 100, 200), (0, 255), max_side=100)
    np.testing.assert_allclose(picture.pixels, pixels[::2, ::2][2:53, 3:103] / 255, rtol=1e-5)
    assert picture.pixels_extent is not None
    assert picture.pixels_extent.edges == (5.5, 205.5, 105.5, 3.5)


def test_the_record_is_plain_json(request_all: RunRequest, tmp_path: Path) -> None:
    write_run(compute_run(replace(request_all, encoders=request_all.encoders[:1])), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["image"]["path"].endswith("image.png")
    assert record["encoders"][0]["provenance"]["weights_sha256"] == record["encoders"][0]["sha256"]


def test_encoders_fit_most_of_several_images(tmp_path: Path) -> None:
    colours = immunohistochemistry()[:64, :64]
    for number in range(5):
        Image.fromarray(colours if number < 2 else colours[..., 0]).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    images = [(str(tmp_path / f"{name}.png"), AS_STORED) for name in ("broken", *range(5))]
    assert {choice.name for choice in fitting_most(images)} == set(catalog.names_for("ultrasound"))
    assert {choice.name for choice in fitting_most(images[:3])} == set(catalog.names_for("histology"))
    with pytest.raises(UnsupportedImageError, match=r"broken\.png"):
        fitting_most(images[:1])
