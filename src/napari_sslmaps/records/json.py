"""Small files in JSON that say what they are, so that no other is taken for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import written_whole

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
        The file.
    what
        Words for the sentence of an error, such as ``a run record``.

    Raises
    ------
    RecordError
        If the file is missing, no JSON or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(
            f"Expected {what}; {path} cannot be read ({error.strerror}). Check the path."
        ) from error
    except ValueError as error:
        raise RecordError(
            f"Expected {what} in JSON; {path.name} is something else or damaged ({error}). Choose a file "
            "that napari-sslmaps wrote, or make it again."
        ) from error
    if not isinstance(content, dict):
        raise RecordError(f"Expected {what}; {path.name} holds something else. Choose another file.")
    return content


def write_json(path: Path, kind: str, description: Mapping[str, Any]) -> None:
    """Write a description under its kind.

    Parameters
    ----------
    path
        The file.
    kind
        Word for what it holds, such as ``anchors``.
    description
        JSON-ready; without NaN.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    write_object(path, {"format": f"napari-sslmaps/{kind}", "schema": SCHEMA, **description})


def read_json(path: Path, kind: str, what: str) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Parameters
    ----------
    path, kind
        As they were written.
    what
        Words for the sentence of an error, such as ``a set of anchors``.

    Raises
    ------
    RecordError
        If the file is missing, damaged, of another kind or of a later version.
    """
    content = read_object(path, what)
    found = content.pop("format", None)
    if found != f"napari-sslmaps/{kind}":
        raise RecordError(
            f"Expected {what} (napari-sslmaps/{kind}); {path.name} is of the format {found!r}. Choose a file "
            "that holds it."
        )
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        raise RecordError(
            f"Expected {what} of schema {SCHEMA}; {path.name} has {schema!r}. Update napari-sslmaps to read "
            "it."
        )
    return content
