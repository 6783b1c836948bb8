"""Values that annotations take, and the sentences about others."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray

import napari_sslmaps as ssl
from napari_sslmaps.core.arguments import check_fields, checked
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError, RegionError, SSLMapsError


class Named(Protocol):
    name: str

    @property
    def size(self) -> int: ...


@dataclass(frozen=True)
class Small:
    name: str = "a"
    size: int = 3


def once() -> Iterator[int]:
    yield 1


TAKEN: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [3, np.uint8(3), torch.tensor(3), -1], [3.0, "3", True, np.True_, None, float("nan"), [3]]),
    (float, [3, 0.5, np.float32(0.5), torch.tensor(0.5)], ["3", False, float("nan"), float("inf"), [0.5]]),
    (bool, [True, np.False_, 0, 1], ["no", 2, None, 0.5]),
    (str, ["a", ""], [b"a", 3, Path("a")]),
    (str | Path, ["a", Path("a")], [b"a", 3]),
    (int | None, [None, 3], ["3", 0.5]),
    (Literal["mean", "max"], ["mean", "other"], [3, None]),
    (NDArray[np.float32], [np.zeros(3), torch.zeros(3)], ["a", [1.0], 3.0]),
    (tuple[float, float], [(1, 2), [1.0, 2.0], np.zeros(2)], ["ab", (1,), (1, 2, 3), (1, "2"), {1: 2, 3: 4}]),
    (tuple[str, ...], [(), ["a", "b"]], ["ab", [1], 3]),
    (Sequence[tuple[float, float]], [[], [(1, 2)], np.zeros((4, 2))], ["ab", [1, 2], [(1, float("nan"))]]),
    (Sequence[int], [[1], range(3), np.arange(3), once()], ["12", ["1"], {1: 2}, np.array(3)]),
    (Mapping[str, Sequence[float]], [{}, {"a": (1, 2)}], [[], {1: (1, 2)}, {"a": 1}]),
    (Callable[[int], int], [abs, int], ["abs", None]),
    (Small, [Small()], ["a", None, Small]),
    (Named, [Small()], ["a", None]),
    (Any, [None, "a", object()], []),
]


@pytest.mark.parametrize(("hint", "taken", "refused"), TAKEN, ids=[str(hint) for hint, *_ in TAKEN])
def test_values_are_taken_by_their_annotation(hint: Any, taken: list[Any], refused: list[Any]) -> None:
    def function(value):
        return value

    function.__annotations__["value"] = hint
    looking = checked(function)
    for value in taken:
        assert looking(value) is value
    for value in refused:
        with pytest.raises(InvalidOptionError, match="as value of function; got "):
            looking(value=value)


def test_the_sentence_says_what_was_expected_and_what_came() -> None:
    @checked
    def blur(image: NDArray[np.float32], radius: float | Literal["token"], edge: tuple[float, float]) -> None:
        pass

    with pytest.raises(
        InvalidOptionError, match=r"^Expected a finite number or 'token' as radius of blur; got nan\.$"
    ):
        blur(np.zeros(3), float("nan"), (1, 2))
    with pytest.raises(InvalidOptionError, match=r"^Expected 2 values \(a finite number, a finite number\)"):
        blur(np.zeros(3), 1, (1, 2, 3))
    with pytest.raises(InvalidOptionError, match=r"got a value of type list\.$"):
        blur(list(range(100)), 1, (1, 2))
    with pytest.raises(TypeError, match="missing 2 required"):
        blur(np.zeros(3))


def test_fields_are_looked_at_but_for_those_made_later() -> None:
    @dataclass(frozen=True)
    class Facts:
        count: int
        later: str = field(init=False)

        def __post_init__(self) -> None:
            check_fields(self)

    assert Facts(3).count == 3
    with pytest.raises(InvalidOptionError, match="Expected a whole number as count of Facts; got 'x'"):
        Facts("x")


def test_public_functions_are_pickled_by_name() -> None:
    assert b"napari_sslmaps\x94\x8c\nlinear_cka" in pickle.dumps(ssl.linear_cka, protocol=4)
    assert ssl.linear_cka.__name__ == "linear_cka"
    assert ssl.linear_cka.__doc__


def test_what_is_like_an_array_and_what_is_not_loaded_is_left_to_the_function() -> None:
    def mark(mask: ArrayLike | None, device: object) -> tuple[object, object]:
        return mask, device

    mark.__annotations__["device"] = "str | unloaded.device"
    public = checked(mark)
    for given in (([[True, False]], object()), ("no mask", "cpu")):
        assert public(*given) == given


@pytest.mark.parametrize(("name", "error"), [("region", RegionError), ("anchors", InvalidAnchorError)])
def test_the_error_is_that_of_what_the_parameter_is(name: str, error: type[SSLMapsError]) -> None:
    def read(region: int = 0, anchors: int = 0) -> None:
        pass

    with pytest.raises(error, match=f"^Expected a whole number as {name} of read; got 'a'"):
        checked(read)(**{name: "a"})
