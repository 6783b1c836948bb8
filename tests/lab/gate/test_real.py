"""The gate on real images, on small sets of its own."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.registry import load_encoder
from napari_sslmaps.errors import UnsupportedImageError
from napari_sslmaps.lab.gate import real
from napari_sslmaps.lab.gate.image_sets import image_sets, read_masked, sets_for, within_bars
from napari_sslmaps.lab.gate.provenance import release
from napari_sslmaps.lab.gate.real import Field, judge_real, real_book
from napari_sslmaps.lab.gate.real_measure import Working, averaged, measure_masked, probe_by_image
from napari_sslmaps.lab.gate.real_tables import anchor_table, probe_table, real_overview, real_verdict
from napari_sslmaps.maps.similarity import similarity_map

from .conftest import write_weights

SIDE = 64


def write_sets(folder, domain):
    """Write every set of a domain: a bright or dark half is what is annotated."""
    rng = np.random.default_rng(0)
    for known in (*sets_for(domain, "masks"), *sets_for(domain, "labels")):
        images = folder / domain / known.name / "images"
        images.mkdir(parents=True)
        (images.parent / "masks").mkdir()
        rows = [("file", "class")]
        for number in range(6):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[:, : 16 + 8 * (number % 3)] = 1
            pixels = rng.integers(0, 90, (SIDE, SIDE, 3)) + 120 * mask[..., None] + 10
            Image.fromarray(pixels.astype(np.uint8)).save(images / f"{number}.png")
            Image.fromarray(mask).save(images.parent / "masks" / f"{number}.png")
            rows.append((f"{number}.png", "ab"[number % 2]))
        with (images.parent / "labels.csv").open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = write_sets(tmp_path_factory.mktemp("sets"), "histology")
    weights = write_weights(folder / "run.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(real, "CONTROL_SEEDS", (0, 1))
        patch.setattr(real, "WORKING", {"histology": Working(SIDE, 1 / 16)})
        return judge_real("mae-histology", weights, folder, date="2026-01-01")


def test_everybody_is_scored_on_every_set(judged):
    assert set(judged["masks"]) == {known.name for known in sets_for("histology", "masks")}
    for found in judged["masks"].values():
        assert set(found["areas"]) == {
            "encoder",
            "untrained",
            "colour",
            "pixels",
            "position",
            "nearness",
        }
        assert found["images"] == 6
        assert len(found["untrained"]) == 2
        assert found["areas"]["colour"]["all"] > 0.9  # what is annotated is bright
        assert found["probe"]["colour"] > 0.9
    assert judged["labels"]["kather2016_tissue_classes"]["classes"] == 2
    json.dumps(judged)


def test_an_untrained_network_does_not_beat_untrained_ones(judged):
    assert not any(found["beats"] for found in judged["masks"].values())
    said = real_verdict(judged)
    assert said.startswith(
        "**It does not beat its controls on real images (0 of 2 sets)**. Tested: of a click"
    )
    assert "(CAMELYON16), 6 images. Against: the same network untrained" in said
    assert "it is on: none." in said
    beaten = {name: {**found, "beats": True} for name, found in judged["masks"].items()}
    said = real_verdict({**judged, "masks": beaten})
    assert said.startswith("**It beats its controls on 2 of 2 sets of real images**.")
    assert said.count("tumour in lymph node") == 2


def test_tables_have_a_row_for_everybody(judged):
    assert anchor_table(judged).count("\n") == 1 + 2 * 6
    assert probe_table(judged).count("\n") == 1 + 2 * 2 + 1
    table = real_overview({"mae-histology": judged, "ijepa-histology": {**judged, "method": "ijepa"}})
    assert table.startswith("### Histology")
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| `")] == [
        "`mae-histology`",
        "`ijepa-histology`",
    ]
    assert "Images read at 64 px across" in table


def test_earlier_weights_stay_on_record(judged, tmp_path):
    book = real_book(tmp_path / "real.json")
    book.write("mae-histology", judged)
    book.write("mae-histology", judged)
    assert book["mae-histology"]["earlier"] == []
    book.write("mae-histology", {**judged, "sha256": "other"})
    assert [old["sha256"] for old in book["mae-histology"]["earlier"]] == [judged["sha256"]]


def test_the_best_score_goes_to_what_tells_the_classes_apart(tmp_path):
    folder = write_sets(tmp_path, "histology")
    images = list(read_masked(folder, sets_for("histology", "masks")[0]))

    def told(pixels):
        kinds = pixels.astype(float).mean(axis=2) > 120
        share = kinds.reshape(SIDE // 8, 8, SIDE // 8, 8).mean(axis=(1, 3))
        return Embedding.from_tokens(np.stack([share, 1 - share, 0 * share], axis=-1), stride=8)

    scores, _ = measure_masked(images, told, Working(SIDE, 0))
    assert scores.areas[:, 0].min() > 0.99
    assert scores.components.min() > 0.99
    assert scores.probe.accuracy > 0.99


def test_averaged_tokens_make_the_map_of_that_scale():
    tokens = np.random.default_rng(0).normal(size=(12, 12, 5))
    embedding = Embedding.from_tokens(tokens, stride=8)
    wanted = similarity_map(embedding, [(30, 50)], scale=12.0).values
    found = similarity_map(averaged(embedding, 12.0), [(30, 50)]).values
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert averaged(embedding, 0) is embedding


def test_a_probe_is_asked_about_other_images_than_it_was_fitted_to():
    # the class of a token is told by its image alone: nothing that carries over
    images = np.repeat(np.arange(10), 20)
    kinds = np.tile([0, 1], 100)
    tokens = np.eye(10, dtype=np.float32)[images] * np.where(kinds, 1, -1)[:, None].astype(np.float32)
    assert probe_by_image(tokens, kinds, images).accuracy < 0.75
    assert probe_by_image(tokens, kinds, np.arange(200) % 5).accuracy > 0.9


def test_twins_have_the_shape_of_the_encoder_and_other_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(real, "CONTROL_SEEDS", (0, 1))
    encoder = load_encoder(write_weights(tmp_path / "run.safetensors", "dira"), device="cpu")
    field = Field.around(encoder, Working(SIDE, 1 / 16))
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    tokens = {name: embed(pixels).tokens for name, embed in field.entrants()}
    assert list(tokens) == ["encoder", "untrained 0", "untrained 1", "colour", "pixels", "position"]
    assert tokens["encoder"].shape == tokens["untrained 0"].shape
    assert not np.allclose(tokens["untrained 0"], tokens["untrained 1"])


def test_bars_are_left_out():
    pixels = np.zeros((20, 30, 3), np.uint8)
    assert within_bars(pixels) == (slice(None), slice(None))
    pixels[4:15, 6:9] = 50
    assert within_bars(pixels) == (slice(4, 15), slice(6, 9))


def test_a_missing_set_is_named(tmp_path):
    with pytest.raises(UnsupportedImageError, match="Expected the images of ebhi_seg_heldout in"):
        list(read_masked(tmp_path, sets_for("histology", "masks")[0]))


def test_sets_are_cited():
    for known in image_sets():
        assert known.licence
        assert any(char.isdigit() for char in known.citation) or "OpenSlide" in known.citation
    assert {known.domain for known in image_sets()} == {"histology", "ultrasound"}


def test_a_released_copy_has_the_licence_and_no_path(tmp_path):
    recipe = {"data": {"source": "/home/me/images/ultrasound", "seed": 1}}
    own = write_weights(tmp_path / "run.safetensors", recipe=recipe)
    copy = release(own, tmp_path / "out/copy.safetensors", licence="CC0")
    header = read_header(copy)
    assert header["licence"] == "CC0"
    assert header["provenance"]["recipe"]["data"]["source"] == "images/ultrasound"
    assert header["architecture"] == read_header(own)["architecture"]
    again = release(own, tmp_path / "again.safetensors", licence="CC0")
    assert again.read_bytes() == copy.read_bytes()
