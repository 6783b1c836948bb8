"""A head comes back from its file as it was, and files that are none are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_sslmaps.core.linear_heads import ImageHead
from napari_sslmaps.core.results import Embedding, Provenance
from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.evaluation.image_labels import fit_image_head, pooled
from napari_sslmaps.evaluation.localisation import token_evidence
from napari_sslmaps.records.linear_head import load_head, save_head
from napari_sslmaps.records.map_files import read_map, write_map


def embedding(seed: int = 0, **of: str) -> Embedding:
    tokens = np.random.default_rng(seed).normal(size=(4, 5, 3)).astype(np.float32)
    made = Embedding.from_tokens(tokens, 8)
    return Embedding(made.tokens, made.grid, Provenance(encoder="some", weights_sha256="ab", **of))


def head() -> ImageHead:
    several = [embedding(seed) for seed in range(6)]
    features = np.stack([pooled(item) for item in several])
    return fit_image_head(features, ["yes", "no", "no"] * 2, of=several[0])


def test_a_head_comes_back_to_the_last_digit(tmp_path: Path) -> None:
    made = head()
    found = load_head(save_head(made, tmp_path / "head.json"))
    np.testing.assert_array_equal(found.linear.weights, made.linear.weights)
    np.testing.assert_array_equal(found.linear.offset, made.linear.offset)
    assert found.names == ("no", "yes")
    assert (found.encoder, found.weights_sha256, found.architecture) == ("some", "ab", "")
    before, after = (token_evidence(embedding(9), each, "yes").values for each in (made, found))
    np.testing.assert_array_equal(before, after)


def test_tokens_of_another_encoder_or_stage_are_refused() -> None:
    with pytest.raises(InvalidOptionError, match="of some, of width 3, for this head; got those of external"):
        token_evidence(Embedding.from_tokens(embedding().tokens, 8), head(), "yes")
    with pytest.raises(InvalidOptionError, match="Fit a head for each encoder"):
        token_evidence(embedding(architecture="another stage"), head(), "yes")


@pytest.mark.parametrize(
    "change",
    [
        {"weights": None},
        {"weights": [[1, 2, 3]]},
        {"offset": [1.0]},
        {"names": ["a", "a"]},
        {"names": ["a"], "weights": [[1.0]], "offset": [0.0]},
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = save_head(head(), tmp_path / "head.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RecordError, match=r"linear head.*head\.json.* fit"):
        load_head(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"format": "napari-sslmaps/basis", "schema": 1}')
    with pytest.raises(RecordError, match=r"Expected a linear head .*format 'napari-sslmaps/basis'"):
        load_head(path)


def test_evidence_is_written_with_what_it_is_for(tmp_path: Path) -> None:
    made = token_evidence(embedding(), head(), "yes")
    write_map(tmp_path / "evidence.ome.tiff", made)
    stored = read_map(tmp_path / "evidence.ome.tiff")
    np.testing.assert_array_equal(stored.values, made.values)
    assert stored.kind == "evidence"
    assert stored.details == {"of": "token", "label": "yes", "logit": pytest.approx(made.logit), "stage": ""}
