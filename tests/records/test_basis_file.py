import json
from dataclasses import replace

import numpy as np
import pytest

from napari_sslmaps.core.results import Embedding
from napari_sslmaps.errors import ExportError, InvalidOptionError, RecordError
from napari_sslmaps.maps.pca import align_colours, pca_map
from napari_sslmaps.records.basis import load_basis, save_basis


def embedding_of(seed=0, name="e", weights="ab12", normalisation="unit", dim=8):
    plain = Embedding.from_tokens(np.random.default_rng(seed).normal(size=(5, 6, dim)), name=name)
    made = replace(plain.provenance, weights_sha256=weights, normalisation=normalisation)
    return replace(plain, provenance=made)


def change(path, **fields):
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))
    return path


@pytest.mark.parametrize("rendering", ["stretch", "whitened"])
def test_a_saved_basis_gives_the_same_colours_to_the_last_digit(tmp_path, rendering):
    found = pca_map(embedding_of(), rendering=rendering)
    read = load_basis(save_basis(found.basis, tmp_path / "deep" / "liver.json"))
    for name in ("mean", "components", "variance", "low", "high"):
        np.testing.assert_array_equal(getattr(read, name), getattr(found.basis, name))
    assert (read.encoder, read.weights_sha256, read.normalisation) == ("e", "ab12", "unit")
    other = embedding_of(seed=4)
    np.testing.assert_array_equal(
        pca_map(other, basis=read, rendering=rendering).values,
        pca_map(other, basis=found.basis, rendering=rendering).values,
    )


def test_an_aligned_basis_stays_marked(tmp_path):
    aligned = align_colours([pca_map(embedding_of(name="a")), pca_map(embedding_of(name="b"))])[1]
    assert load_basis(save_basis(aligned.basis, tmp_path / "b.json")).aligned_to == "a"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"name": "f", "weights": "cd34"}, "tokens of 'f'; got one of 'e' with other weights"),
        ({"normalisation": "imagenet"}, "with other normalisation"),
        ({"dim": 9}, "tokens of width 9; got one of width 8"),
    ],
)
def test_another_encoder_refuses_it(tmp_path, other, sentence):
    read = load_basis(save_basis(pca_map(embedding_of()).basis, tmp_path / "b.json"))
    with pytest.raises(InvalidOptionError, match=sentence):
        pca_map(embedding_of(**other), basis=read)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": "napari-sslmaps/run"}, "the format 'napari-sslmaps/run'"),
        ({"schema": 2}, "got 2. Update"),
        ({"mean": ...}, r"PCA basis \(b\.json\) whose fields fit; mean is missing"),
        ({"mean": [1.0, 2.0]}, "components of shape"),
        ({"components": [[1.0]]}, "components of shape"),
        ({"variance": [1.0, 2.0, float("nan")]}, "a number is NaN"),
        ({"low": "abc"}, "low should be lists of numbers, and is 'abc'"),
        ({"encoder": 3}, "encoder should be a valid string, and is 3"),
    ],
)
def test_a_file_that_does_not_fit_gets_a_sentence(tmp_path, fields, sentence):
    path = change(save_basis(pca_map(embedding_of()).basis, tmp_path / "b.json"), **fields)
    with pytest.raises(RecordError, match=sentence):
        load_basis(path)


def test_what_is_no_json_or_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        load_basis(tmp_path / "nowhere.json")
    (tmp_path / "b.json").write_bytes(b"\x80\x04pickle")
    with pytest.raises(RecordError, match="something else or damaged"):
        load_basis(tmp_path / "b.json")
    (tmp_path / "b.json").write_text("[1, 2]")
    with pytest.raises(RecordError, match="holds something else"):
        load_basis(tmp_path / "b.json")


def test_a_folder_in_the_way_gets_a_sentence(tmp_path):
    (tmp_path / "b.json").mkdir()
    with pytest.raises(ExportError, match="Expected to write"):
        save_basis(pca_map(embedding_of()).basis, tmp_path / "b.json")
