"""Every public function and class answers things of another kind with a sentence."""

import inspect
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

import napari_sslmaps as ssl
from napari_sslmaps.core.frames import FrameEmbeddings
from napari_sslmaps.errors import SSLMapsError

RNG = np.random.default_rng(0)
EMBEDDING = ssl.Embedding.from_tokens(RNG.normal(size=(4, 6, 8)).astype(np.float32), stride=16)
LABELS = np.repeat([[1], [2]], 32, axis=0) * np.ones((1, 96), int)
ANNOTATION = ssl.Annotation(LABELS, (64, 96))
FEATURES = ssl.LabelledFeatures(np.ones((2, 8), np.float32), np.array([1, 2]))
GROUP = ssl.AnchorGroup("a", anchors=[(8, 8)])


class Nothing:
    """No parameter takes it."""


OPEN = (str(Any), "Any", str(ArrayLike | None))
"""Images and masks of any kind, of which opening says what is wrong."""


def parameters() -> list[tuple[str, str]]:
    found = []
    for name in ssl.__all__:
        public = getattr(ssl, name)
        if name not in ("Embedding", "Region"):  # made inside alone; of its own checks
            taken = inspect.signature(public).parameters.values()
            found += [(name, each.name) for each in taken if str(each.annotation) not in OPEN]
    return found


FITTING: dict[str, Any] = {
    **dict.fromkeys(("embedding", "embeddings", "first", "second", "source"), EMBEDDING),
    "image": LABELS.astype(np.uint8),
    "pixels": LABELS.astype(np.uint8),
    "encoder": "mae-demo",
    "labels": LABELS,
    "annotation": ANNOTATION,
    "features": np.ones((4, 8), np.float32),
    "grid": EMBEDDING.grid,
    "groups": [GROUP],
    "anchors": [(8.0, 8.0)],
    "maps": [],
    "images": {"a": [FEATURES]},
    "name": "a",
    "path": "a.json",
    "label": "a",
    "name_or_path": "mae-demo",
    "shape_yx": (64, 96),
    "weights": np.ones(8, np.float32),
    "kinds": np.array([1, 2]),
}


MAP = ssl.similarity_map(EMBEDDING, [(8, 8)])
HEAD = ssl.fit_image_head(np.eye(4, 8, dtype=np.float32), ["a", "a", "b", "b"])
FITTING_OF: dict[str, dict[str, Any]] = {
    "robustness": {"encode": len},
    "save_head": {"head": HEAD},
    "token_evidence": {"head": HEAD},
    "boundary_f1": {"result": ssl.cluster_map(EMBEDDING, 2)},
    "cross_validate_heads": {"labels": ["a", "a", "b", "b"]},
    "fit_image_head": {"labels": ["a", "a", "b", "b"]},
    "difference_map": {"first": MAP, "second": MAP},
    "embed_control": {"control": ssl.controls_of(ssl.list_encoders()[0])[0]},
    "frame_maps": {"embeddings": FrameEmbeddings((0,), (EMBEDDING,))},
    "score_localisation": {"result": MAP},
    "score_map": {"result": MAP},
    "save_anchors": {"anchors": ssl.AnchorSet((GROUP,))},
    "save_basis": {"basis": ssl.pca_map(EMBEDDING).basis},
    "AnchorSet": {"groups": (GROUP,)},
}


@pytest.mark.parametrize(("name", "parameter"), parameters(), ids=map(".".join, parameters()))
def test_what_no_parameter_takes_gets_a_sentence(name: str, parameter: str) -> None:
    public = getattr(ssl, name)
    signature = inspect.signature(public)
    needed = [each.name for each in signature.parameters.values() if each.default is each.empty]
    fitting = FITTING | FITTING_OF.get(name, {})
    others = {each: fitting.get(each) for each in needed if each != parameter}
    words = f".+ as {parameter} of {name}; got a value of type|an? (encoder|device) .+; got"
    with pytest.raises(SSLMapsError, match=f"^Expected ({words}) .*Nothing"):
        public(**others, **{parameter: Nothing()})


REFUSED = {
    "a seed below 0": lambda: ssl.cluster_map(EMBEDDING, 2, seed=-1),
    "a seed of anchors below 0": lambda: ssl.score_anchors(EMBEDDING, ANNOTATION, seed=-1),
    "no strength": lambda: ssl.fit_token_probe(EMBEDDING, EMBEDDING_LABELS, strength=0),
    "no neighbours": lambda: ssl.fit_token_probe(EMBEDDING, EMBEDDING_LABELS, kind="knn", neighbours=0),
    "anchors in one row": lambda: ssl.score_anchors(EMBEDDING, ANNOTATION, anchors=np.zeros(3)),
    "bounds of text": lambda: ssl.score_anchors(EMBEDDING, ANNOTATION, bounds="ab"),
    "frames of floats": lambda: ssl.embed(LABELS, "mae-demo", frames=[0.5]),
    "a budget of text": lambda: ssl.embed(LABELS, "mae-demo", budget="x"),
    "NaN as radius": lambda: ssl.similarity_map(EMBEDDING, [(8, 8)], radius=float("nan")),
    "features and classes of other lengths": lambda: ssl.LabelledFeatures(
        np.ones((3, 8), np.float32), np.array([1, 2])
    ),
    "an encoder that gives no embedding": lambda: ssl.robustness(
        LABELS.astype(np.uint8), lambda unit: unit, ssl.RobustnessOptions(("gaussian",))
    ),
}
EMBEDDING_LABELS = ssl.labels_on_grid(LABELS, EMBEDDING.grid)


@pytest.mark.parametrize("case", REFUSED)
def test_values_without_sense_get_a_sentence(case: str) -> None:
    with pytest.raises(SSLMapsError, match="Expected "):
        REFUSED[case]()
