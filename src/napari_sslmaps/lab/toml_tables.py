"""A TOML table → a frozen dataclass: names and types checked, faults named; and back. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from napari_sslmaps.errors import InvalidOptionError

_Kind = TypeVar("_Kind")
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def from_table(kind: type[_Kind], table: Mapping[str, Any], where: str) -> _Kind:
    """Build a dataclass from a table.

    Parameters
    ----------
    kind
        A dataclass whose fields are numbers, texts, booleans, literals, or tuples of these.
    table
        Names and values as `tomllib` gives them; a list becomes a tuple.
    where
        Name of the table for messages, for example ``[crop]``.

    Raises
    ------
    InvalidOptionError
        If a name is unknown or missing, or a value has another type.
    """
    hints = get_type_hints(kind)
    check_names(table, hints, where)
    values = {name: converted(value, hints[name], f"{where} {name}") for name, value in table.items()}
    needed = [
        item.name
        for item in fields(kind)  # type: ignore[arg-type]  # a dataclass, as documented
        if item.default is MISSING and item.default_factory is MISSING and item.name not in values
    ]
    if needed:
        raise InvalidOptionError(f"Expected {', '.join(needed)} in {where} of the recipe; missing.")
    return kind(**values)


def check_names(table: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    """Raise `InvalidOptionError` naming what is unknown in a table, and what is known."""
    unknown = [name for name in table if name not in known]
    if unknown:
        raise InvalidOptionError(
            f"Expected in {where} of the recipe only {', '.join(known)}; got {', '.join(unknown)}."
        )


def converted(value: Any, hint: Any, where: str) -> Any:
    """Return `value` as the type `hint` says, or raise `InvalidOptionError`."""
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidOptionError(f"Expected {where} among {', '.join(get_args(hint))}; got {value!r}.")
        return value
    if get_origin(hint) is tuple:
        return _tuple(value, get_args(hint), where)
    if NoneType in get_args(hint):
        inner = next(part for part in get_args(hint) if part is not NoneType)
        return None if value is None else converted(value, inner, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise InvalidOptionError(f"Expected {where} as {_WORDS.get(hint, hint)}; got {value!r}.")
    return value


def _tuple(value: Any, parts: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidOptionError(f"Expected {where} as a list; got {value!r}.")
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(value) != len(parts):
        raise InvalidOptionError(f"Expected {where} as {len(parts)} values; got {value!r}.")
    return tuple(converted(part, hint, where) for part, hint in zip(value, parts, strict=True))


def to_toml(tables: Mapping[str, Any]) -> str:
    """Write plain values, then tables, as TOML; what is None is left out."""
    plain = {name: value for name, value in tables.items() if not isinstance(value, Mapping)}
    lines = [f"{name} = {_written(value)}" for name, value in plain.items() if value is not None]
    for name, table in tables.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_written(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(part) for part in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
