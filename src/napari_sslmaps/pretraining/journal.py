"""``log.jsonl``: one line per interval, never twice."""

from __future__ import annotations

import json
import os
from pathlib import Path


class Journal:
    """The log of a run.

    Parameters
    ----------
    path
        The file. Lines beyond `step` and a line that a kill tore are dropped: the run will write them again.
    step
        Where the run goes on.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        kept = [line for line in read_log(path) if line["step"] <= step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)

    def write(self, line: dict[str, float]) -> None:
        """Append a line and wait until it is on disk."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_log(path: Path) -> list[dict[str, float]]:
    """Read the whole lines of a log; none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("}\n")]
