"""One image of a batch, and what it is called."""

from dataclasses import dataclass

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One image of a batch.

    Parameters
    ----------
    image
        Absolute path.
    name
        What its outputs are called: its file name, below a folder with the way to it; ``/`` between folders.
    anchors, negative
        (row, column) pixels of level 0; without anchors there is no similarity map.
    region
        ``(y, x, height, width)`` in pixels of the level; None for all of it.
    level
        None for the batch's.
    frame
        Time point or plane of a stack.
    """

    image: str
    name: str
    anchors: Points = ()
    negative: Points = ()
    region: tuple[int, int, int, int] | None = None
    level: int | None = None
    frame: int = 0
