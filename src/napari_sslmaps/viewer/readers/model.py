"""State of the Readers page: whose study is open, what is asked, and how it is shown."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from psygnal import SignalGroupDescriptor

from napari_sslmaps.readers.reading import Screen
from napari_sslmaps.viewer.state.workspace import Status

Stage = Literal["closed", "choosing", "begin", "reading", "paused", "finished"]
"""No study is open; nobody has said who they are; nothing is shown yet; the time runs; it is stopped; all
is answered."""


@dataclass(eq=False)
class ReadingModel:
    """State of a blind reading, without a word of what is behind a letter.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    stage
        Step that the reader is at.
    codes
        Codes of the readers of the study, and whether each has begun.
    screen
        Questions and answers of now; None while nobody reads.
    shows_image
        Whether the image is in the place of its maps.
    flickers
        Whether both take turns.
    large
        Whether the map that is asked about fills the canvas.
    status
        The last message.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    stage: Stage = "closed"
    codes: tuple[tuple[str, bool], ...] = ()
    screen: Screen | None = None
    shows_image: bool = False
    flickers: bool = False
    large: bool = False
    status: Status = field(default_factory=Status)
