"""Files of every kind that this package writes and reads again, and other values and bytes in them."""

import copy
import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from napari_sslmaps.batch.run import _all_rows
from napari_sslmaps.batch.store import read_embedding
from napari_sslmaps.batch.table import is_table
from napari_sslmaps.cache.store import Cache
from napari_sslmaps.compare.listing import ListingOptions, list_images
from napari_sslmaps.compare.record import comparison_from_record, files_of
from napari_sslmaps.compare.store import ComparisonFolder
from napari_sslmaps.core.grid import TokenGrid
from napari_sslmaps.core.region import Region
from napari_sslmaps.core.segments import SegmentOptions
from napari_sslmaps.encoders.header import read_header
from napari_sslmaps.encoders.user_encoders import read_encoder_list
from napari_sslmaps.evaluation.annotation_file import read_annotation
from napari_sslmaps.inputs.listing import list_items
from napari_sslmaps.lab.study.design import find_design
from napari_sslmaps.lab.study.run import _compute
from napari_sslmaps.lab.training.checkpoints import resume
from napari_sslmaps.lab.training.monitoring import read_log
from napari_sslmaps.lab.training.recipes import load_recipe
from napari_sslmaps.readers.report import analyse_files, read_scores
from napari_sslmaps.readers.study import (
    Question,
    Reader,
    Study,
    StudyImage,
    StudyMethod,
    Trial,
    load_questions,
)
from napari_sslmaps.records.anchors import load_anchors
from napari_sslmaps.records.anonymous import Key, key_beside
from napari_sslmaps.records.basis import load_basis
from napari_sslmaps.records.linear_head import load_head
from napari_sslmaps.records.map_files import read_map
from napari_sslmaps.records.run import RunRecord
from napari_sslmaps.records.session import (
    SessionLabels,
    SessionRecord,
    SessionView,
    load_session,
    save_session,
)
from napari_sslmaps.run.write import request_from_record
from napari_sslmaps.search.index import build_index
from napari_sslmaps.search.query import Like, TokenIndex
from napari_sslmaps.viewer.maps.throughput import _read as read_paces

MADE = Path(__file__).parents[1] / "guards/data/files"
_MADE_IN = b"/tmp/guard"
Reads = Callable[[Path], object]


def copy_of_all(folder: Path) -> Path:
    """Copy the files of the guards, and add those of kinds that came later."""
    shutil.copytree(MADE, folder)
    for path in (*folder.rglob("*.json"), *folder.rglob("*.csv"), *folder.rglob("*.toml")):
        path.write_bytes(path.read_bytes().replace(_MADE_IN, os.fsencode(folder)))
    for packed in folder.rglob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    _study().write(folder)
    (folder / "answers.json").write_text(json.dumps(_ANSWERS))
    save_session(_session(), folder / "session.json")
    key_beside(folder / "hidden").write_text('{"image-1.png": "/a/patient.png", "mask-1.png": "m.png"}')
    (folder / "list.csv").write_text(_LIST)
    (folder / "areas.geojson").write_text(json.dumps(_AREAS))
    (folder / "questions.toml").write_text('[[question]]\nkey = "use"\ntext = "Of use?"\n')
    shutil.rmtree(folder / "batch/tiny-dira")
    build_index(folder / "batch")
    return folder


_RING = [[1, 1], [9, 1], [9.5, 9], [1, 9], [1, 1]]
_AREAS = {
    "type": "FeatureCollection",
    "features": [
        {"geometry": {"type": kind, "coordinates": rings}, "properties": {"classification": {"name": kind}}}
        for kind, rings in (("Polygon", [_RING, _RING]), ("MultiPolygon", [[_RING], [_RING]]))
    ],
}
_LIST = "image,name,anchors,negative,region,level,frame,channel\nimage.png,a,1 2; 3 4,5 6,0 0 32 32,0,0,1\n"
_ANSWERS = {
    "format": "napari-sslmaps/reader-answers",
    "schema": 1,
    "study": "s1",
    "reader": "r1",
    "answers": [
        {"trial": "t1", "question": "use", "letter": letter, "value": value}
        for letter, value in (("A", 2), ("B", 4))
    ],
    "seconds": {"t1": 3.5},
    "state": {"page": 1},
}


def _study() -> Study:
    return Study(
        id="s1",
        design="rating",
        questions=(Question("use", "Of use?"),),
        methods=(StudyMethod("mae"), StudyMethod("dino")),
        images=(StudyImage(1, "a.png"),),
        maps=("similarity",),
        readers=(Reader("Anna", "r1", (Trial("t1", 1, "similarity", ("mae", "dino")),)),),
    )


def _session() -> SessionRecord:
    view = SessionView(centre_yx=(1.0, 2.0))
    grid = TokenGrid(2, 3, (16.0, 16.0), (0.0, 0.0), (32.0, 48.0))
    labels = SessionLabels.of("areas", np.eye(2, 3, dtype=np.int32), grid, SegmentOptions(), 0)
    return SessionRecord("image", "image.png", "ab", Region(0, 0, 32, 32), view=view, labels=(labels,))


def _run(path: Path) -> None:
    request_from_record(RunRecord.read(path), path.parent)


def _comparison(path: Path) -> None:
    files_of(RunRecord.read(path))
    comparison_from_record(RunRecord.read(path), path.parent)


