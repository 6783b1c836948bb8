"""Files that version 0.1.0 wrote, one of each kind, read by today's readers; and their keys."""

import csv
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from io import BytesIO

import guard_kit
import homes
import numpy as np
import pytest
import snapshots
import tifffile
import torch
from encoders_factory import Counting
from guard_kit import FILES, MADE_IN, TIME, TINY, call, copied, done, flat_keys, read_data
from pyarrow import parquet

import napari_sslmaps as nsm
from napari_sslmaps.errors import RecordError

EXPECTED = read_data("expected.json")
KEYS = EXPECTED["keys"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder with all files, as if they had been made in it."""
    folder = copied(tmp_path / "made")
    monkeypatch.setenv("NAPARI_SSLMAPS_CONFIG", str(folder / "config"))
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(folder / "cache"))
    return folder


@pytest.fixture
def then() -> Iterator[None]:
    """Versions, which are part of keys, as they were."""
    with guard_kit.held_versions(read_data("versions.json")["files"]):
        yield


@pytest.fixture
def mae(made):
    return nsm.load_encoder(made / TINY["mae"], device="cpu", precision="float32")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def close(now, before):
    np.testing.assert_allclose(now, before, rtol=1e-3, atol=1e-4)


def without_versions(value, folder):
    """A record as text, without what differs from machine to machine."""
    text = json.dumps(value).replace(str(folder), "FOLDER").replace(str(MADE_IN), "FOLDER")
    text = re.sub(rf'"(\.\./)+({folder.name}/)?', '"FOLDER/', text)  # as records name files since 0.2
    plain = json.loads(text)

    def cleaned(part):
        if isinstance(part, dict):
            left_out = {"torch_version", "package_version", "path"}
            return {name: cleaned(item) for name, item in part.items() if name not in left_out}
        return [cleaned(item) for item in part] if isinstance(part, list) else part

    return cleaned(plain)


def test_fixtures_are_small_and_say_nothing_of_the_machine_they_were_made_on():
    paths = [path for path in FILES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 1_500_000
    assert len({path.suffix for path in paths}) > 8


@pytest.mark.parametrize("name", ["plain", "options", "reference", "control"])
def test_a_run_is_made_again_from_its_record(name, made, tmp_path):
    record = read_json(made / "runs" / name / "run.json")
    done("run", "--from", made / "runs" / name / "run.json", "--out", tmp_path / "again")
    again = read_json(tmp_path / "again" / "run.json")
    assert without_versions(again, made) == without_versions(record, made)
    maps = sorted((made / "runs" / name).rglob("*.tif"))
    assert maps
    for path in maps:
        now = tmp_path / "again" / path.relative_to(made / "runs" / name)
        close(tifffile.imread(now), tifffile.imread(path))


def test_an_encoder_that_was_trained_anew_is_not_taken_for_the_one_of_a_record(made, tmp_path):
    """`mae-ultrasound` learned from real echoes since; maps of other weights are not those of the record."""
    path = made / "runs" / "sample" / "run.json"
    with pytest.raises(RecordError, match=r"mae-ultrasound as this record knows it .sha256 98a5ac512ede"):
        guard_kit.call("run", "--from", path, "--out", tmp_path / "again")


def test_what_a_record_leaves_out_means_what_it_meant(made, tmp_path):
    """For ever: defaults of today's options may change, but not what an old record stands for."""
    path = made / "runs" / "control" / "run.json"
    record = read_json(path)
    record["options"] = {name: record["options"][name] for name in ("precision", "device")}
    path.write_text(json.dumps(record), encoding="utf-8")
    done("run", "--from", path, "--out", tmp_path / "again")
    for name in ("attention", "pca", "similarity"):
        part = f"tiny-mae/{name}.tif"
        close(tifffile.imread(tmp_path / "again" / part), tifffile.imread(path.parent / part))


def test_what_a_record_says_that_earlier_versions_did_not():
    """Fields that were added later are in the files, so that reading them is tried."""
    full = [read_json(FILES / "runs" / name / "run.json") for name in ("options", "reference", "control")]
    fields = {field for record in full for field in flat_keys(record)}
    assert {"groups[].anchors[][]", "bases[].sha256", "mask.cell_yx", "reference.image.sha256"} <= fields
    assert {
        f"options.{name}" for name in ("block", "attention_of", "aligned", "heads", "save_basis")
    } <= fields
    assert {"options.difference[]", "encoders[].control"} <= fields


@pytest.mark.parametrize(
    ("path", "kind", "shape", "details"),
    [
        ("options/tiny-mae/attention.tif", "attention", (8, 10), {"of": "rollout", "block": 1}),
        ("plain/tiny-mae/attention_heads.tif", "attention heads", (2, 8, 12), {}),
        ("options/tiny-mae/pca.tif", "pca", (8, 10, 3), {"rendering": "stretch", "aligned_to": ""}),
        ("options/tiny-dira/activation.tif", "activation", (8, 10), {}),
        ("options/tiny-dira/similarity.tif", "similarity", (8, 10), {"centred": True, "combine": "mean"}),
        ("options/difference/similarity.tif", "difference", (8, 10), {"of": "similarity"}),
        ("reference/tiny-mae/groups.tif", "groups", (8, 12), {"least": 0.0, "centred": False}),
    ],
)
def test_a_map_is_read(path, kind, shape, details):
    stored = homes.read_map(FILES / "runs" / path)
    assert (stored.kind, stored.values.shape) == (kind, shape)
    assert stored.grid.shape in {shape[:2], shape[-2:]}
    assert stored.provenance.precision == "float32"
    assert details.items() <= dict(stored.details).items()


def test_a_comparison_goes_on_from_finished_images(made, then):
    scores = {name: made / "comparison" / "images" / name / "scores.json" for name in KEYS["scores"]}
    before = {name: path.read_bytes() for name, path in scores.items()}
    tables = {path.name: path.read_text(encoding="utf-8") for path in made.glob("comparison/*.csv")}
    assert {name: json.loads(text)["key"] for name, text in before.items()} == KEYS["scores"]
    done(*guard_kit.comparison_of(made))
    assert not list(made.rglob("comparison/images/*/figure.png")), "images were scored again"
    assert {name: path.read_bytes() for name, path in scores.items()} == before
    assert {path.name for path in made.glob("comparison/*.csv")} == tables.keys()
    for name, text in tables.items():
        now = (made / "comparison" / name).read_text(encoding="utf-8")
        columns, then_columns = (next(csv.reader(part.splitlines())) for part in (now, text))
        assert columns[: len(then_columns)] == then_columns, name  # others may have come behind them
        assert len(now.splitlines()) == len(text.splitlines()), name


def test_a_comparison_is_made_again_from_its_record(made, then):
    record = read_json(made / "comparison" / "run.json")
    said = done("evaluate", "--from", made / "comparison" / "run.json")
    assert "Every score is that of the record, to the last digit." in said
    assert not list(made.rglob("comparison/images/*/figure.png")), "images were scored again"
    again = read_json(made / "comparison" / "run.json")
    files = again["evaluation"].pop("files")  # which version 0.1.0 did not list
    assert {path.name for path in made.glob("comparison/*.csv")} <= files.keys()
    assert without_versions(again, made) == without_versions(record, made)


def test_maps_are_made_from_the_record_of_a_comparison(made, tmp_path):
    done("run", "--from", made / "comparison" / "run.json", "--out", tmp_path / "maps")
    assert (tmp_path / "maps" / "tiny-mae" / "similarity.tif").exists()


def test_anchors_are_read():
    anchors = nsm.load_anchors(FILES / "anchors.json")
    gland, stroma = anchors.groups
    assert gland == nsm.AnchorGroup("gland", "#1f77b4", ((20.0, 30.5), (40.0, 40.0)), ((5.0, 5.0),))
    assert stroma == nsm.AnchorGroup("stroma", "", ((50.0, 60.0),))
    assert (anchors.image, anchors.image_sha256) == ("image.png", "ab" * 32)
    assert (anchors.shape_yx, anchors.spacing_um_yx) == ((64, 96), (0.5, 0.25))


def test_a_basis_is_read_and_applied(made, mae):
    basis = nsm.load_basis(made / "basis.json")
    assert (basis.encoder, basis.weights_sha256) == ("tiny-mae", mae.spec.sha256)
    assert (basis.mean.shape, basis.components.shape, basis.low.shape) == ((16,), (3, 16), (3,))
    assert nsm.pca_map(nsm.embed(made / "other.png", mae), basis=basis).values.shape == (8, 12, 3)


def test_a_head_is_read_and_applied(made, mae):
    head = nsm.load_head(made / "head.json")
    assert (head.encoder, head.names, head.linear.weights.shape) == ("tiny-mae", ("gland", "stroma"), (2, 16))
    evidence = nsm.token_evidence(nsm.embed(made / "image.png", mae), head, "gland")
    assert evidence.logit > 0


def test_remembered_encoders_are_listed_and_loaded(made):
    listed = {spec["name"]: spec for spec in json.loads(done("encoders", "list", "--json"))}
    mine, dira = listed["mine"], listed["tiny-dira"]
    assert (mine["method"], mine["origin"], mine["trouble"], mine["overrides"]) == ("mae", "file", "", {})
    assert mine["architecture"] == EXPECTED["inspected"]["mae"]["architecture"]
    assert dira["overrides"] == {"normalisation": "imagenet", "token_stage": "encoder.layer3"}
    assert (dira["trouble"], dira["token_stride"], dira["normalisation"]) == ("", 16, "imagenet")
    assert nsm.load_encoder("mine", device="cpu", precision="float32").spec.path == made / TINY["mae"]
    assert nsm.load_encoder("tiny-dira", device="cpu").spec.constraint.token_stride == 16


def test_a_remembered_encoder_is_forgotten(made):
    done("encoders", "forget", "mine")
    assert list(read_json(made / "config" / "encoders.json")["encoders"]) == ["tiny-dira"]


@pytest.mark.parametrize("method", TINY)
def test_a_weight_file_is_taken_for_what_it_was(method):
    told = json.loads(done("encoders", "inspect", FILES / TINY[method], "--json"))
    assert {name: value for name, value in told.items() if name != "path"} == EXPECTED["inspected"][method]


def test_the_header_of_a_weight_file():
    header = homes.read_header(FILES / TINY["dira"])
    assert {"format", "method", "architecture", "normalisation", "companions", "licence"} <= header.keys()
    assert header["provenance"]["recipe"]["data"]["source"] == "simulated:histology"


@pytest.mark.parametrize("method", TINY)
def test_a_training_goes_on_from_its_checkpoint(method, made, monkeypatch):
    # oneDNN 3.12 overwrites memory in the backward pass of convolutions of four channels, by AVX2 alone
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    losses = snapshots.third_step(made, method)
    assert losses == pytest.approx(EXPECTED["third losses"][method], rel=1e-3)
    log = homes.read_log(made / "pretraining" / method / "log.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3]
    notes = homes.read_header(made / "pretraining" / method / "encoder.safetensors")["provenance"]["notes"]
    assert "length changed from 2 to 3 steps at step 2" in notes


def test_a_training_begins_by_a_recipe_that_was_written(made):
    recipe = made / "pretraining" / "mae" / "recipe.toml"
    options = ("--steps", 1, "--bank", made / "bank.npy", "--accelerator", "cpu")
    done("pretrain", "--recipe", recipe, "--out", made / "new", *options)
    written = (made / "new" / "recipe.toml").read_text(encoding="utf-8").splitlines()
    then = recipe.read_text(encoding="utf-8").replace("steps = 2\n", "steps = 1\n").splitlines()
    assert set(then) <= set(written)


def test_an_embedding_is_found_in_the_cache(made, mae, then):
    finished = {path.stem for path in made.glob("cache/*.zarr")}
    counting = Counting(mae)
    found = nsm.embed(made / "image.png", counting, cache=True)
    assert counting.tiles == 0
    assert KEYS["embedding"] in finished
    assert {path.stem for path in made.glob("cache/*.zarr")} == finished
    assert found.provenance.encoder == "tiny-mae"
    plain = nsm.embed(made / "image.png", mae)
    assert found.attention is not None
    assert plain.attention is not None
    close(found.tokens[:], plain.tokens[:])
    close(found.attention, plain.attention)
    close(found.prefix_attention, plain.prefix_attention)
    assert found.moments is not None
    assert np.array_equal(found.foreground, plain.foreground)


def test_a_stopped_embedding_goes_on_from_its_tiles(made, mae, then):
    [parts] = made.glob("cache/*.parts")
    there, counting = len(list(parts.glob("*.npz"))), Counting(mae)
    tiling, restored = nsm.Tiling(4, 2), []
    nsm.embed(
        made / "image.png",
        counting,
        tiling=tiling,
        mask="tissue",
        cache=True,
        on_progress=lambda progress: restored.append(progress.restored),
    )
    assert (there, counting.tiles, restored[-1]) == (15, 0, 15)
    assert (made / "cache" / f"{parts.stem}.zarr").exists()
    assert not parts.exists()


def test_a_control_is_found_in_the_cache(made, mae, then):
    control = next(one for one in nsm.controls_of(mae) if one.kind == "constant")
    counting = Counting(mae)
    found = nsm.embed_control(control, made / "image.png", counting, cache=True)
    assert (counting.tiles, found.provenance.encoder) == (0, "tiny-mae-constant")


def test_a_scan_is_remembered():
    size = (FILES / "image.png").stat().st_size
    file = homes.FileIdentity(str(MADE_IN / "image.png"), size, TIME * 1_000_000_000)
    scan = homes.Cache(FILES / "cache").scan(file, nsm.Region(0, 0, 64, 96), pytest.fail)
    assert scan.window == (0.0, 255.0)
    assert scan.sha256 in KEYS["scans"]


def test_the_cache_is_listed_pruned_and_cleared(made):
    told = json.loads(done("cache", "list", "--json"))
    assert {item["about"]["encoder"] for item in told["embeddings"]} == {"tiny-mae"}
    assert sorted(item["finished"] for item in told["embeddings"]) == [False, True, True]
    assert KEYS["embedding"] in {item["key"] for item in told["embeddings"]}
    done("cache", "clear", "--yes")
    assert not [path for path in made.glob("cache/*") if path.suffix in {".zarr", ".parts"}]
    assert not list(made.glob("cache/scans/*"))


def test_a_new_embedding_has_the_same_key(made, mae, then, monkeypatch, tmp_path):
    """The key of what is computed now, not of what is there."""
    monkeypatch.setenv("NAPARI_SSLMAPS_CACHE", str(tmp_path / "empty"))
    nsm.embed(made / "image.png", mae, cache=True)
    assert [path.stem for path in (tmp_path / "empty").glob("*.zarr")] == [KEYS["embedding"]]


def test_a_batch_is_found_finished(made, then):
    outputs = {name: made / "batch" / name / "image.png.zarr" for name in KEYS["batch"]}
    assert {name: guard_kit.attributes(path)["key"] for name, path in outputs.items()} == KEYS["batch"]
    result = call(*guard_kit.batch_of(made), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["embedded"], told["failed"], told["kept"]) == ([], [], 2)


def test_the_table_of_a_batch():
    table = parquet.read_table(FILES / "batch" / "batch.parquet")
    assert [f"{field.name}: {field.type}" for field in table.schema] == EXPECTED["table"]
    rows = {row["encoder"]: row for row in table.to_pylist()}
    assert {name: row["key"] for name, row in rows.items()} == KEYS["batch"]
    assert (rows["tiny-mae"]["rows"], rows["tiny-mae"]["cols"], rows["tiny-mae"]["dim"]) == (8, 12, 16)


def test_an_output_of_a_batch_is_read(made, mae):
    found = homes.read_embedding(made / "batch" / "tiny-mae" / "image.png.zarr")
    plain = nsm.embed(made / "image.png", mae, tiling=nsm.Tiling(6, 2))
    np.testing.assert_allclose(found.tokens, plain.tokens, rtol=2e-3, atol=2e-3)  # kept in half precision
    close(found.attention, plain.attention)
    assert np.array_equal(found.foreground, plain.foreground)
    assert (found.attention_kind, found.grid) == (plain.attention_kind, plain.grid)
    dira = homes.read_embedding(made / "batch" / "tiny-dira" / "image.png.zarr")
    assert dira.activation is not None


def test_pretext_tasks_write_the_same_record(made, tmp_path):
    done(*guard_kit.pretext_of(made, tmp_path / "again"))
    record, again = (read_json(folder / "pretext.json") for folder in (made / "pretext", tmp_path / "again"))
    for each in (*record["encoders"], *again["encoders"]):  # words may get plainer; what they tell may not
        each["notes"] = [re.findall(r"\d+\.\d+", note) for note in each["notes"]]
    assert without_versions(again, made) == without_versions(record, made)
    error = "01-tiny-mae/error.tif"
    close(tifffile.imread(tmp_path / "again" / error), tifffile.imread(made / "pretext" / error))


def test_simulated_images_are_described(tmp_path):
    done("simulate", "ultrasound", "--count", 1, "--size", 32, "--out", tmp_path / "again")
    described = [read_json(folder / "dataset.json") for folder in (tmp_path / "again", FILES / "simulated")]
    versions = [each.pop("package_version") for each in described]
    assert versions == [version("napari-sslmaps"), "0.1.0"]
    assert described[0] == described[1]


def test_how_quickly_encoders_run_is_remembered(made, monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "guard")
    paces = homes.MeasuredPaces(homes.LoadedEncoders())
    assert paces.known(guard_kit.spec_of("mae-histology")) == homes.Throughput(2.5e-12, "cpu")
    assert paces.known(guard_kit.spec_of("ijepa-histology")) is None


def test_a_study_is_found_finished(made):
    study = made / "study"
    before = {path: path.stat().st_mtime_ns for path in (*study.glob("scores/*"), *study.glob("encoders/*"))}
    told = read_json(study / "study.json")
    done("study", "--out", study, "--device", "cpu", "--quiet")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = read_json(study / "study.json")
    assert flat_keys(again) == flat_keys(told)
    assert again["design"] == told["design"]


@pytest.mark.parametrize("path", sorted(FILES.rglob("*.xz")), ids=lambda path: path.parent.name)
def test_a_checkpoint_names_no_module(path):
    """It is opened without running code, so nothing in it is of a class of ours."""
    content = guard_kit.unpacked(path)
    assert b"napari_sslmaps" not in content
    torch.load(BytesIO(content), weights_only=True)
