"""What a family is asked while a weight file is recognised."""

from dataclasses import dataclass, field

from napari_sslmaps.encoders.overrides import Overrides
from napari_sslmaps.encoders.recognition import Inference, Translated, Unwrapped


@dataclass(frozen=True, slots=True)
class Case:
    """A file to be identified, and what has been found so far.

    Parameters
    ----------
    file, translated
        Its tensors under its own names, and under ours.
    overrides
        What was given.
    name
        What sentences call the file.
    notes
        Values with how each was found.
    doubts
        Sentences of what the file cannot tell, or tells otherwise than was given.
    """

    file: Unwrapped
    translated: Translated
    overrides: Overrides
    name: str
    notes: list[Inference] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def note(self, field_name: str, value: object, how: str) -> None:
        """Write down a value and how it was found."""
        self.notes.append(Inference(field_name, str(value), how))

    def doubt_idle(self, network: str, names: tuple[str, ...]) -> None:
        """Say which corrections mean nothing to a network; with several files they are for the others."""
        self.doubts.extend(
            f"You gave {name}, which means nothing to {network}; it was not used."
            for name in names
            if name in self.overrides.given
        )
