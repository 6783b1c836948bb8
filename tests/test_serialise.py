"""Values as JSON and back: what is read is what was written, and nothing else is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from napari_sslmaps.errors import InvalidOptionError, RecordError
from napari_sslmaps.serialise import (
    Float32Array,
    IntArray,
    Measured,
    MeasuredArray,
    dump,
    load,
    parse,
    read,
    strict,
)


@strict
@dataclass(frozen=True)
class Inner:
    low: float = 0.0

    def __post_init__(self) -> None:
        if self.low < 0:
            raise InvalidOptionError("Expected a number from 0.")


@strict
@dataclass(frozen=True, eq=False)
class Outer:
    name: str
    score: Measured = float("nan")
    count: int = 0
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] | None = None
    parts: tuple[Inner, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    runs: MeasuredArray = field(default_factory=lambda: np.array([[1.0, np.nan]]))
    weights: Float32Array = field(default_factory=lambda: np.array([0.1], np.float32))
    labels: IntArray = field(default_factory=lambda: np.array([1, 2]))
    notes: Mapping[str, Any] = field(default_factory=dict)


def test_a_value_comes_back_as_it_was() -> None:
    value = Outer("ä", 0.1 + 0.2, 3, "b", (1.0, 2.5), (Inner(2.0),), {1: "x"}, notes={"a": [None, 1]})
    told = dump(value)
    assert told["runs"] == [[1.0, None]]
    assert dump(load(Outer, told, "a thing")) == told
    found = load(Outer, told, "a thing")
    assert (found.score, found.pair) == (0.1 + 0.2, (1.0, 2.5))
    assert (found.parts, found.classes) == ((Inner(2.0),), {1: "x"})
    assert np.isnan(found.runs[0, 1])
    assert found.weights.tobytes() == value.weights.tobytes()
    assert np.isnan(load(Outer, {"name": "a", "score": None}, "a thing").score)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, r"Expected a thing whose fields fit; name is missing\. Undo edits"),
        ({"name": 1}, "name should be a valid string, and is 1"),
        ({"name": "x", "other": 1}, "other is not known"),
        ({"name": "x", "parts": [{"high": 1}]}, r"parts\.0\.high is not known"),
        (
            {"name": "x", "parts": [{"low": -1}]},
            r"parts\.0 does not fit: Expected a number from 0\. Undo edits",
        ),
        ({"name": "x", "count": "yes"}, "count should be a valid integer, and is 'yes'"),
        ({"name": "x", "count": True}, "count should be a valid integer"),
        ({"name": "x", "count": 1.5}, "count should be a valid integer"),
        ({"name": "x", "score": "1"}, "score should be a finite number, or null"),
        ({"name": "x", "score": True}, "score should be a finite number, or null"),
        ({"name": "x", "kind": "c"}, "kind should be 'a' or 'b', and is 'c'"),
        ({"name": "x", "pair": [1]}, r"pair\.1 is missing"),
        ({"name": "x", "pair": [1, float("inf")]}, r"pair\.1 should be a finite number"),
        ({"name": "x", "runs": [[1], [1, 2]]}, "runs should be lists of"),
        ({"name": "x", "weights": ["1"]}, "weights should be lists of finite numbers"),
        ({"name": "x", "weights": [None]}, "weights should be lists of finite numbers"),
        ({"name": "x", "labels": [1.5]}, "labels should be lists of finite numbers"),
        ({"name": "x", "\x1b[31m": 1}, r"'\\x1b\[31m' is not known"),
        ({"name": ["long"] * 100}, r"and is .{60}…\. Undo"),
        ([1], "it should be an object"),
        (3, "it should be an object"),
    ],
)
def test_what_does_not_fit_is_one_sentence(content: object, sentence: str) -> None:
    with pytest.raises(RecordError, match=sentence) as caught:
        load(Outer, content, "a thing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[" * 200_000, "{", "", "NaN", "[-Infinity]", b"\x80\x04", "9" * 5000])
def test_text_that_is_no_json_is_one_sentence(text: str | bytes) -> None:
    with pytest.raises(RecordError, match="Expected a thing in JSON"):
        parse(text, "a thing")


def test_depth_that_json_takes_is_refused_all_the_same() -> None:
    content = parse('{"name": "x", "notes": {"a": ' + "[" * 500 + "]" * 500 + "}}", "a thing")
    with pytest.raises(RecordError, match="recursion"):
        load(Outer, content, "a thing")


def test_only_files_are_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.json")
    for name, reason in (("pipe.json", "no file"), ("nowhere.json", "No such"), ("", "no file")):
        with pytest.raises(RecordError, match=f"cannot be read .*{reason}"):
            read(tmp_path / name, "a thing")
