"""Small files in JSON that say what they are, so that no other is taken for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import written_whole
from napari_sslmaps.serialise import load, read

T = TypeVar("T")
SCHEMA = 1


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all; numbers are kept to the last digit, and may not be NaN.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path
        File to read or write.
    what
        Words for the sentence of an error, such as ``a run record``.

    Raises
    ------
    RecordError
        If the file is missing, no JSON or no object.
    """
    content = read(path, what)
    if not isinstance(content, dict):
        raise RecordError(f"Expected {what}; {path.name} holds something else. Choose another file.")
    return content


def write_json(path: Path, kind: str, description: Mapping[str, Any]) -> None:
    """Write a description under its kind.

    Parameters
    ----------
    path
        File to read or write.
    kind
        Word for what it holds, such as ``anchors``.
    description
        Dict that `dump` returned; without NaN.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    write_object(path, {"format": f"napari-sslmaps/{kind}", "schema": SCHEMA, **description})


def read_json(path: Path, kind: str, form: type[T], what: str) -> T:
    """Read what `write_json` wrote.

    Parameters
    ----------
    path, kind
        Path and kind, as they were written.
    form
        Dataclass to build.
    what
        Words for the sentence of an error, such as ``a set of anchors``.

    Raises
    ------
    RecordError
        If the file is missing, damaged, of another kind or of a later version, or its fields do not fit.
    """
    content = read_object(path, what)
    check_format(content, f"napari-sslmaps/{kind}", f"{what} ({path.name})")
    return load(form, content, f"{what} ({path.name})")


def check_format(content: dict[str, Any], wanted: str, what: str, schema: int = SCHEMA) -> None:
    """Take format and schema out of a content.

    Raises
    ------
    RecordError
        If they are others than those wanted.
    """
    found = content.pop("format", None)
    if found != wanted:
        raise RecordError(
            f"Expected {what} of the format {wanted}; got the format {found!r}. Choose a file that holds it."
        )
    version = content.pop("schema", None)
    if version != schema or isinstance(version, bool):
        raise RecordError(
            f"Expected {what} of schema {schema}; got {version!r}. Update napari-sslmaps to read it."
        )
