"""OME-Zarr 0.5 outputs: read by our own reader of such images, and back; whole or not there."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pytest
import zarr

from napari_sslmaps.batch import store
from napari_sslmaps.batch.store import (
    Output,
    begin_outputs,
    end_outputs,
    read_about,
    read_embedding,
    tokens_at,
    write_output,
)
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import ExportError, UnsupportedImageError
from napari_sslmaps.maps.attention import activation_map, attention_map
from napari_sslmaps.maps.pca import pca_map
from napari_sslmaps.sources.open import open_image

ROWS, COLS, DIM, HEADS = 70, 9, 5, 2  # more rows than a chunk has


@pytest.fixture
def embedding() -> Embedding:
    rng = np.random.default_rng(0)
    region = Region(16, 32, ROWS * 8, COLS * 8, level=1)
    return Embedding(
        tokens=rng.normal(size=(ROWS, COLS, DIM)).astype(np.float32),
        grid=TokenGrid.covering(region, 8, (4.0, 4.0)),
        provenance=Provenance(encoder="tiny", region=region, window=(0.0, 255.0), overrides={"num_heads": 2}),
        attention=rng.random((HEADS, ROWS, COLS), dtype=np.float32),
        prefix_attention=rng.random(HEADS, dtype=np.float32),
        attention_kind="cls",
        foreground=rng.random((ROWS, COLS)) > 0.5,
    )


def made(embedding: Embedding, tokens: str = "float16", spacing=(0.5, 0.25)) -> Output:
    shown = {"attention": attention_map(embedding)} if embedding.attention is not None else {}
    return Output(embedding, {**shown, "pca": pca_map(embedding)}, spacing, tokens, "k")


@pytest.fixture
def place(tmp_path):
    unfinished = tmp_path / "unfinished"
    begin_outputs(unfinished)
    return tmp_path / "out" / "a.png.zarr", unfinished


@pytest.mark.parametrize(("tokens", "tolerance"), [("float32", 0.0), ("float16", 2e-3)])
def test_an_embedding_comes_back(embedding, place, tokens, tolerance):
    folder, unfinished = place
    write_output(folder, made(embedding, tokens), unfinished)
    back = read_embedding(folder)
    np.testing.assert_allclose(back.tokens, embedding.tokens, atol=tolerance, rtol=0)
    for name in ("attention", "prefix_attention", "foreground"):
        np.testing.assert_array_equal(getattr(back, name), getattr(embedding, name))
    assert back.tokens.dtype == np.float32
    assert (back.grid, back.provenance) == (embedding.grid, embedding.provenance)
    assert back.attention_kind == "cls"
    np.testing.assert_allclose(pca_map(back).values, pca_map(embedding).values, atol=0.02)
    assert [path.name for path in unfinished.iterdir()] == ["going-on"]


def test_some_tokens_are_read_without_the_others(embedding, place):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    whole = read_embedding(folder).tokens
    wanted = np.array([(69, 8), (0, 0), (63, 4), (64, 3), (69, 8)])
    np.testing.assert_array_equal(
        tokens_at(folder, embedding.grid, wanted), whole[wanted[:, 0], wanted[:, 1]]
    )
    array = folder / "tokens" / "0"
    stored = zarr.open_array(str(array), mode="r")
    np.testing.assert_array_equal(np.moveaxis(stored[...], 0, -1), whole)  # by whoever else reads it
    assert (array / "c/0/0/0").read_bytes()[: 2 * DIM] == whole[0, 0].astype("<f2").tobytes()
    (array / "c/0/0/0").write_bytes(b"short")
    with pytest.raises(UnsupportedImageError, match="5 bytes instead of"):
        tokens_at(folder, embedding.grid, wanted)
    (array / "c/0/0/0").unlink()
    assert np.isnan(tokens_at(folder, embedding.grid, wanted)[:, 0]).tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_some_tokens_of_an_output_of_before_are_read(tmp_path):
    made = Path(__file__).parents[1] / "guards/data/files/batch/tiny-mae/image.png.zarr"
    whole = read_embedding(made).tokens
    wanted = np.array([(1, 2), (0, 0)])
    np.testing.assert_array_equal(
        tokens_at(made, read_about(made).grid, wanted), whole[wanted[:, 0], wanted[:, 1]]
    )


def test_each_image_is_ome_zarr_of_the_right_size_and_place(embedding, place):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    with open_image(folder / "pca", channel=(0, 1, 2)) as source:
        assert source.channels == 3
        assert source.spacing_um_yx == (8 * 4 * 0.5, 8 * 4 * 0.25)
        read = source.read(Region(0, 0, *source.levels[0].shape_yx))
    np.testing.assert_array_equal(read, pca_map(embedding).values)
    with open_image(folder / "attention") as source:
        read = source.read(Region(0, 0, ROWS, COLS))
    np.testing.assert_array_equal(read, attention_map(embedding).values)
    group = zarr.open_group(str(folder), mode="r")
    assert group.attrs["ome"] == {"version": "0.5", "bioformats2raw.layout": 3}
    series = group["OME"].attrs["ome"]["series"]
    assert series == ["tokens", "attention_heads", "attention", "pca", "foreground"]
    for kind in series:
        image = group[kind].attrs["ome"]["multiscales"][0]
        array = group[kind]["0"]
        axes = [axis["name"] for axis in image["axes"]]
        assert tuple(axes) == array.metadata.dimension_names
        assert axes[-2:] == ["y", "x"]
        scale, move = image["datasets"][0]["coordinateTransformations"]
        assert scale["scale"][-2:] == [16.0, 8.0]
        # the first token covers 32 pixels of level 0 from the region's first, (16, 32) × 4
        assert move["translation"][-2:] == [(64 + 15.5) * 0.5, (128 + 15.5) * 0.25]
        assert len(scale["scale"]) == len(move["translation"]) == len(axes) == array.ndim


def test_without_spacing_places_are_pixels(embedding, place):
    folder, unfinished = place
    write_output(folder, made(embedding, spacing=None), unfinished)
    image = zarr.open_group(str(folder / "pca"), mode="r").attrs["ome"]["multiscales"][0]
    assert image["axes"][1:] == [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 32.0, 32.0]


@pytest.mark.parametrize(("column", "value"), [("output", ["a"]), ("rows", {"a": 7})])
def test_an_output_whose_row_was_edited_is_made_again(embedding, place, column, value):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    assert read_about(folder) is not None
    described = json.loads((folder / "zarr.json").read_text())
    described["attributes"]["napari_sslmaps"]["row"][column] = value
    (folder / "zarr.json").write_text(json.dumps(described))
    assert read_about(folder) is None


def test_activation_comes_back_too(embedding, place):
    folder, unfinished = place
    values = embedding.attention[0]
    of_cnn = replace(embedding, attention=None, prefix_attention=None, attention_kind=None, activation=values)
    output = made(of_cnn)
    output = replace(output, maps={**output.maps, "activation": activation_map(of_cnn)})
    write_output(folder, output, unfinished)
    back = read_embedding(folder)
    np.testing.assert_array_equal(back.activation, values)
    assert back.attention is None


def test_tokens_too_large_for_half_precision_are_stored_in_single(embedding, place):
    folder, unfinished = place
    embedding.tokens[3, 4, 0] = -70000.0
    write_output(folder, made(embedding), unfinished)
    np.testing.assert_array_equal(read_embedding(folder).tokens, embedding.tokens)


def test_an_older_output_is_replaced_whole(embedding, place):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    write_output(folder, replace(made(embedding, "none"), key="other"), unfinished)
    assert read_about(folder).key == "other"
    assert not (folder / "tokens").exists()
    with pytest.raises(UnsupportedImageError, match="--tokens none"):
        read_embedding(folder)


def test_a_foreign_folder_is_not_replaced(embedding, place):
    """Its user pointed --out at images."""
    folder, unfinished = place
    folder.mkdir(parents=True)
    (folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(ExportError, match="was not written by a batch"):
        write_output(folder, made(embedding, "none"), unfinished)
    assert (folder / "zarr.json").exists()


@pytest.mark.parametrize("file", [".zarray", "zarr.json", "scan.tif"])
def test_nor_is_one_of_another_format_or_without_a_description(embedding, place, file):
    folder, unfinished = place
    folder.mkdir(parents=True)
    (folder / file).write_text("mine")
    with pytest.raises(ExportError, match="was not written by a batch"):
        write_output(folder, made(embedding, "none"), unfinished)
    assert (folder / file).read_text() == "mine"
    assert [path.name for path in unfinished.iterdir()] == ["going-on"]


def test_what_cannot_be_written_leaves_the_older_output(embedding, place, monkeypatch):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(ExportError, match=r"No space left on device.*free some space"):
        write_output(folder, made(embedding), unfinished)
    assert [path.name for path in unfinished.iterdir()] == ["going-on"]
    np.testing.assert_array_equal(read_embedding(folder).foreground, embedding.foreground)


@pytest.mark.parametrize("over", [end_outputs, rmtree])
def test_what_is_written_when_the_run_is_over_is_never_an_output(embedding, place, monkeypatch, over):
    """Writing on would make parts of a folder that is gone anew."""
    folder, unfinished = place
    write = store._write_image

    def interrupted(root, kind, values, output):
        write(root, kind, values, output)
        if kind == "tokens":
            over(unfinished)

    monkeypatch.setattr(store, "_write_image", interrupted)
    with pytest.raises(ExportError, match=r"run is over|No such file"):
        write_output(folder, made(embedding), unfinished)
    assert not folder.exists()
    assert not unfinished.exists()  # nor is what was made anew left over


def test_an_output_that_cannot_take_its_place_leaves_the_older_one(embedding, place, monkeypatch):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    rename = Path.rename

    def refused(path, target):
        if target == folder and (path / "pca").exists() and not (path / "tokens").exists():
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(ExportError, match="Permission denied"):
        write_output(folder, made(embedding, "none"), unfinished)
    assert "tokens" in read_about(folder).images
    assert [path.name for path in unfinished.iterdir()] == ["going-on"]


def test_damage_is_said(embedding, place, tmp_path):
    folder, unfinished = place
    with pytest.raises(UnsupportedImageError, match="napari-sslmaps batch wrote"):
        read_embedding(tmp_path)
    write_output(folder, made(embedding), unfinished)
    chunk = folder / "tokens" / "0" / "c" / "0" / "1" / "0"
    whole = chunk.read_bytes()
    chunk.unlink()
    with pytest.raises(UnsupportedImageError, match="chunk of its tokens is missing"):
        read_embedding(folder)
    chunk.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsupportedImageError, match="Delete it and run the batch again"):
        read_embedding(folder)
    described = json.loads((folder / "zarr.json").read_text())
    described["attributes"]["napari_sslmaps"]["schema"] = 99
    (folder / "zarr.json").write_text(json.dumps(described))
    assert read_about(folder) is None


def test_an_array_that_is_larger_than_its_grid_is_not_made(tmp_path):
    made = Path(__file__).parents[1] / "guards/data/files/batch/tiny-mae/image.png.zarr"
    folder = copytree(made, tmp_path / "a")
    about = json.loads((folder / "tokens/0/zarr.json").read_text())
    about["shape"][1] = 10**9
    (folder / "tokens/0/zarr.json").write_text(json.dumps(about))
    with pytest.raises(UnsupportedImageError, match=r"tokens has the shape \(16, 1000000000, \d+\)"):
        read_embedding(folder)


@pytest.mark.filterwarnings("ignore:.*stored chunk shape")  # newer versions of Zarr say so, too
@pytest.mark.parametrize("whole_chunks", [True, False])
def test_an_array_that_claims_more_than_is_stored_is_not_made(embedding, place, monkeypatch, whole_chunks):
    folder, unfinished = place
    write_output(folder, made(embedding), unfinished)
    about = json.loads((folder / "tokens/0/zarr.json").read_text())
    about["shape"][0] = 10**6
    if whole_chunks:
        about["chunk_grid"]["configuration"]["chunk_shape"][0] = 10**6
    (folder / "tokens/0/zarr.json").write_text(json.dumps(about))
    monkeypatch.setattr(np, "full", None)  # nothing is made
    said = r"whole output .*it claims 2\.52 GB of tokens, of [\d,]+ bytes"
    with pytest.raises(UnsupportedImageError, match=said):
        read_embedding(folder)
    with pytest.raises(UnsupportedImageError, match="it claims"):
        tokens_at(folder, embedding.grid, np.zeros((700, 2), int))


def test_an_array_of_chunks_of_no_size_is_refused(tmp_path):
    made = Path(__file__).parents[1] / "guards/data/files/batch/tiny-mae/image.png.zarr"
    folder = copytree(made, tmp_path / "a")
    about = json.loads((folder / "tokens/0/zarr.json").read_text())
    about["chunk_grid"]["configuration"]["chunk_shape"][1] = 0
    (folder / "tokens/0/zarr.json").write_text(json.dumps(about))
    with pytest.raises(UnsupportedImageError, match="Expected a whole output"):
        read_embedding(folder)
