"""Model of the Search page: where is searched, how, and what was found."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from psygnal import SignalGroupDescriptor

from napari_sslmaps.search.index import IndexState
from napari_sslmaps.search.query import Place


@dataclass(eq=False)
class SearchModel:
    """Choices of a user for a search, and what came of it.

    Each field has a signal of its name in `events`.

    Parameters
    ----------
    store
        Folder of a batch; None while none is chosen.
    state
        State of its index; None while that is not known.
    images
        Folder that the images of the batch lie in; None to look beside those that are open.
    count, per_image
        Most places, over all images and of one image.
    apart
        Least distance of two places of one image, in pixels of level 0; None for four tokens.
    other_images
        Whether nothing is found in the image in view.
    places
        Places that were found, the most alike first.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    store: Path | None = None
    state: IndexState | None = None
    images: Path | None = None
    count: int = 50
    per_image: int = 5
    apart: float | None = None
    other_images: bool = False
    places: tuple[Place, ...] = ()


def state_text(model: SearchModel) -> str:
    """Say what can be found in the store that is chosen."""
    state = model.state
    if model.store is None:
        return "Open the folder that a batch wrote: its tokens are what is searched."
    if state is None:
        return ""
    if not state.images:
        return f"No index yet of {_images(state.waiting)} by {state.encoder}. {what_to_do(state)}"
    held = f"{_images(state.images)}, {state.tokens} tokens by {state.encoder}."
    if state.masked:
        share = state.masked / (state.tokens + state.masked)
        held += f" {state.masked} more ({share:.0%}) lie outside the masks of the batch: they are not found."
    if not state.waiting:
        return held
    return f"{held} {state.waiting} more not indexed yet: press Build."


def what_to_do(state: IndexState) -> str:
    """Say what to press, where the encoder that is chosen has no index."""
    others = " or ".join(state.indexed)
    return f"Press Build, or choose {others}, which is indexed." if others else "Press Build."


def nothing_found(model: SearchModel) -> str:
    """Say why nothing was found, as far as that is a choice of the user."""
    if model.other_images:
        return "Nothing was found in other images. Untick Other images, or add images to the archive."
    return "Nothing was found but the anchors themselves. Choose less at Apart, or add images to the archive."


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"
