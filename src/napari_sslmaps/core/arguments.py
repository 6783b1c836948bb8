"""Types of what is passed to public functions: another kind of thing is answered by a sentence."""

import collections.abc
import functools
import inspect
import itertools
import os
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sized
from dataclasses import dataclass, fields
from numbers import Real
from operator import attrgetter
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeGuard, TypeVar, Union

import numpy as np

from napari_sslmaps.core.whole import finite_number, whole_number
from napari_sslmaps.errors import InvalidAnchorError, InvalidOptionError, RegionError, SSLMapsError

_P = ParamSpec("_P")
_R = TypeVar("_R")
_ERRORS: dict[str, type[SSLMapsError]] = {
    "region": RegionError,
    **dict.fromkeys(("anchor", "anchors", "negative"), InvalidAnchorError),
}
"""Errors that functions raise for what these parameters are, as for their values."""
_MOST_LOOKED_AT, _SHOWN = 10_000, 60
"""Members of a list that are looked at; letters of a value that are shown."""


def checked(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a function that looks at what it gets before it does anything, by its annotations.

    NaN and infinity are no numbers for it. What an annotation leaves open, such as `Any`, is left open.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def public(*args: _P.args, **options: _P.kwargs) -> _R:
        try:
            given = signature.bind(*args, **options).arguments
        except TypeError:  # too many, too few or unknown ones, which Python says best
            given = {}
        for name, value in given.items():
            _check(value, _forms_of(function).get(name, _ANYTHING), name, function)
        return function(*args, **options)

    public.__module__ = "napari_sslmaps"  # where pickles find it
    return public


def check_fields(made: Any) -> None:
    """Check the fields of a dataclass by their annotations, as it is made.

    Raises
    ------
    InvalidOptionError
        If one is of another type.
    """
    kind: Any = type(made)
    for field in filter(attrgetter("init"), fields(made)):
        _check(getattr(made, field.name), _forms_of(kind).get(field.name, _ANYTHING), field.name, kind)


def check_seed(seed: int) -> None:
    """Raise `InvalidOptionError` unless random numbers can be drawn from a seed: it has 32 bits."""
    if not 0 <= seed < 2**32:
        raise InvalidOptionError(f"Expected a seed from 0 to {2**32 - 1:,}; got {seed}.")


@dataclass(frozen=True, slots=True)
class _Form:
    """Test of the values that an annotation takes, and the words for them."""

    takes: Callable[[Any], bool]
    words: str


def _check(value: Any, form: _Form, name: str, home: Any) -> None:
    if not form.takes(value):
        error = _ERRORS.get(name, InvalidOptionError)
        raise error(f"Expected {form.words} as {name} of {home.__name__}; got {_shown(value)}.")


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    text = repr(value) if isinstance(value, str | bytes | Real | tuple | list | None) else ""
    return text if 0 < len(text) <= _SHOWN else f"a value of type {type(value).__name__}"


class _AnyAttribute(type):
    def __getattr__(cls, name: str) -> Any:
        return Any


class _NotLoaded(metaclass=_AnyAttribute):
    """Stands for a type, or the module of one, that only type checkers import."""


@functools.cache
def _forms_of(home: Hashable) -> dict[str, _Form]:
    """Understand annotations; names that only type checkers import, as what loads torch, take anything."""
    names: dict[str, Any] = {}
    while True:
        try:
            hints = typing.get_type_hints(home, localns=names)
        except NameError as error:
            names[str(error.name)] = _NotLoaded
        else:
            return {name: _form(hint) for name, hint in hints.items()}


_ANYTHING = _Form(lambda _: True, "anything")


def _form(hint: Any) -> _Form:
    origin, inner = _taken_apart(hint)
    found = _SIMPLE.get(origin, _ANYTHING)
    if origin in (Union, UnionType) and _is_array_like(inner):
        pass  # NumPy takes it, or says why not
    elif origin in (Union, UnionType):
        forms = [_form(one) for one in inner]
        words = " or ".join(dict.fromkeys(form.words for form in forms))
        found = _Form(lambda value: any(form.takes(value) for form in forms), words)
    elif origin is Literal:  # which of them, the function says
        kinds = tuple(map(type, inner))
        found = _Form(lambda value: isinstance(value, kinds), " or ".join(map(repr, inner)))
    elif origin in _SIMPLE or origin is Any or not isinstance(origin, type):
        pass
    elif getattr(origin, "_is_protocol", False):
        needed = [name for name in vars(origin) if not name.startswith("_")]
        found = _Form(lambda value: all(hasattr(value, name) for name in needed), _named(origin))
    elif origin is tuple and inner[-1:] != (...,):
        found = _tuple_of([_form(one) for one in inner])
    elif issubclass(origin, Mapping):
        keys, values = map(_form, inner)
        found = _Form(lambda value: isinstance(value, Mapping) and _all(value, keys, values), "a dictionary")
    elif issubclass(origin, Iterable) and inner:
        member = _form(inner[0])
        found = _Form(
            lambda value: _is_listing(value) and all(map(member.takes, _some_of(value))),
            f"a list, each {member.words}",
        )
    else:
        found = _Form(lambda value: isinstance(value, origin), _named(origin))
    return found


def _taken_apart(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return what an annotation is of, and its arguments; of an alias, as NumPy 2.5 has them, its meaning."""
    origin = typing.get_origin(hint) or hint
    return _taken_apart(origin.__value__) if hasattr(origin, "__value__") else (origin, typing.get_args(hint))


def _is_array_like(members: tuple[Any, ...]) -> bool:
    """Whether a union is, or holds, NumPy's `ArrayLike`, of which its own protocols are members."""
    parts = [_taken_apart(member) for member in members]
    return any(
        _is_array_like(inner)
        if origin in (Union, UnionType)
        else getattr(origin, "__module__", "").startswith("numpy._typing")
        for origin, inner in parts
    )


def _named(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"


def _tuple_of(forms: list[_Form]) -> _Form:
    def takes(value: Any) -> bool:
        of_size = _is_listing(value) and isinstance(value, Sized) and len(value) == len(forms)
        return of_size and all(form.takes(one) for form, one in zip(forms, tuple(value), strict=True))

    return _Form(takes, f"{len(forms)} values ({', '.join(form.words for form in forms)})")


def _all(value: Mapping[Any, Any], keys: _Form, values: _Form) -> bool:
    return all(keys.takes(key) and values.takes(one) for key, one in value.items())


def _is_listing(value: Any) -> TypeGuard[Iterable[Any]]:
    is_text = isinstance(value, str | bytes | Mapping)
    return isinstance(value, Iterable) and not is_text and getattr(value, "ndim", 1) > 0


def _some_of(value: Iterable[Any]) -> Iterable[Any]:
    """Return members of a list to look at; none of what can be gone through once only."""
    return itertools.islice(value, _MOST_LOOKED_AT) if isinstance(value, Sized) else ()


_SIMPLE: dict[Any, _Form] = {
    bool: _Form(
        lambda value: isinstance(value, bool | np.bool_) or whole_number(value) in (0, 1), "True or False"
    ),
    int: _Form(lambda value: whole_number(value) is not None, "a whole number"),
    float: _Form(lambda value: finite_number(value) is not None, "a finite number"),
    str: _Form(lambda value: isinstance(value, str), "a text"),
    NoneType: _Form(lambda value: value is None, "None"),
    _NotLoaded: _ANYTHING,
    Path: _Form(lambda value: isinstance(value, os.PathLike), "a path"),
    np.ndarray: _Form(lambda value: hasattr(value, "__array__"), "an array"),
    collections.abc.Callable: _Form(callable, "a function"),
}
