"""Published scores as data: one JSON file, from which cards and tables are rendered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_sslmaps.core.findings import Estimate
from napari_sslmaps.errors import RecordError
from napari_sslmaps.files import written_whole

FORMAT = 1
_DIGITS = 4
Result = Mapping[str, Any]


def _identity(result: Result) -> tuple[list[str], Any]:
    return [run["sha256"] for run in result["trained"]["runs"]], result["protocol"]


def _short(result: Result) -> dict[str, Any]:
    return {
        "sha256": result["sha256"],
        "date": result["date"],
        "probe": result["trained"]["probe"]["value"],
        "knn": result["trained"]["knn"]["value"],
        "failed": result["failed"],
    }


class Book:
    """The committed results of the embedded encoders, by name.

    Parameters
    ----------
    path
        A JSON file; it need not exist yet.
    identity
        Function that tells which weights a result is of, and by which protocol.
    short
        Function that shortens a result to what stays on record once another has taken its place.

    Raises
    ------
    RecordError
        If the file is damaged or of another version.
    """

    def __init__(
        self,
        path: Path,
        identity: Callable[[Result], Any] = _identity,
        short: Callable[[Result], dict[str, Any]] = _short,
    ) -> None:
        self._path, self._identity, self._short = path, identity, short
        self._results: dict[str, Any] = {}
        if path.exists():
            self._results = _read(path)

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        """Return the current result of an encoder; `KeyError` if it has none."""
        result: Mapping[str, Any] = self._results[name]
        return result

    def __contains__(self, name: object) -> bool:
        return name in self._results

    @property
    def names(self) -> tuple[str, ...]:
        """Encoders with a result, in alphabetical order."""
        return tuple(sorted(self._results))

    def write(self, name: str, result: Mapping[str, Any]) -> None:
        """Put a result in place of an earlier one, which stays on record under ``earlier``, and save.

        Results of the same weights by the same protocol replace each other without a trace: they are equal.
        """
        entry = rounded(dict(result))
        old = self._results.get(name)
        entry["earlier"] = [] if old is None else old["earlier"]
        if old is not None and self._identity(old) != self._identity(entry):
            entry["earlier"] = [*old["earlier"], self._short(old)]
        self._results[name] = entry
        text = json.dumps({"format": FORMAT, "encoders": self._results}, indent=1, sort_keys=True)
        with written_whole(self._path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def knows(self, name: str, runs: list[str], protocol: Mapping[str, Any]) -> bool:
        """Whether these weights (SHA-256 of each run, the shipped one first) were judged by this protocol."""
        if name not in self:
            return False
        judged, by = self._identity(self[name])
        return bool(judged[: len(runs)] == runs and by == rounded(protocol))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found: dict[str, Any] = content["encoders"]
        if content["format"] != FORMAT:
            raise RecordError(
                f"Expected results of format {FORMAT} in {path.name}; got {content['format']}. "
                "Publish the encoders again with this version."
            )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(
            f"Expected published results in {path}; it is damaged ({error}). Restore it from the repository."
        ) from error
    return found


def estimate_as_dict(estimate: Estimate) -> dict[str, float]:
    """Value and interval by name."""
    return asdict(estimate)


def rounded(value: Any) -> Any:
    """Round every float in nested data to four digits and make tuples lists, as JSON would give them back."""
    if isinstance(value, float):
        return round(value, _DIGITS) if abs(value) >= 10**-_DIGITS else float(f"{value:.3g}")
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return value
