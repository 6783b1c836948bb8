"""Report on what was recognised in a weight file, and how."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_sslmaps.encoders.families.registry import architecture_to_dict
from napari_sslmaps.encoders.methods.registry import METHODS
from napari_sslmaps.encoders.recognition import Inference, PretextHeads
from napari_sslmaps.encoders.spec import Architecture


@dataclass(frozen=True, slots=True)
class RecognitionReport:
    """Report on what was recognised in a weight file.

    Parameters
    ----------
    path
        File that was recognised.
    layout
        Layout of its key names, for example ``I-JEPA``.
    method, architecture, normalisation
        Method, architecture and normalisation that it is loaded with.
    inferred
        Inferred values, each with its evidence.
    left_out
        Key of each tensor that is not part of the encoder, with the reason.
    ambiguous
        Sentences on what the file cannot tell.
    companions
        Networks in the file for the method's pretext task beside the encoder, for example ``decoder``.
    """

    path: str
    layout: str
    method: str
    architecture: Architecture
    normalisation: str
    inferred: tuple[Inference, ...]
    left_out: Mapping[str, str]
    ambiguous: tuple[str, ...]
    companions: tuple[str, ...] = ()

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
            "companions": list(self.companions),
        }

    def __str__(self) -> str:
        lines = [f"{self.path}", f"layout: {self.layout}", f"method: {self.method}"]
        lines.append(f"architecture: {self.architecture.summary}")
        lines += [f"  {item.field} = {item.value}  ({item.how})" for item in self.inferred]
        if self.companions:
            lines.append(f"pretext: {', '.join(self.companions)}")
        lines += [
            f"left out: {count} × {reason}" for reason, count in Counter(self.left_out.values()).items()
        ]
        lines += [f"ambiguous: {sentence}" for sentence in self.ambiguous]
        return "\n".join(lines)


def describe_pretext_heads(pretext_heads: PretextHeads) -> tuple[str, ...]:
    """Return, in words, what a file has for the pretext task beside the encoder."""
    parts = {prefix: word for method in METHODS.values() for prefix, word in method.pretext_parts.items()}
    return tuple(
        word for prefix, word in parts.items() if any(key.startswith(prefix) for key in pretext_heads.state)
    )
