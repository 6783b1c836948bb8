"""Small files in JSON that say what they are, so that no other is taken for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_sslmaps.errors import RecordError
from napari_sslmaps.export.atomic import written_whole

SCHEMA = 1


def write_json(path: Path, kind: str, description: Mapping[str, Any]) -> None:
    """Write a description, whole or not at all; numbers are kept to the last digit.

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
    content = {"format": f"napari-sslmaps/{kind}", "schema": SCHEMA, **description}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(
            f"Expected {what}; {path} cannot be read ({error.strerror}). Check the path."
        ) from error
    except ValueError as error:
        raise RecordError(
            f"Expected {what} in JSON; {path.name} is something else or damaged ({error}). Choose a file "
            "that napari-sslmaps wrote."
        ) from error
    found = content.pop("format", None) if isinstance(content, dict) else None
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
    return dict(content)
