"""What was recognised in a weight file, and how."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_sslmaps.encoders.spec import Architecture, Method, architecture_to_dict


@dataclass(frozen=True, slots=True)
class Inference:
    """One value and the evidence for it."""

    field: str
    value: str
    how: str


@dataclass(frozen=True, slots=True)
class RecognitionReport:
    """What was recognised in a weight file.

    Parameters
    ----------
    path
        The file.
    layout
        Whose key names it has, for example ``I-JEPA``.
    method, architecture, normalisation
        What it is loaded as.
    inferred
        Each value with its evidence.
    left_out
        Key of each tensor that is not part of the encoder, with the reason.
    ambiguous
        What the file cannot tell, as sentences.
    """

    path: str
    layout: str
    method: Method
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    left_out: Mapping[str, str]
    ambiguous: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {
            "path": self.path,
            "layout": self.layout,
            "method": self.method,
            "architecture": architecture_to_dict(self.architecture),
            "normalisation": self.normalisation,
            "inferred": [
                {"field": item.field, "value": item.value, "how": item.how} for item in self.inferred
            ],
            "left_out": dict(self.left_out),
            "ambiguous": list(self.ambiguous),
        }

    def __str__(self) -> str:
        lines = [f"{self.path}", f"layout: {self.layout}", f"method: {self.method}"]
        lines.append(f"architecture: {self.architecture.summary}")
        lines += [f"  {item.field} = {item.value}  ({item.how})" for item in self.inferred]
        lines += [
            f"left out: {count} × {reason}" for reason, count in Counter(self.left_out.values()).items()
        ]
        lines += [f"ambiguous: {sentence}" for sentence in self.ambiguous]
        return "\n".join(lines)