def _scores(path: Path) -> None:
    ComparisonFolder(path.parents[2]).load(path.parent.name, json.loads(SCORES.read_bytes())["key"])


def _tokens(path: Path) -> None:
    ComparisonFolder(path.parents[3]).load_tokens(path.parents[1].name, path.parent.name)


def _output(path: Path) -> None:
    read_embedding(path.parent)
    _all_rows(path.parents[2], ())


def _index(path: Path) -> None:
    opened = TokenIndex(path.parents[2])
    opened.search(opened.vector([Like("image.png", (8.0, 8.0))]), 3)
    build_index(path.parents[2])


def _cached(path: Path) -> None:
    Cache(path.parents[1]).embeddings()


def _answers(path: Path) -> None:
    analyse_files(path.parent, [path])


def _key(path: Path) -> None:
    Key.of(path.parent / "hidden").name("image", "/b.png")


def _studied(path: Path) -> None:
    _compute(path.parents[1], "ultrasound", {"mae": 1})


def _areas(path: Path) -> None:
    read_annotation(path, (32, 32))


def _begun(path: Path) -> None:
    resume(load_recipe(MADE / "pretraining/mae/recipe.toml"), path)


def _labels(path: Path) -> None:
    list_images([str(path.with_name("image.png"))], ListingOptions(labels=str(path)))


def _listed(path: Path) -> None:
    list_items([path])
    list_images([str(path)], ListingOptions())


SCORES = MADE / "comparison/images/image.png/scores.json"
_CACHED = "cache/5fe570a5c58ff1cac319324bff3af8166abbb4c20e95e78791a24b8e9cd738f4.zarr/zarr.json"
_PARTS = "cache/f3e921473e1c1849d0032e0f0747269702a4a835d8a662d980b6789b787cbcc4.parts/about.json"
_TILE = "comparison/images/image.png/tiny-mae/tokens.npz"
READERS: dict[str, Reads] = {
    **{f"runs/{name}/run.json": _run for name in ("plain", "options", "reference", "control")},
    "comparison/run.json": _comparison,
    "comparison/images/image.png/scores.json": _scores,
    "comparison/images.csv": lambda path: read_scores(path.parent),
    _TILE: _tokens,
    "anchors.json": load_anchors,
    "basis.json": load_basis,
    "head.json": load_head,
    "session.json": load_session,
    "areas.geojson": _areas,
    "batch/tiny-mae/image.png.zarr/zarr.json": _output,
    "batch/tiny-mae/image.png.zarr/tokens/0/zarr.json": lambda path: _output(path.parents[1]),
    "batch/batch.parquet": is_table,
    "batch/.index/tiny-mae/manifest.json": _index,
    "batch/.index/tiny-mae/segment-*.faiss": _index,
    _CACHED: _cached,
    _PARTS: _cached,
    "config/encoders.json": lambda _: read_encoder_list(),
    "config/paces.json": lambda _: read_paces(),
    "key.json": lambda path: Study.read(path.parent),
    "answers.json": _answers,
    "questions.toml": load_questions,
    "hidden-key.json": _key,
    "list.csv": _listed,
    "labels.csv": _labels,
    "pretraining/mae/recipe.toml": load_recipe,
    "pretraining/mae/log.jsonl": read_log,
    "pretraining/mae/checkpoint.pt": _begun,
    "study/design.toml": lambda path: find_design(str(path)),
    "study/encoders/ultrasound-mae-0.json": _studied,
    "runs/plain/tiny-mae/pca.tif": read_map,
    "encoders/tiny-mae.safetensors": read_header,
}
"""Files, by their place, and what reads them."""

_BYTES = (
    *(b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\0\0\0\x10"),
    b"[" * 3000,
)
_VALUES = (
    *(None, True, -1, 0, 10**9, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "a\0b", "../../x"),
    *("\ud800", "x" * 5000, [], {}, [[]], [1, "a"], {"a": None}, [0.1, 0.2], "1e999"),
)


def other_bytes(whole: bytes, rng: Generator) -> bytes:
    """Return a file with other bytes here and there, or its beginning."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(content)))
        other = _BYTES[rng.integers(len(_BYTES))] if rng.random() < 0.4 else rng.bytes(1)
        content[place : place + len(other)] = other
    return bytes(content[: rng.integers(len(content))]) if rng.random() < 0.1 else bytes(content)


def other_values(whole: bytes, rng: Generator) -> bytes:
    """Return a JSON with other values, keys fewer and more, or nested too deeply."""
    told = json.loads(whole)
    for _ in range(rng.integers(1, 3)):
        holder, place = _somewhere(told, rng)
        if holder is None:
            continue
        draw = rng.random()
        if draw < 0.7:
            holder[place] = copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])
        elif draw < 0.8:
            del holder[place]
        elif draw < 0.9 and isinstance(holder, dict):
            holder["other"] = holder[place]
        else:
            holder[place] = "DEEP"
    deep = "[" * 100_000 + "]" * 100_000
    return json.dumps(told).replace('"DEEP"', deep, 1).encode()


def _somewhere(told: Any, rng: Generator) -> tuple[Any, Any]:
    """Return a list or an object somewhere in a JSON, and a place in it."""
    places = []
    waiting = [told]
    while waiting:
        one = waiting.pop()
        keys = one if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        places += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return places[rng.integers(len(places))] if places else (None, None)
