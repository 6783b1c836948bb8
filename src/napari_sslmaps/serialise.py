"""Values as JSON and back: types are strict, unknown keys refused, and what does not fit is one sentence."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_sslmaps.errors import RecordError, SSLMapsError
from napari_sslmaps.files import read_regular

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import CoreSchema

T = TypeVar("T")
_MOST_BYTES = 512_000_000
_SHOWN = 60


def strict(kind: type[T]) -> type[T]:
    """Mark a dataclass that is written or read, and so every one inside it.

    Without this, pydantic would drop unknown keys, and take ``"yes"`` for True.
    """
    kind.__pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}  # type: ignore[attr-defined]  # pydantic looks there
    return kind


def dump(value: object) -> Any:
    """Return a dataclass as dicts, lists, words and numbers."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json", warnings=False)


def load(kind: type[T], content: Any, what: str) -> T:
    """Rebuild a value from what `dump` returned.

    Parameters
    ----------
    kind
        Dataclass that is `strict`, as are those inside it.
    content
        Content as `parse` returns it.
    what
        Words for the sentence of an error, such as ``a run record``.

    Raises
    ------
    RecordError
        If a field is missing, unknown, of another type or out of its range; the sentence says where.
    """
    from pydantic import ValidationError  # takes a tenth of a second

    form: Any = kind
    try:
        value: T = _adapter(form).validate_json(json.dumps(content))  # as JSON, lists are taken for tuples
    except ValidationError as error:
        raise RecordError(_sentence(error, what)) from error
    except (ValueError, RecursionError) as error:
        raise RecordError(_unfit(f"it cannot be read ({error})", what)) from error
    return value


def parse(text: str | bytes, what: str) -> Any:
    """Parse JSON without NaN and infinity.

    Raises
    ------
    RecordError
        If it is something else, damaged, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"Expected {what} in JSON; this is something else or damaged ({error}). Choose a file that "
            "napari-sslmaps wrote, or make it again."
        ) from error


def read(path: Path, what: str) -> Any:
    """Parse a file.

    Raises
    ------
    RecordError
        If it is missing, no regular file, too large or no JSON.
    """
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise RecordError(
            f"Expected {what}; {path} cannot be read ({error.strerror or error}). Check the path."
        ) from error
    return parse(content, f"{what} ({path.name})")


@lru_cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _refuse(constant: str) -> None:
    raise ValueError(f"a number is {constant}")


def _sentence(error: "ValidationError", what: str) -> str:
    first = error.errors(include_url=False)[0]
    where, given = _place(first["loc"]), repr(first["input"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, SSLMapsError):
        return _unfit(f"{where or 'it'} does not fit: {cause}", what)
    if first["type"] == "missing":
        return _unfit(f"{where} is missing", what)
    if first["type"] == "unexpected_keyword_argument":
        return _unfit(f"{where} is not known", what)
    wanted = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    short = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}…"
    return _unfit(f"{where or 'it'} should be {wanted}, and is {short}", what)


def _unfit(reason: str, what: str) -> str:
    return (
        f"Expected {what} whose fields fit; {reason.rstrip('.')}. Undo edits made by hand, or make it again."
    )


_KINDS = ("int", "str", "float", "literal")


def _place(loc: tuple[int | str, ...]) -> str:
    if loc and str(loc[-1]).partition("[")[0] in _KINDS:  # which of several types was tried
        loc = loc[:-1]
    return ".".join(str(part) if str(part).isidentifier() else repr(part) for part in loc)


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """Form of an array in a file: nested lists, NaN as null.

    Parameters
    ----------
    dtype
        Type of the array that is read.
    nan
        Whether null is taken, for NaN.
    """

    dtype: str
    nan: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        """Say how it is read and written."""
        from pydantic_core import core_schema

        written = core_schema.plain_serializer_function_ser_schema(lambda array: plain(array.tolist()))
        return core_schema.no_info_plain_validator_function(self._read, serialization=written)

    def _read(self, values: Any) -> NDArray[Any]:
        if not isinstance(values, list):
            raise ValueError("lists of numbers")  # noqa: TRY004  # pydantic takes no TypeError
        try:
            array = np.array(_with_nan(values) if self.nan else values)
        except ValueError as error:
            raise ValueError("lists of numbers, all of the same length") from error
        number = "iu" if np.dtype(self.dtype).kind == "i" else "iuf"
        if array.size and (array.dtype.kind not in number or np.isinf(array).any()):
            raise ValueError("lists of finite numbers")
        return array.astype(self.dtype)


@dataclass(frozen=True, slots=True)
class NullForNan:
    """Form in a file of a number that may be unknown: NaN as null."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        """Say how it is read and written."""
        from pydantic_core import core_schema

        written = core_schema.plain_serializer_function_ser_schema(plain)
        return core_schema.no_info_plain_validator_function(self._read, serialization=written)

    def _read(self, value: Any) -> float:
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
            raise ValueError("a finite number, or null")  # pydantic takes no TypeError
        return value


Measured = Annotated[float, NullForNan()]
"""A number that is NaN where it could not be measured."""
MeasuredArray = Annotated[NDArray[np.float64], ArrayForm("float64", nan=True)]
Float64Array = Annotated[NDArray[np.float64], ArrayForm("float64")]
Float32Array = Annotated[NDArray[np.float32], ArrayForm("float32")]
IntArray = Annotated[NDArray[np.int64], ArrayForm("int64")]


def plain(value: Any) -> Any:
    """Return dicts, lists and numbers with None for NaN."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return math.nan if value is None else value
